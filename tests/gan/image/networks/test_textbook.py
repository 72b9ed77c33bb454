"""The two networks of the textbooks: shapes, start, and that they learn two classes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan.bundle import Card, open_bundle, pack
from gan.image.networks.families import build_critic, build_generator, z_dim
from gan.seeding import generator_at
from gan.training.losses import OBJECTIVES, Batch, critic_loss, generator_loss

TEXTBOOK = ("conv28", "dense32")


def _pair(
    preset: str, side_px: int = 16, channels: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    shape = (preset, side_px, channels, 2, dtype)
    return build_generator(*shape), build_critic(*shape)


def _latents(count: int, *place: int) -> tuple[Tensor, Tensor]:
    z = torch.randn(count, z_dim("conv28"), generator=generator_at(1, "z", *place))
    return z, torch.arange(count) % 2


@pytest.mark.parametrize("preset", TEXTBOOK)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side_px", [16, 28, 32, 64])
def test_they_are_built_for_each_shape(preset: str, side_px: int, channels: int) -> None:
    """Old and new are compared on the same data: grey, RGB or RGBA, of any size of a recipe."""
    generator, critic = _pair(preset, side_px, channels)
    z, c = _latents(4)
    images = generator(z, c)
    logits = critic(images, c)

    assert images.shape == (4, channels, side_px, side_px)
    assert logits.shape == (4,)
    assert images.dtype is logits.dtype is torch.float32
    assert images.abs().max() <= 1


@pytest.mark.parametrize("preset", TEXTBOOK)
@pytest.mark.parametrize("side_px", [0, -4])
def test_an_impossible_side_is_refused(preset: str, side_px: int) -> None:
    """A size that no image has builds nothing, so that a damaged card is noticed."""
    for build in (build_generator, build_critic):
        with pytest.raises(ValueError, match=f"resolution is {side_px} px"):
            build(preset, side_px, 3, 2, torch.float32)


@pytest.mark.parametrize("preset", TEXTBOOK)
def test_bfloat16_is_close_to_float32(preset: str) -> None:
    """Activations in bfloat16 change images and logits by a few percent of their spread."""
    nets, rough = _pair(preset), _pair(preset, dtype=torch.bfloat16)
    z, c = _latents(16)
    images = nets[0](z, c)
    reals = torch.rand(images.shape, generator=generator_at(1, "reals")) * 2 - 1

    assert (rough[0](z, c) - images).std() < 0.05 * images.std()
    assert (rough[1](reals, c) - nets[1](reals, c)).std() < 0.05 * nets[1](reals, c).std()
    assert all(weight.dtype is torch.float32 for net in rough for weight in net.parameters())


@pytest.mark.parametrize("preset", TEXTBOOK)
def test_class_and_latent_both_matter(preset: str) -> None:
    """Another class and another latent are another image; the critic heeds the class as well."""
    generator, critic = _pair(preset)
    z, _ = _latents(4)
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    images = generator.eval()(z, zeros)

    assert not torch.allclose(images, generator(z, ones), atol=1e-4)
    assert not torch.allclose(images[0], images[1], atol=1e-4)
    reals = torch.ones_like(images)
    assert not torch.allclose(critic(reals, zeros), critic(reals, ones), atol=1e-4)


@pytest.mark.parametrize("preset", TEXTBOOK)
def test_a_score_and_a_finished_image_do_not_depend_on_the_batch(preset: str) -> None:
    """The critic scores an image alone as among others; so does the generator once trained."""
    generator, critic = _pair(preset)
    z, c = _latents(12)
    for _ in range(3):  # running statistics of something
        images = generator(z, c)
    generator.eval()
    images = generator(z, c)

    assert torch.allclose(images[:1], generator(z[:1], c[:1]), atol=1e-6)
    assert torch.allclose(images, generator(z.flip(0), c.flip(0)).flip(0), atol=1e-6)
    assert torch.allclose(critic(images, c)[:1], critic(images[:1], c[:1]), atol=1e-5)
    assert not list(critic.buffers())
    assert torch.equal(images, generator(z, c))  # evaluation moves no statistic


def _reals(place: int) -> tuple[Tensor, Tensor]:
    """Return 32 images of two classes: the left half bright, or the upper half."""
    c = torch.arange(32) % 2
    images = torch.full((32, 3, 16, 16), -0.6)
    images[0::2, :, :, :8] = 0.6
    images[1::2, :, :8, :] = 0.6
    return images + 0.1 * torch.randn(images.shape, generator=generator_at(1, "x", place)), c


def _distances(generator: nn.Module) -> Tensor:
    """Return how far the mean image of each class is from the data's, root mean square, [2]."""
    reals, c = _reals(0)
    z, _ = _latents(32, 0)
    with torch.no_grad():
        images = generator.eval()(z, c)
    generator.train()
    means = [(images[i::2].mean(0) - reals[i::2].mean(0)).square().mean().sqrt() for i in (0, 1)]
    return torch.stack(means)


@pytest.mark.parametrize("preset", TEXTBOOK)
@pytest.mark.parametrize(
    ("loss", "gamma"), [("minimax", 0.0), ("least_squares", 0.0), ("relativistic", 1.0)]
)
def test_they_learn_two_classes(preset: str, loss: str, gamma: float) -> None:
    """Sixty steps of the textbook's Adam bring each class's mean image nearer to the data's."""
    generator, critic = _pair(preset)
    before = _distances(generator)
    adams = [
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused=True)
        for network in (generator, critic)
    ]
    none = torch.empty(0, 32)

    def score(batch: Batch) -> Tensor:
        logits: Tensor = critic(batch.items, batch.c)
        return logits

    for step in range(60):
        reals, c = _reals(step)
        fakes = generator(_latents(32, step, 1)[0], c)
        both = Batch(reals, c, none), Batch(fakes.detach(), c, none)
        terms = critic_loss(score, *both, OBJECTIVES[loss], gamma, "quarter" if gamma else "none")
        adams[1].zero_grad()
        terms.loss.backward()  # type: ignore[no-untyped-call]
        adams[1].step()
        loss_g = generator_loss(score, both[0], Batch(fakes, c, none), OBJECTIVES[loss])
        adams[0].zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]
        adams[0].step()

        assert terms.loss.isfinite(), step
        assert loss_g.isfinite(), step

    assert (_distances(generator) < 0.8 * before).all()


@pytest.mark.parametrize("preset", TEXTBOOK)
def test_a_bundle_gives_back_the_networks(preset: str, tmp_path: Path) -> None:
    """Weights, running statistics and counters come back: what was opened draws the same."""
    generator, critic = _pair(preset)
    for step in range(3):
        generator(*_latents(8, step))
    card = Card(
        recipe="old",
        preset=preset,
        resolution=16,
        channels=3,
        z_dim=z_dim(preset),
        classes=["a", "b"],
        data_digest="d" * 64,
        start_digest=None,
        kimg=1.0,
        total_kimg=1.0,
        seed=1,
        precision="float32",
        torch=torch.__version__,
        train={},
    )
    bundle = pack(tmp_path / "one", generator, critic, card)
    found = open_bundle(bundle.folder)
    z, c = _latents(4)
    images = found.generator()(z, c)

    assert torch.equal(images, bundle.generator()(z, c))
    assert torch.allclose(images, generator.eval()(z, c), atol=5e-3)  # float16 in the file
    for name, buffer in generator.named_buffers():
        kept = found.generator().get_buffer(name)
        assert torch.allclose(kept.double(), buffer.double(), rtol=1e-3, atol=1e-6), name
    again = pack(tmp_path / "two", found.generator(), found.critic(), card)
    assert again.digest == bundle.digest
