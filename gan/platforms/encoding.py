"""A picture -> the best file of a platform's format that stays within its limit.

Best ends where nobody sees a difference: quality 95, colour at full resolution where the format
can. From there it goes down step by step until the file fits.
"""

import io
from collections.abc import Callable, Iterator
from zlib import Z_RLE

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from gan.errors import GanmillError
from gan.platforms.catalog import Platform

_QUALITIES = (95, 92, 88, 84, 80, 75, 70, 60, 50, 40, 30, 20, 10)
_EXACT_ALPHA = 50  # a quality; below it alpha gets coarser as well, and more effort is made
_DROPPED_BITS = (0, 1, 2, 3, 4)  # of a PNG's colours: it has no other quality to lower
# A smooth picture with noise repeats nothing but runs: looking for no more takes a fifth of the
# time, and less space. Enlarged hard pixels repeat; without that they take half as much again.
# Efforts above 6 of 9 take three times as long for 1 %.
_PNG_WAYS: tuple[dict[str, int], ...] = ({"compress_type": Z_RLE}, {"compress_level": 6})
_TRIED = 16  # one of so many rows, and 8 at least
# Of 6. At 4 it takes twice as long for half a decibel; that is for what would hardly fit.
_WEBP_EFFORT, _WEBP_MORE_EFFORT = 2, 4
_XMP = "XML:com.adobe.xmp"

Picture = npt.NDArray[np.uint8]


def encode(picture: Picture, to: Platform, xmp: str, room_bytes: int) -> bytes:
    """Return a picture as a file; equal arguments give equal bytes on the same Pillow.

    Args:
        picture: uint8 [H, W, 3 or 4], straight alpha, of the platform's size.
        to: Format and limit.
        xmp: An XMP packet that goes into the file; "" for none.
        room_bytes: Bytes left free below the limit, for what is signed into the file later.

    Raises:
        GanmillError: Even the lowest quality does not fit.
    """
    most = None if to.max_bytes is None else to.max_bytes - room_bytes
    smallest = 0
    for payload in _WRITERS[to.format](picture, xmp):
        if most is None or len(payload) <= most:
            return payload
        smallest = len(payload)
    raise GanmillError(
        f"{to.name}: a picture of {to.width_px} x {to.height_px} px takes {smallest:,} bytes at "
        f"the lowest quality, but {most:,} are free below the limit of {to.max_bytes:,}. "
        "Leave the platform out of `assets.platforms`."
    )


def _png(picture: Picture, xmp: str) -> Iterator[bytes]:
    begin, rows = len(picture) // 2, max(len(picture) // _TRIED, 8)
    way = min(_PNG_WAYS, key=lambda way: len(_saved(picture[begin : begin + rows], "PNG", **way)))
    for bits in _DROPPED_BITS:
        coarse = picture.copy()
        coarse[..., :3] = picture[..., :3] >> bits << bits
        chunks = PngImagePlugin.PngInfo()
        if xmp:
            chunks.add_itxt(_XMP, xmp)
        yield _saved(coarse, "PNG", pnginfo=chunks, **way)


def _webp(picture: Picture, xmp: str) -> Iterator[bytes]:
    for quality in _QUALITIES:
        is_fine = quality >= _EXACT_ALPHA
        alpha, effort = (100, _WEBP_EFFORT) if is_fine else (quality, _WEBP_MORE_EFFORT)
        yield _saved(picture, "WEBP", quality=quality, alpha_quality=alpha, method=effort, xmp=xmp)


def _jpeg(picture: Picture, xmp: str) -> Iterator[bytes]:
    # Without `optimize`, which saves 4 %: Pillow then takes a buffer that noise overflows.
    for quality in _QUALITIES:
        yield _saved(picture, "JPEG", quality=quality, subsampling=0, xmp=xmp.encode())


_WRITERS: dict[str, Callable[[Picture, str], Iterator[bytes]]] = {
    "PNG": _png,
    "WEBP": _webp,
    "JPEG": _jpeg,
}


def _saved(picture: Picture, file_format: str, **how: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **how)
    return file.getvalue()
