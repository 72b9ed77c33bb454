"""Arrays back to pictures: uint8 at the borders, float32 in [-1, 1] inside."""

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


def to_uint8(images: Tensor) -> npt.NDArray[np.uint8]:
    """Return images as uint8 [N, C, H, W]; values beyond [-1, 1] are clamped.

    Args:
        images: float [N, C, H, W], about [-1, 1], on any device.

    Raises:
        DivergedError: A value is not finite; it would become an arbitrary shade.
    """
    values = images.detach().to(torch.float32)
    if not bool(torch.isfinite(values).all()):
        raise DivergedError("an image holds values that are not finite. The weights diverged.")
    scaled = ((values.clamp(-1, 1) + 1) * _HALF_RANGE).round().to(torch.uint8)
    array: npt.NDArray[np.uint8] = scaled.cpu().numpy()
    return array


def from_uint8(images: Tensor) -> Tensor:
    """Return uint8 images of any shape as float32 in [-1, 1]; `to_uint8` undoes it exactly."""
    return images.to(torch.float32) / _HALF_RANGE - 1


def grid(
    images: npt.NDArray[np.uint8], columns: int, scale: int = 1, gap_px: int = 2
) -> Image.Image:
    """Return images side by side on white, row by row.

    Args:
        images: uint8 [N, C, H, W], C is 1 or 3, N is at least 1.
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
    large = images.repeat(scale, axis=2).repeat(scale, axis=3)
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


def png(
    image: npt.NDArray[np.uint8],
    size_px: int | None = None,
    upscale: str = "lanczos",
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Return one image as PNG; equal arguments give equal bytes on the same Pillow.

    Args:
        image: uint8 [C, H, W], C is 1 or 3, square when `size_px` is given.
        size_px: Side of the picture; None keeps the image's own.
        upscale: "lanczos" or "nearest".
        text: Keyword to text, each written as uncompressed iTXt (UTF-8), in this order.
    """
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy())
    if size_px is not None and picture.size != (size_px, size_px):
        picture = picture.resize((size_px, size_px), _FILTERS[upscale])
    chunks = PngImagePlugin.PngInfo()
    for keyword, value in (text or {}).items():
        chunks.add_itxt(keyword, value)
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=chunks)
    return file.getvalue()
