"""The feature network: the shapes it takes, and that what it computes for RGB stays as it was."""

import pytest
import torch
from torch import nn

from gan.image.networks.features import FeatureNetwork


def _maps(channels: int, side_px: int) -> list[int]:
    """Return the side of the map after each convolution."""
    sides: list[int] = []
    network = FeatureNetwork(channels, side_px, 3)
    for part in network.trunk:
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    features, logits = network(torch.rand(2, channels, side_px, side_px))
    assert features.shape == (2, 128)
    assert logits.shape == (2, 3)
    return sides


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("side_px", "sides"),
    [(16, [16, 8, 4, 4]), (28, [28, 14, 7, 7]), (32, [32, 16, 8, 4]), (256, [32, 16, 8, 4])],
)
def test_maps_are_halved_down_to_few_positions(
    side_px: int, sides: list[int], channels: int
) -> None:
    """28 px go 28, 14, 7; powers of two end at 4; grey, RGB and RGBA alike."""
    assert _maps(channels, side_px) == sides


@pytest.mark.parametrize("side_px", [0, 4, 24, 30, -8])
def test_another_size_is_refused(side_px: int) -> None:
    """A size that no recipe has is named."""
    with pytest.raises(ValueError, match=f"resolution is {side_px} px"):
        FeatureNetwork(3, side_px, 2)


def test_the_network_of_32_px_is_the_one_of_old() -> None:
    """Extractors of existing data keep their digest: same layers, same draws, in the same order."""
    network = FeatureNetwork(3, 32, 14)
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}

    assert shapes == {
        "trunk.0.weight": (32, 3, 3, 3),
        "trunk.0.bias": (32,),
        "trunk.1.weight": (32,),
        "trunk.1.bias": (32,),
        "trunk.4.weight": (64, 32, 3, 3),
        "trunk.4.bias": (64,),
        "trunk.5.weight": (64,),
        "trunk.5.bias": (64,),
        "trunk.8.weight": (128, 64, 3, 3),
        "trunk.8.bias": (128,),
        "trunk.9.weight": (128,),
        "trunk.9.bias": (128,),
        "trunk.12.weight": (128, 128, 3, 3),
        "trunk.12.bias": (128,),
        "trunk.13.weight": (128,),
        "trunk.13.bias": (128,),
        "head.weight": (14, 128),
        "head.bias": (14,),
    }
    assert [type(part).__name__ for part in network.trunk] == [
        *("Conv2d", "GroupNorm", "ReLU", "MaxPool2d"),
        *("Conv2d", "GroupNorm", "ReLU", "MaxPool2d"),
        *("Conv2d", "GroupNorm", "ReLU", "MaxPool2d"),
        *("Conv2d", "GroupNorm", "ReLU"),
    ]
