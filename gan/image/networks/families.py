"""Which networks a preset names: the house network in its sizes, or one of the textbook's two."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gan.image.networks import conv28, dense32, r3gan, textbook
from gan.image.networks.r3gan import PRESETS, Shape

Build = Callable[[Shape, torch.dtype], nn.Module]


@dataclass(frozen=True)
class Family:
    """A pair of networks: how to build each."""

    generator: Build
    critic: Build


_HOUSE = Family(r3gan.Generator, r3gan.Critic)
_TEXTBOOK = {
    "conv28": Family(conv28.Generator, conv28.Critic),
    "dense32": Family(dense32.Generator, dense32.Critic),
}


def build_generator(
    preset: str, resolution: int, channels: int, num_classes: int, dtype: torch.dtype
) -> nn.Module:
    """Return G: (z [N, z_dim] float32, c [N] int64) -> images [N, C, H, W] float32.

    Raises:
        KeyError: No such preset.
        ValueError: The preset has no networks of this resolution.
    """
    shape = Shape(preset, resolution, channels, num_classes)
    return _TEXTBOOK.get(preset, _HOUSE).generator(shape, dtype)


def build_critic(
    preset: str, resolution: int, channels: int, num_classes: int, dtype: torch.dtype
) -> nn.Module:
    """Return D: (images [N, C, H, W] float32, c [N] int64) -> logits [N] float32.

    Raises:
        KeyError: No such preset.
        ValueError: The preset has no networks of this resolution.
    """
    shape = Shape(preset, resolution, channels, num_classes)
    return _TEXTBOOK.get(preset, _HOUSE).critic(shape, dtype)


def z_dim(preset: str) -> int:
    """Return the size of a preset's latent.

    Raises:
        KeyError: No such preset.
    """
    return textbook.Z_DIM if preset in _TEXTBOOK else PRESETS[preset].z_dim
