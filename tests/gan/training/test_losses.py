"""The objectives against closed forms: a linear D(x) = w.x has penalties of exactly |w|^2."""

from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from gan.errors import UsageError
from gan.seeding import generator_at
from gan.training.losses import OBJECTIVES, Batch, Score, critic_loss, generator_loss

SHAPE = (3, 4, 4)
RELATIVISTIC = OBJECTIVES["relativistic"]


def _draw(count: int, what: str) -> Tensor:
    return torch.randn(count, *SHAPE, generator=generator_at(1, what))


def _batch(count: int, what: str) -> Batch:
    draws = torch.rand(5, count, generator=generator_at(1, "draws", what))
    return Batch(_draw(count, what), torch.arange(count) % 2, draws)


def _linear(weight: Tensor) -> Score:
    return lambda batch: (batch.items * weight).flatten(1).sum(1)


def _bent(batch: Batch) -> Tensor:
    """Return logits whose gradient differs from image to image, and heeds class and draws."""
    square, plain = batch.items.square().flatten(1).sum(1), batch.items.flatten(1)[:, 0]
    return (square * (1 + batch.draws[0]) + batch.c * plain) / 10


@pytest.mark.parametrize("penalty", ["quarter", "whole"])
def test_a_linear_critic_has_the_penalty_of_its_weight(
    penalty: Literal["quarter", "whole"],
) -> None:
    """R1 and R2 are the weight's squared norm, whatever part of the batch they are taken on."""
    weight = _draw(1, "w")[0]
    reals, fakes = _batch(8, "x"), _batch(8, "y")
    terms = critic_loss(_linear(weight), reals, fakes, RELATIVISTIC, 3.0, penalty)
    margin = ((reals.items - fakes.items) * weight).flatten(1).sum(1)

    assert torch.allclose(terms.r1, weight.square().sum())
    assert torch.allclose(terms.r2, weight.square().sum())
    assert torch.allclose(terms.gap, margin.mean(), atol=1e-5)
    assert torch.allclose(terms.positive, (margin > 0).float().mean())
    assert torch.allclose(terms.objective, softplus(-margin).mean(), atol=1e-5)
    assert torch.allclose(terms.loss, terms.objective + 1.5 * (terms.r1 + terms.r2))


def test_with_the_whole_batch_it_is_the_plain_formula() -> None:
    """With every pair penalised, loss and gradient are those of the paper's formula."""
    reals, fakes = _batch(8, "x"), _batch(8, "y")
    scale = torch.tensor(1.3, requires_grad=True)

    def score(batch: Batch) -> Tensor:
        return scale * _bent(batch)

    terms = critic_loss(score, reals, fakes, RELATIVISTIC, 2.0, "whole")
    (found,) = torch.autograd.grad(terms.loss, scale)

    def penalty(batch: Batch) -> Tensor:
        items = batch.items.clone().requires_grad_()
        (slope,) = torch.autograd.grad(
            score(batch._replace(items=items)).sum(), items, create_graph=True
        )
        return slope.square().flatten(1).sum(1).mean()

    plain = softplus(score(fakes) - score(reals)).mean() + penalty(reals) + penalty(fakes)
    (wanted,) = torch.autograd.grad(plain, scale)
    assert torch.allclose(terms.loss, plain)
    assert torch.allclose(found, wanted)


def test_a_quarter_of_the_batch_is_unbiased() -> None:
    """The penalties on the four quarters average to those on all; the rest is the same."""
    reals, fakes = _batch(8, "x"), _batch(8, "y")
    whole = critic_loss(_bent, reals, fakes, RELATIVISTIC, 1.0, "whole")

    def rolled(batch: Batch, by: int) -> Batch:
        return Batch(
            batch.items.roll(-by, 0), batch.c.roll(-by), torch.roll(batch.draws, -by, dims=1)
        )

    quarters = [
        critic_loss(_bent, rolled(reals, n), rolled(fakes, n), RELATIVISTIC, 1.0, "quarter")
        for n in range(4)
    ]
    assert torch.allclose(torch.stack([each.r1 for each in quarters]).mean(), whole.r1)
    assert torch.allclose(torch.stack([each.r2 for each in quarters]).mean(), whole.r2)
    for each in quarters:
        assert torch.allclose(each.objective, whole.objective)
        assert torch.allclose(each.gap, whole.gap)


def test_parts_of_a_batch_hold_their_share_of_the_penalised() -> None:
    """The mean over two halves of a batch is the batch: processes may share it."""
    reals, fakes = _batch(16, "x"), _batch(16, "y")
    whole = critic_loss(_bent, reals, fakes, RELATIVISTIC, 2.0, "quarter")
    halves = [
        critic_loss(_bent, reals.take(part), fakes.take(part), RELATIVISTIC, 2.0, "quarter")
        for part in (slice(0, 8), slice(8, 16))
    ]

    for name in ("loss", "objective", "r1", "r2", "gap", "positive"):
        mean = torch.stack([getattr(half, name) for half in halves]).mean()
        assert torch.allclose(mean, getattr(whole, name)), name


def test_a_batch_without_a_whole_quarter_is_refused() -> None:
    """Six images have no quarter; the message says what has."""
    with pytest.raises(UsageError, match="multiple of 4"):
        critic_loss(_bent, _batch(6, "x"), _batch(6, "y"), RELATIVISTIC, 1.0, "quarter")


def test_the_penalty_sees_the_image_before_augmentation() -> None:
    """Halving contrast inside the score quarters the penalty: the gradient is at the image."""
    weight = _draw(1, "w")[0]

    def score(batch: Batch) -> Tensor:
        return _linear(weight)(batch._replace(items=batch.items / 2))

    terms = critic_loss(score, _batch(4, "x"), _batch(4, "y"), RELATIVISTIC, 1.0, "whole")
    assert torch.allclose(terms.r1, weight.square().sum() / 4)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_without_a_penalty_the_loss_is_the_objective(name: str) -> None:
    """`none` takes one pass and no second derivative; gamma does not count."""
    terms = critic_loss(_bent, _batch(8, "x"), _batch(8, "y"), OBJECTIVES[name], 9.0, "none")

    assert torch.equal(terms.loss, terms.objective)
    assert terms.r1 == terms.r2 == 0


def test_minimax_is_cross_entropy() -> None:
    """The minimax losses are the textbook's: real is 1, generated is 0, and G wants 1."""
    reals, fakes = _batch(8, "x"), _batch(8, "y")
    r, f = _bent(reals), _bent(fakes)
    objective = OBJECTIVES["minimax"]
    entropy = binary_cross_entropy_with_logits
    wanted = entropy(r, torch.ones(8)) + entropy(f, torch.zeros(8))

    terms = critic_loss(_bent, reals, fakes, objective, 0.0, "none")
    assert torch.allclose(terms.loss, wanted)
    assert torch.allclose(generator_loss(_bent, reals, fakes, objective), entropy(f, torch.ones(8)))


def test_least_squares_pulls_to_one_and_zero() -> None:
    """The least-squares losses are half the squared distance to 1 for reals, 0 for fakes."""
    r, f = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])
    objective = OBJECTIVES["least_squares"]

    assert objective.critic(r, f).tolist() == [0.0, 4.0]
    assert objective.generator(r, f).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_the_generator_learns_from_its_own_images_alone(name: str) -> None:
    """No gradient of the generator's loss reaches the reals; every generated image gets one."""
    reals, fakes = _batch(4, "x"), _batch(4, "y")
    reals.items.requires_grad_()
    fakes.items.requires_grad_()
    loss = generator_loss(_bent, reals, fakes, OBJECTIVES[name])
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own

    wanted = OBJECTIVES[name].generator(_bent(reals), _bent(fakes)).mean()
    assert torch.allclose(loss, wanted)
    assert reals.items.grad is None
    assert fakes.items.grad is not None
    assert (fakes.items.grad.flatten(1).sum(1) != 0).all()


@pytest.mark.parametrize("name", ["relativistic", "minimax"])
def test_the_two_players_want_the_opposite(name: str) -> None:
    """Fakes that score higher cost the critic more and the generator less."""
    objective, ones = OBJECTIVES[name], _linear(torch.ones(SHAPE) / 10)
    reals, fakes = _batch(4, "x"), _batch(4, "y")
    better = fakes._replace(items=fakes.items + 1)

    low, high = (
        critic_loss(ones, reals, each, objective, 0.0, "none").loss for each in (fakes, better)
    )
    assert high > low
    before, after = (generator_loss(ones, reals, each, objective) for each in (fakes, better))
    assert after < before
