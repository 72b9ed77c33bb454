"""Arrays back to pictures: uint8 at the borders, float32 in [-1, 1] inside.

RGBA is premultiplied everywhere inside. A PNG file says colours as they are, so they are divided by
their alpha on the way out; a picture of many images shows alpha over a light checkerboard.
"""

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from gan.errors import DivergedError, UsageError

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
_HALF_RANGE = 127.5
_RGBA = 4
_SQUARE_PX, _LIGHT, _SHADE = 8, 255, 232  # of the checkerboard

Images = npt.NDArray[np.uint8]


def to_uint8(images: Tensor) -> Images:
    """Return images as uint8 [N, C, H, W]; values beyond [-1, 1] are clamped.

    Of RGBA a colour is at most its alpha: more of it no picture can show.

    Args:
        images: float [N, C, H, W], about [-1, 1], on any device.

    Raises:
        DivergedError: A value is not finite; it would become an arbitrary shade.
    """
    values = images.detach().to(torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise DivergedError("an image holds values that are not finite. The weights diverged.")
    scaled = ((values.clamp(-1, 1) + 1) * _HALF_RANGE).round().to(torch.uint8)
    if scaled.shape[1] == _RGBA:
        scaled = torch.minimum(scaled, scaled[:, 3:])
    array: Images = scaled.cpu().numpy()
    return array


def from_uint8(images: Tensor) -> Tensor:
    """Return uint8 images of any shape as float32 in [-1, 1]; `to_uint8` undoes it exactly."""
    return images.to(torch.float32) / _HALF_RANGE - 1


def grid(images: Images, columns: int, scale: int = 1, gap_px: int = 2) -> Image.Image:
    """Return images side by side on white, row by row, alpha over a light checkerboard.

    Args:
        images: uint8 [N, C, H, W], C is 1, 3 or 4 (premultiplied), N is at least 1.
        columns: Images in a row.
        scale: Whole-number enlargement, pixels kept hard.
        gap_px: White between images and around them.

    Raises:
        UsageError: There is no image, or a count is not positive.
    """
    if len(images) == 0 or columns < 1 or scale < 1 or gap_px < 0:
        raise UsageError(
            f"a grid of {len(images)} images in {columns} columns at scale {scale} is not possible."
        )
    large = enlarge(images, scale)
    _, channels, height, width = large.shape
    rows = -(-len(large) // columns)
    canvas = np.full(
        (rows * (height + gap_px) + gap_px, columns * (width + gap_px) + gap_px, channels),
        255,
        dtype=np.uint8,
    )
    for number, image in enumerate(large):
        top = (number // columns) * (height + gap_px) + gap_px
        left = (number % columns) * (width + gap_px) + gap_px
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def enlarge(images: Images, scale: int) -> Images:
    """Return images as a person looks at them: hard pixels, alpha over the checkerboard.

    Args:
        images: uint8 [N, C, H, W], C is 1, 3 or 4 (premultiplied).
        scale: Whole-number enlargement.

    Returns:
        uint8 [N, 1 or 3, scale x H, scale x W].
    """
    large = images.repeat(scale, axis=2).repeat(scale, axis=3)
    if images.shape[1] != _RGBA:
        return large
    board = checkerboard(*large.shape[2:]).astype(np.uint16)
    behind = ((255 - large[:, 3:].astype(np.uint16)) * board + 127) // 255
    return (large[:, :3] + behind).clip(0, 255).astype(np.uint8)


def checkerboard(height: int, width: int) -> Images:
    """Return what is shown behind transparent parts, uint8 [H, W], squares of 8 px."""
    rows, columns = np.arange(height) // _SQUARE_PX, np.arange(width) // _SQUARE_PX
    light = (rows[:, None] + columns) % 2 == 0
    return np.where(light, _LIGHT, _SHADE).astype(np.uint8)


def png(
    image: Images,
    size_px: int | None = None,
    upscale: str = "lanczos",
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Return one image as PNG; equal arguments give equal bytes on the same Pillow.

    Args:
        image: uint8 [C, H, W], C is 1, 3 or 4, square when `size_px` is given. Four channels are
            premultiplied; the file is RGBA as PNG has it, colour 0 where alpha is 0.
        size_px: Side of the picture; None keeps the image's own.
        upscale: "lanczos" or "nearest".
        text: Keyword to text, each written as uncompressed iTXt (UTF-8), in this order.
    """
    planes = [Image.fromarray(plane) for plane in image]
    if size_px is not None and planes[0].size != (size_px, size_px):
        planes = [plane.resize((size_px, size_px), _FILTERS[upscale]) for plane in planes]
    if len(planes) == _RGBA:
        divided = _divided(np.stack([np.asarray(plane) for plane in planes]))
        planes = [Image.fromarray(plane) for plane in divided]
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    picture = Image.merge(modes[len(planes)], planes)
    chunks = PngImagePlugin.PngInfo()
    for keyword, value in (text or {}).items():
        chunks.add_itxt(keyword, value)
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def _divided(image: Images) -> Images:
    """Return a premultiplied image [4, H, W] with each colour divided by its alpha, rounded."""
    alpha = image[3].astype(np.uint32)
    colours = (image[:3] * np.uint32(255) + alpha // 2) // np.maximum(alpha, 1)
    colours = np.where(alpha > 0, colours, 0).clip(0, 255)
    return np.concatenate([colours.astype(np.uint8), image[3:]])
