"""The convolutional textbook network: the published sizes and its batch normalisation."""

import pytest
import torch
from torch import nn

from gan.image.networks.conv28 import Critic, Generator
from gan.image.networks.r3gan import Shape


def test_it_is_the_published_network() -> None:
    """Latents of 100 to 7x7x128, 14x14x64 and 28x28x1, and back, in strided steps alone."""
    sides: list[tuple[int, ...]] = []
    generator, critic = Generator(Shape("conv28", 28, 1, 1)), Critic(Shape("conv28", 28, 1, 1))
    for part in (generator.norm1, generator.norm2, critic.down1, critic.down2):
        part.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    c = torch.zeros(2, dtype=torch.int64)
    critic(generator(torch.randn(2, 100), c), c)

    assert sides == [(128, 7, 7), (64, 14, 14), (64, 14, 14), (128, 7, 7)]
    assert sum(isinstance(part, nn.BatchNorm2d) for part in generator.modules()) == 2
    assert not any(isinstance(part, nn.BatchNorm2d) for part in critic.modules())


def test_a_side_that_does_not_halve_twice_is_refused() -> None:
    """30 px would come back as 28: no network is built."""
    for build in (Generator, Critic):
        with pytest.raises(ValueError, match="multiple of 4"):
            build(Shape("conv28", 30, 1, 1))


def test_training_normalises_by_the_batch_and_learns_the_statistics() -> None:
    """In training mode the neighbours count; each pass moves the running statistics once."""
    torch.manual_seed(1)
    generator = Generator(Shape("conv28", 28, 1, 2))
    z, c = torch.randn(8, 100), torch.arange(8) % 2
    before = generator.norm1.running_mean.clone()  # type: ignore[union-attr]
    together = generator(z, c)

    assert not torch.allclose(together[:2], generator(z[:2], c[:2]), atol=1e-3)
    assert not torch.equal(before, generator.norm1.running_mean)  # type: ignore[arg-type]
    assert generator.norm1.num_batches_tracked == 2
