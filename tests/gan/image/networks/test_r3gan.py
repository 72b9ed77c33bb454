"""The house network: shapes, start, number formats, size, and that every weight learns."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import gan
from gan.image.networks.r3gan import PRESETS, Block, Critic, Generator, Shape
from gan.seeding import generator_at
from tests.gan.image.networks import plain
from tests.gan.image.networks.plain import Narrow

SHIPPED = Path(gan.__file__).parent / "shipped" / "stickers"
# What the first release's networks drew: one pixel of four stickers, and the stickers' logits.
GOLDEN_PIXELS = [
    -0.763313,
    -0.437367,
    -0.440774,
    0.124747,
    0.644579,
    0.65993,
    1.120103,
    0.566024,
    -0.607013,
    0.664853,
    0.748191,
    0.8437,
]
GOLDEN_LOGITS = [1.199696, -0.08991, 0.912373, 0.112131]


def _pair(shape: Shape, dtype: torch.dtype = torch.float32) -> tuple[Generator, Critic]:
    torch.manual_seed(1)
    return Generator(shape, dtype), Critic(shape, dtype)


def _batch(count: int, classes: int) -> tuple[Tensor, Tensor]:
    z = torch.randn(count, PRESETS["tiny"].z_dim, generator=generator_at(1, "z"))
    return z, torch.arange(count) % classes


@pytest.mark.parametrize("resolution", [16, 28, 32, 64, 128, 256])
@pytest.mark.parametrize("preset", PRESETS)
def test_networks_are_built_for_each_size(preset: str, resolution: int) -> None:
    """Every preset takes every resolution a recipe may ask for: grey, RGB or RGBA."""
    for channels in (1, 3, 4):
        with torch.device("meta"):  # shapes without arithmetic
            generator, critic = _pair(Shape(preset, resolution, channels, 2))
            z, c = torch.empty(2, PRESETS[preset].z_dim), torch.zeros(2, dtype=torch.int64)
            images = generator(z, c)
            logits = critic(images, c)

        assert images.shape == (2, channels, resolution, resolution)
        assert logits.shape == (2,)
        assert images.dtype is logits.dtype is torch.float32


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("resolution", [16, 28, 32])
def test_networks_start_at_the_scale_of_images(preset: str, resolution: int) -> None:
    """Fresh images spread like real ones, and fresh logits are of order 1."""
    generator, critic = _pair(Shape(preset, resolution, 4, 2))
    z, c = _batch(8, 2)
    images = generator(z, c)
    logits = critic(images, c)

    assert images.isfinite().all()
    assert 0.1 < images.std() < 2
    assert 0.01 < logits.std() < 5


def test_new_networks_are_their_transitions_alone() -> None:
    """All residual branches start at zero, so that depth does no harm at the start."""
    generator, critic = _pair(Shape("small", 32, 3, 2))
    blocks = [m for network in (generator, critic) for m in network.modules() if type(m) is Block]

    assert len(blocks) == 16
    assert all(not block.widen.weight.any() for block in blocks)


def test_base_has_the_published_size() -> None:
    """At 32 px with 10 classes: 20.8 and 21.3 million weights, as published for CIFAR-10."""
    with torch.device("meta"):
        networks = _pair(Shape("base", 32, 3, 10))
    sizes = [sum(weight.numel() for weight in network.parameters()) for network in networks]

    assert [round(size / 1e6, 1) for size in sizes] == [20.8, 21.3]


def test_large_has_the_published_size() -> None:
    """At 256 px with one class: 23.1 and 23.0 million weights, the class embedding left out."""
    with torch.device("meta"):
        networks = _pair(Shape("large", 256, 3, 1))
    sizes = [sum(weight.numel() for weight in network.parameters()) for network in networks]
    generator_embed = 64 + 768 * 64  # the embedding, and its columns of the map to the basis
    critic_embed = 768 * 767 + 768  # a row of the head for each embedded number but one

    assert round((sizes[0] - generator_embed) / 1e6, 1) == 23.1
    assert round((sizes[1] - critic_embed) / 1e6, 1) == 23.0


def test_the_shipped_networks_give_what_they_gave() -> None:
    """The bundle that ships with the code still draws the same stickers with the same scores."""
    shape = Shape("tiny", 32, 3, 14)
    networks = Generator(shape), Critic(shape)
    for network, name in zip(networks, ("generator", "critic"), strict=True):
        weights = load_file(SHIPPED / f"{name}.safetensors")
        network.load_state_dict({key: weight.float() for key, weight in weights.items()})
    z, c = _batch(4, 14)
    with torch.no_grad():
        images = networks[0](z, c)
        logits = networks[1](images, c)

    assert torch.allclose(images[:, :, 10, 20].flatten(), torch.tensor(GOLDEN_PIXELS), atol=2e-4)
    assert torch.allclose(logits, torch.tensor(GOLDEN_LOGITS), atol=2e-3)


def test_class_and_latent_both_matter() -> None:
    """Another class and another latent are another image; the critic heeds the class as well."""
    generator, critic = _pair(Shape("tiny", 16, 3, 2))
    z, _ = _batch(2, 2)
    zeros, ones = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    images = generator(z, zeros)

    assert not torch.allclose(images, generator(z, ones), atol=1e-3)
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert not torch.allclose(critic(images, zeros), critic(images, ones), atol=1e-3)


@pytest.mark.parametrize("shape", [Shape("tiny", 16, 3, 2), Narrow("narrow", 32, 3, 2)])
def test_an_image_does_not_depend_on_its_batch(shape: Shape) -> None:
    """There is no batch normalisation: alone or not, an image is the same to rounding."""
    generator, critic = plain.pair(shape)
    z, c = _batch(6, 2)
    images = generator(z, c)

    assert torch.allclose(images[:1], generator(z[:1], c[:1]), atol=1e-5)
    assert torch.allclose(critic(images, c)[:1], critic(images[:1], c[:1]), atol=1e-4)


@pytest.mark.parametrize("shape", [Shape("tiny", 32, 3, 4), Narrow("narrow", 32, 3, 4)])
def test_bfloat16_is_close_to_float32(shape: Shape) -> None:
    """Activations in bfloat16 change images and logits by a few percent of their spread."""
    generator, critic = plain.pair(shape)
    rough_generator, rough_critic = plain.pair(shape, torch.bfloat16)
    z, c = _batch(8, 4)
    images = generator(z, c)

    assert (rough_generator(z, c) - images).std() < 0.03 * images.std()
    logits = critic(images, c)
    assert (rough_critic(images, c) - logits).std() < 0.05 * logits.std()


def test_weights_are_float32_and_fit_in_two_megabytes() -> None:
    """Both networks of the shipped size, in the bundle's float16, are under 2 MB."""
    networks = _pair(Shape("tiny", 32, 3, 14), torch.bfloat16)
    weights = [weight for network in networks for weight in network.parameters()]

    assert all(weight.dtype is torch.float32 for weight in weights)
    assert 2 * sum(weight.numel() for weight in weights) < 2_000_000
    assert not any(True for network in networks for _ in network.buffers())  # the average has none


@pytest.mark.parametrize("shape", [Shape("tiny", 16, 3, 2), Narrow("narrow", 28, 4, 2)])
def test_every_weight_learns(shape: Shape) -> None:
    """After a few steps each parameter of both networks gets a gradient that is not zero."""
    generator, critic = _pair(shape)
    z, c = _batch(8, 2)
    weights = [*generator.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        critic(generator(z, c), c).square().mean().backward()
        optimizer.step()

    for network in (generator, critic):
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.any(), name
