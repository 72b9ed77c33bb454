"""Differentiable augmentation of what the critic sees, so that it cannot learn the data by heart.

The ADA family (Karras et al. 2020) in DiffAugment's plain form (Zhao et al. 2020): each transform
fires per image with probability p, reals and fakes alike, so it does not leak into the samples as
long as p stays well below 1. No rotation, no hue, no mirroring: stickers and letters have an up, a
left and brand colours.

Draws and strength come as tensors, and no value is read back: a step with augmentation can be
captured once as a CUDA graph, and replayed with other draws and another strength.

RGBA is premultiplied, so -1 in all four channels is transparent. Colour moves in proportion to
alpha, as if the colour below were transformed and multiplied again: what is transparent stays so.
"""

import math

import torch
from torch import Tensor

_SHIFT = 0.125  # of the side
_BOX = 0.5  # of the side
_VALUES, _TRANSFORMS = 9, 5
_RGBA = 4
_LEAST_COVER = 1 / 256  # of the image: below it the mean colour is that of almost nothing


def augment_draws(count: int, device: torch.device | str, generator: torch.Generator) -> Tensor:
    """Return what `augment` needs for a batch, [14, N] float32, uniform in [0, 1).

    Args:
        count: N.
        device: Of the draws.
        generator: On that device.
    """
    shape = (_VALUES + _TRANSFORMS, count)
    return torch.rand(shape, device=device, generator=generator)


def augment(images: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
    """Return images after brightness, saturation, contrast, shift and cut-out.

    Args:
        images: [N, C, H, W], float32, about [-1, 1], C is 1, 3 or 4; differentiable twice.
        strength: Probability that each transform fires for an image, 0-dim float32 in [0, 1]; 0
            leaves every value as it is.
        draws: [14, N] of `augment_draws`, on the images' device.
    """
    values = draws[:_VALUES, :, None, None, None]
    fires = (draws[_VALUES:, :, None, None, None] < strength).to(images.dtype)
    if images.shape[1] == _RGBA:
        alpha = images[:, 3:]
        cover = ((alpha + 1) / 2).clamp(0, 1)
        images = torch.cat([_colours(images[:, :3], values, fires, cover), alpha], 1)
    else:
        images = _colours(images, values, fires, None)
    return _cut_out(_shift(images, values[3:5], fires[3]), values[5:7], fires[4])


def flip(images: Tensor, draws: Tensor) -> Tensor:
    """Return images [N, C, H, W], mirrored left to right where draws [N] in [0, 1) are < 1/2."""
    return torch.where(draws[:, None, None, None] < 0.5, images.flip(3), images)


def _colours(images: Tensor, values: Tensor, fires: Tensor, cover: Tensor | None) -> Tensor:
    """Change brightness, saturation, contrast of [N, 1 or 3, H, W]; cover is alpha, 0 to 1."""
    brightness = (values[0] - 0.5) * fires[0]  # +-0.5
    images = images + (brightness if cover is None else brightness * cover)
    shade = images.mean(dim=1, keepdim=True)
    images = torch.lerp(images, shade, (1 - 2 * values[1]) * fires[1])  # saturation, x 0..2
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    if cover is not None:  # the mean colour of what is there, laid under its alpha
        there = cover.mean(dim=(1, 2, 3), keepdim=True).clamp_min(_LEAST_COVER)
        mean = 2 * ((mean + 1) / 2 / there).clamp(0, 1) * cover - 1
    return torch.lerp(images, mean, (0.5 - values[2]) * fires[2])  # contrast, x 0.5..1.5


def _shift(images: Tensor, values: Tensor, fires: Tensor) -> Tensor:
    """Move by up to an eighth of the side, whole pixels; the border is repeated.

    Indexing, not grid_sample: cheap, exact, and its gradient has a gradient. The border is laid
    round first, so that no pixel is read twice: a gradient is then one value, not a sum in
    whichever order a GPU comes to it.
    """
    count, channels, height, width = images.shape
    margins = math.ceil(height * _SHIFT), math.ceil(width * _SHIFT)
    ways = (2 * values[:, :, 0, 0, 0] - 1) * fires[:, 0, 0, 0]  # [2, N]
    down = (ways[0] * (height * _SHIFT)).round().long()
    right = (ways[1] * (width * _SHIFT)).round().long()
    rows = torch.arange(height, device=images.device) + (down + margins[0])[:, None]
    columns = torch.arange(width, device=images.device) + (right + margins[1])[:, None]
    for dim, margin in zip((2, 3), margins, strict=True):
        shape = [-1, -1, -1, -1]
        shape[dim] = margin
        first, last = images.narrow(dim, 0, 1), images.narrow(dim, images.shape[dim] - 1, 1)
        images = torch.cat([first.expand(shape), images, last.expand(shape)], dim)
    places = rows[:, :, None] * images.shape[3] + columns[:, None, :]  # [N, H, W]
    places = places.view(count, 1, height * width).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view(count, channels, height, width)


def _cut_out(images: Tensor, values: Tensor, fires: Tensor) -> Tensor:
    """Make a box of half the side grey, or transparent where there is alpha."""
    _, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device).view(1, 1, height, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, width)
    inside = ((rows - values[0] * height).abs() < _BOX / 2 * height) & (
        (columns - values[1] * width).abs() < _BOX / 2 * width
    )
    box = inside.to(images.dtype) * fires
    images = images * (1 - box)
    return images - box if channels == _RGBA else images
