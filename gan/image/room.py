"""The image modality: what `gan.modality.Modality` asks for, for pictures."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gan.image.augment import augment, augment_draws, flip
from gan.image.dataset import open_dataset
from gan.image.encode import from_uint8, grid, to_uint8
from gan.image.networks.families import build_critic, build_generator, z_dim
from gan.image.networks.features import FeatureNetwork

__all__ = [
    "augment",
    "augment_draws",
    "build_backbone",
    "build_critic",
    "build_features",
    "build_generator",
    "build_inception",
    "flip",
    "from_uint8",
    "grid",
    "open_dataset",
    "to_uint8",
    "z_dim",
]


def build_features(channels: int, resolution: int, num_classes: int) -> nn.Module:
    """Return the metric's network: images -> (features [N, 128], logits [N, num_classes])."""
    return FeatureNetwork(channels, resolution, num_classes)


def build_inception(state: Mapping[str, Tensor], precision: torch.dtype) -> nn.Module:
    """Return the FID's network: images uint8 [N, 3, H, W] -> features [N, 2048] float32.

    Raises:
        ValueError: A weight is missing or misshapen.
    """
    from gan.image.networks.inception import build_inception as build

    return build(state, precision)


def build_backbone(name: str, state: Mapping[str, Tensor], precision: torch.dtype) -> nn.Module:
    """Return a network of torchvision: images uint8 [N, 3, H, W] -> features [N, d] float32.

    Raises:
        ValueError: There is no such network, or a weight is missing or misshapen.
    """
    from gan.image.networks.backbones import build_backbone as build

    return build(name, state, precision)
