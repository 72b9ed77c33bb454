"""The objective against closed forms: a linear critic D(x) = w.x has penalties of exactly |w|^2."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan.seeding import generator_at
from gan.training.losses import Score, critic_loss, generator_loss

SHAPE = (3, 4, 4)


def _draw(count: int, what: str) -> Tensor:
    return torch.randn(count, *SHAPE, generator=generator_at(1, what))


def _linear(weight: Tensor) -> Score:
    def score(images: Tensor, c: Tensor) -> Tensor:
        del c
        return (images * weight).flatten(1).sum(1)

    return score


def _bent(images: Tensor, c: Tensor) -> Tensor:
    """Return logits whose gradient differs from image to image and heeds the class."""
    return (images.square().flatten(1).sum(1) + c * images.flatten(1)[:, 0]) / 10


@pytest.mark.parametrize("penalised", [1, 2, 8])
def test_a_linear_critic_has_the_penalty_of_its_weight(penalised: int) -> None:
    """R1 and R2 are the weight's squared norm, whatever part of the batch they are taken on."""
    weight = _draw(1, "w")[0]
    reals, fakes, c = _draw(8, "x"), _draw(8, "y"), torch.zeros(8, dtype=torch.int64)
    terms = critic_loss(_linear(weight), reals, fakes, c, gamma=3.0, penalised=penalised)
    margin = ((reals - fakes) * weight).flatten(1).sum(1)

    assert torch.allclose(terms.r1, weight.square().sum())
    assert torch.allclose(terms.r2, weight.square().sum())
    assert torch.allclose(terms.gap, margin.mean(), atol=1e-5)
    assert torch.allclose(terms.pairing, softplus(-margin).mean(), atol=1e-5)
    assert torch.allclose(terms.loss, terms.pairing + 1.5 * (terms.r1 + terms.r2))


def test_with_the_whole_batch_it_is_the_plain_formula() -> None:
    """With every pair penalised, loss and gradient are those of the paper's formula."""
    reals, fakes, c = _draw(6, "x"), _draw(6, "y"), torch.arange(6) % 2
    scale = torch.tensor(1.3, requires_grad=True)

    def score(images: Tensor, c: Tensor) -> Tensor:
        return scale * _bent(images, c)

    terms = critic_loss(score, reals, fakes, c, gamma=2.0, penalised=6)
    (found,) = torch.autograd.grad(terms.loss, scale)

    def penalty(images: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(images, c).sum(), images, create_graph=True)
        return slope.square().flatten(1).sum(1).mean()

    plain = softplus(score(fakes, c) - score(reals, c)).mean() + penalty(reals) + penalty(fakes)
    (wanted,) = torch.autograd.grad(plain, scale)
    assert torch.allclose(terms.loss, plain)
    assert torch.allclose(found, wanted)


def test_a_part_of_the_batch_is_unbiased() -> None:
    """The penalties on the quarters average to those on all; the pairing is the same."""
    reals, fakes, c = _draw(8, "x"), _draw(8, "y"), torch.arange(8) % 2
    whole = critic_loss(_bent, reals, fakes, c, gamma=1.0, penalised=8)
    quarters = [
        critic_loss(_bent, reals.roll(-n, 0), fakes.roll(-n, 0), c.roll(-n), 1.0, penalised=2)
        for n in (0, 2, 4, 6)
    ]

    assert torch.allclose(torch.stack([each.r1 for each in quarters]).mean(), whole.r1)
    assert torch.allclose(torch.stack([each.r2 for each in quarters]).mean(), whole.r2)
    for each in quarters:
        assert torch.allclose(each.pairing, whole.pairing)


def test_the_penalty_sees_the_image_before_augmentation() -> None:
    """Halving contrast inside the score quarters the penalty: the gradient is at the image."""
    weight = _draw(1, "w")[0]
    reals, fakes, c = _draw(4, "x"), _draw(4, "y"), torch.zeros(4, dtype=torch.int64)

    def score(images: Tensor, c: Tensor) -> Tensor:
        return _linear(weight)(images / 2, c)

    assert torch.allclose(
        critic_loss(score, reals, fakes, c, 1.0, penalised=4).r1, weight.square().sum() / 4
    )


def test_the_generator_learns_from_its_own_images_alone() -> None:
    """The generator's loss is softplus(real - fake); no gradient reaches the reals."""
    reals, fakes = _draw(4, "x").requires_grad_(), _draw(4, "y").requires_grad_()
    c = torch.arange(4) % 2
    loss = generator_loss(_bent, reals, fakes, c)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own

    assert torch.allclose(loss, softplus(_bent(reals, c) - _bent(fakes, c)).mean())
    assert reals.grad is None
    assert fakes.grad is not None
    assert (fakes.grad.flatten(1).sum(1) != 0).all()


def test_the_two_players_want_the_opposite() -> None:
    """A wider margin is a smaller loss for the critic and a larger one for the generator."""
    reals, fakes, c = _draw(4, "x"), _draw(4, "y"), torch.zeros(4, dtype=torch.int64)
    losses = []
    for lift in (0.0, 1.0):
        critic = critic_loss(_linear(torch.ones(SHAPE)), reals + lift, fakes, c, 0.0, penalised=1)
        losses.append(
            (critic.loss, generator_loss(_linear(torch.ones(SHAPE)), reals + lift, fakes, c))
        )

    assert losses[1][0] < losses[0][0]
    assert losses[1][1] > losses[0][1]
