"""The house network: shapes, start, number formats, size, and that every weight learns."""

import pytest
import torch
from torch import Tensor, nn

from gan.image.networks.r3gan import PRESETS, Block, Conv, Critic, Generator, Shape
from gan.seeding import generator_at


def _pair(shape: Shape, dtype: torch.dtype = torch.float32) -> tuple[Generator, Critic]:
    torch.manual_seed(1)
    return Generator(shape, dtype), Critic(shape, dtype)


def _batch(count: int, classes: int) -> tuple[Tensor, Tensor]:
    z = torch.randn(count, PRESETS["tiny"].z_dim, generator=generator_at(1, "z"))
    return z, torch.arange(count) % classes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256])
def test_networks_are_built_for_each_size(resolution: int, channels: int) -> None:
    """Every resolution a recipe may ask for, grey or colour, gives images and logits."""
    generator, critic = _pair(Shape("tiny", resolution, channels, 2))
    z, c = _batch(2, 2)
    images = generator(z, c)
    logits = critic(images, c)

    assert images.shape == (2, channels, resolution, resolution)
    assert logits.shape == (2,)
    assert images.dtype is logits.dtype is torch.float32
    assert images.isfinite().all()
    assert 0.1 < images.std() < 5


def test_blocks_start_as_identity() -> None:
    """A new block passes its input on unchanged, so that depth does no harm at the start."""
    x = torch.randn(2, 32, 8, 8)

    assert torch.equal(Block(32, 16, depth=3)(x), x)
    generator, _ = _pair(Shape("tiny", 32, 3, 2))
    blocks = [module for module in generator.modules() if isinstance(module, Block)]
    assert blocks
    assert all(not block.widen.weight.any() for block in blocks)


def test_class_and_latent_both_matter() -> None:
    """Another class and another latent are another image; the critic heeds the class as well."""
    generator, critic = _pair(Shape("tiny", 16, 3, 2))
    z, _ = _batch(2, 2)
    zeros, ones = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    images = generator(z, zeros)

    assert not torch.allclose(images, generator(z, ones), atol=1e-3)
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert not torch.allclose(critic(images, zeros), critic(images, ones), atol=1e-3)


def test_an_image_does_not_depend_on_its_batch() -> None:
    """There is no batch normalisation: alone or not, an image is the same to rounding."""
    generator, critic = _pair(Shape("tiny", 16, 3, 2))
    z, c = _batch(6, 2)
    images = generator(z, c)

    assert torch.allclose(images[:1], generator(z[:1], c[:1]), atol=1e-5)
    assert torch.allclose(critic(images, c)[:1], critic(images[:1], c[:1]), atol=1e-4)


def test_bfloat16_is_close_to_float32() -> None:
    """Activations in bfloat16 change images and logits by a few percent of their spread."""
    shape = Shape("tiny", 32, 3, 4)
    generator, critic = _pair(shape)
    rough_generator, rough_critic = _pair(shape, torch.bfloat16)
    _wake(generator, rough_generator)
    _wake(critic, rough_critic)
    z, c = _batch(8, 4)
    images = generator(z, c)

    assert (rough_generator(z, c) - images).std() < 0.03 * images.std()
    logits = critic(images, c)
    assert (rough_critic(images, c) - logits).std() < 0.05 * logits.std()


def _wake(*networks: nn.Module) -> None:
    """Give the zero branches of each network the same small weights, so that they take part."""
    for network in networks:
        for place, module in enumerate(network.modules()):
            if isinstance(module, Conv) and not module.weight.any():
                noise = torch.randn(module.weight.shape, generator=generator_at(2, place))
                module.weight.data += 0.05 * noise


def test_weights_are_float32_and_fit_in_two_megabytes() -> None:
    """Both networks of the shipped size, in the bundle's float16, are under 2 MB."""
    networks = _pair(Shape("tiny", 32, 3, 14), torch.bfloat16)
    weights = [weight for network in networks for weight in network.parameters()]

    assert all(weight.dtype is torch.float32 for weight in weights)
    assert 2 * sum(weight.numel() for weight in weights) < 2_000_000
    assert not any(True for network in networks for _ in network.buffers())  # the average has none


def test_every_weight_learns() -> None:
    """After a few steps each parameter of both networks gets a gradient that is not zero."""
    generator, critic = _pair(Shape("tiny", 16, 3, 2))
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
