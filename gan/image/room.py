"""The image modality: what `gan.modality.Modality` asks for, for pictures."""

import torch
from torch import nn

from gan.image.augment import augment, flip
from gan.image.dataset import open_dataset
from gan.image.encode import from_uint8, grid, to_uint8
from gan.image.networks.features import FeatureNetwork
from gan.image.networks.r3gan import PRESETS, Critic, Generator, Shape

__all__ = [
    "augment",
    "build_critic",
    "build_features",
    "build_generator",
    "flip",
    "from_uint8",
    "grid",
    "open_dataset",
    "to_uint8",
    "z_dim",
]


def build_generator(
    preset: str, resolution: int, channels: int, num_classes: int, dtype: torch.dtype
) -> nn.Module:
    """Return G: (z [N, z_dim] float32, c [N] int64) -> images [N, C, H, W] float32."""
    return Generator(Shape(preset, resolution, channels, num_classes), dtype)


def build_critic(
    preset: str, resolution: int, channels: int, num_classes: int, dtype: torch.dtype
) -> nn.Module:
    """Return D: (images [N, C, H, W] float32, c [N] int64) -> logits [N] float32."""
    return Critic(Shape(preset, resolution, channels, num_classes), dtype)


def build_features(channels: int, resolution: int, num_classes: int) -> nn.Module:
    """Return the metric's network: images -> (features [N, 128], logits [N, num_classes])."""
    return FeatureNetwork(channels, resolution, num_classes)


def z_dim(preset: str) -> int:
    """Return the size of a preset's latent."""
    return PRESETS[preset].z_dim
