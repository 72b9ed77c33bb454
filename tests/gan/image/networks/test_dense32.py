"""The dense textbook network: the published sizes."""

import torch

from gan.image.networks.dense32 import Critic, Generator
from gan.image.networks.r3gan import Shape


def test_it_is_the_published_network() -> None:
    """Latents of 100 through 128 units to 32x32x3, and 32x32x3 through 128 units to a score."""
    generator, critic = Generator(Shape("dense32", 32, 3, 1)), Critic(Shape("dense32", 32, 3, 1))

    assert generator.hidden.weight.shape == (128, 100 + 50)  # z and the class beside it
    assert generator.pixels.weight.shape == (3 * 32 * 32, 128)
    assert critic.hidden.weight.shape == (128, 3 * 32 * 32)
    assert critic.score.dense.weight.shape == (1, 128)
    assert not [*generator.buffers(), *critic.buffers()]


def test_it_starts_grey() -> None:
    """Before the first step an image is near 0, where the tanh passes its whole gradient."""
    generator = Generator(Shape("dense32", 32, 3, 2))

    assert generator(torch.randn(8, 100), torch.arange(8) % 2).abs().max() < 0.3
