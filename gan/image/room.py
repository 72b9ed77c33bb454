"""The image modality: what `gan.modality.Modality` asks for, for pictures."""

from torch import nn

from gan.image.augment import augment, augment_draws, flip
from gan.image.dataset import open_dataset
from gan.image.encode import from_uint8, grid, to_uint8
from gan.image.networks.families import build_critic, build_generator, z_dim
from gan.image.networks.features import FeatureNetwork

__all__ = [
    "augment",
    "augment_draws",
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


def build_features(channels: int, resolution: int, num_classes: int) -> nn.Module:
    """Return the metric's network: images -> (features [N, 128], logits [N, num_classes])."""
    return FeatureNetwork(channels, resolution, num_classes)
