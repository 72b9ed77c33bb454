"""Differentiable augmentation of what the critic sees, so that it cannot learn the data by heart.

The ADA family (Karras et al. 2020) in DiffAugment's plain form (Zhao et al. 2020): each transform
fires per image with probability p, reals and fakes alike, so it does not leak into the samples as
long as p stays well below 1. No rotation, no hue, no mirroring: stickers and letters have an up, a
left and brand colours.
"""

import torch
from torch import Tensor

_SHIFT = 0.125  # of the side
_BOX = 0.5  # of the side


def augment(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return images after brightness, saturation, contrast, shift and cut-out.

    Args:
        images: [N, C, H, W], float32, about [-1, 1]; differentiable twice.
        strength: Probability that each transform fires for an image, in [0, 1].
        generator: On the images' device; draws for the whole batch.
    """
    if strength == 0:
        return images
    count, _, height, width = images.shape
    device = images.device
    draws = torch.rand(9, count, 1, 1, 1, device=device, generator=generator)
    fires = (torch.rand(5, count, 1, 1, 1, device=device, generator=generator) < strength).float()
    images = images + (draws[0] - 0.5) * fires[0]  # brightness, +-0.5
    mean = images.mean(dim=1, keepdim=True)
    images = torch.lerp(images, mean, (1 - 2 * draws[1]) * fires[1])  # saturation, x 0..2
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = torch.lerp(images, mean, (0.5 - draws[2]) * fires[2])  # contrast, x 0.5..1.5
    images = _shift(images, draws[3:5], fires[3])
    rows = torch.arange(height, device=device).view(1, 1, height, 1)
    columns = torch.arange(width, device=device).view(1, 1, 1, width)
    inside = ((rows - draws[5] * height).abs() < _BOX / 2 * height) & (
        (columns - draws[6] * width).abs() < _BOX / 2 * width
    )
    return images * (1 - inside.float() * fires[4])


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images [N, C, H, W] mirrored left to right, each with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device, generator=generator) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def _shift(images: Tensor, draws: Tensor, fires: Tensor) -> Tensor:
    """Move by up to an eighth of the side, whole pixels; the border is repeated.

    Indexing, not grid_sample: cheap, exact, and its gradient has a gradient.
    """
    _, channels, height, width = images.shape
    reach = torch.tensor([height, width], device=images.device) * _SHIFT
    moves = ((2 * draws[:, :, 0, 0, 0].T - 1) * reach * fires[:, :, 0, 0]).round().long()  # [N, 2]
    rows = torch.arange(height, device=images.device) + moves[:, :1]
    columns = torch.arange(width, device=images.device) + moves[:, 1:]
    rows = rows.clamp(0, height - 1)[:, None, :, None].expand(-1, channels, -1, width)
    images = images.gather(2, rows)
    columns = columns.clamp(0, width - 1)[:, None, None, :].expand(-1, channels, height, -1)
    return images.gather(3, columns)
