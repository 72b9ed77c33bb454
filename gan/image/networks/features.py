"""The feature network of the domain metric: a small conv net that learns the recipe's own classes.

Its trunk always works on maps of at most 32 px: larger images pass through a patch layer first, so
that the cost of a metric hardly grows with the resolution. Normalisation is by group, over the
channels of one image alone, so that an image's features never depend on its neighbours.
"""

from itertools import pairwise

from torch import Tensor, nn

DIMS = 128
_TRUNK_PX = 32
_LAST_PX = 4
_ODD_PX = 28  # the one size that is no power of two
_WIDTHS = (32, 64, 128, DIMS)
_GROUP_CHANNELS = 16


class FeatureNetwork(nn.Module):
    """Images [N, C, H, W] float32 in [-1, 1] -> features [N, 128] and logits [N, num_classes].

    Features are means over the last map of a ReLU: float32 from 0 up. The network has no state that
    changes in a forward pass, so `train()` and `eval()` give the same result.
    """

    def __init__(self, channels: int, resolution: int, num_classes: int) -> None:
        """Build it for square images.

        Args:
            channels: Channels of an image: 1, 3, or 4 (colour times alpha, then alpha).
            resolution: Height and width of an image, px: a power of two from 8 up, or 28.
            num_classes: Number of logits.

        Raises:
            ValueError: The resolution is not one of these.
        """
        super().__init__()
        is_power = resolution >= 2 * _LAST_PX and not resolution & (resolution - 1)
        if not is_power and resolution != _ODD_PX:
            raise ValueError(
                f"resolution is {resolution} px; it must be a power of two from 8 up, or {_ODD_PX}"
            )
        patch_px = max(1, resolution // _TRUNK_PX)
        side_px = resolution // patch_px
        stem: nn.Module = nn.Conv2d(channels, _WIDTHS[0], 3, padding=1)
        if patch_px > 1:
            stem = nn.Conv2d(channels, _WIDTHS[0], patch_px, stride=patch_px)
        layers: list[nn.Module] = [stem, *_after(_WIDTHS[0])]
        for width_in, width_out in pairwise(_WIDTHS):
            if side_px > _LAST_PX and side_px % 2 == 0:  # 32, 16, 8, 4 or 28, 14, 7
                layers.append(nn.MaxPool2d(2))
                side_px //= 2
            layers += [nn.Conv2d(width_in, width_out, 3, padding=1), *_after(width_out)]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(DIMS, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features [N, 128] and the logits [N, num_classes] of images [N, C, H, W]."""
        features = self.trunk(images).mean(dim=(2, 3))  # [N, 128]
        return features, self.head(features)


def _after(width: int) -> list[nn.Module]:
    """Return what follows each convolution: normalisation within an image, then ReLU."""
    return [nn.GroupNorm(width // _GROUP_CHANNELS, width), nn.ReLU(inplace=True)]
