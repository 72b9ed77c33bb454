"""The watermark that nobody sees: an asset's id in the picture itself, read without the original.

`embed` adds a faint keyed pattern to the brightness, stronger where the picture is busy, and only
where it is opaque; then it listens to the result as a reader would, and gives more to the waves
that the picture drowns. `read` adds up all tiles of the picture, finds where they begin, and mends
what was lost. Nothing is learnt and nothing fetched: numbers and a key.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.marking.listening import Light, around, brightness, fold, listen, said
from gan.marking.pattern import signs, tile, waves
from gan.marking.payload import CODED_BITS, decode, encode
from gan.marking.search import places

PUBLIC_KEY = b"ganmill"  # anybody may read the mark; who keeps a key of their own is alone to
_LEAST_PSNR_DB = 38.5
# Levels of 255, root mean square: where a picture of 512 px is calm, there at least, per contrast.
_CALM, _LEAST_CALM, _PER_CONTRAST, _MOST = 1.4, 1.2, 0.06, 6.0
_ON_WHITE, _NEAR_WHITE = 0.7, 4  # more of it; levels from white or black
_AT_MOST_PX = 4096  # of a larger picture its upper left part is read: memory has an end
_MOST_EXTRA = 1.5  # of a wave, per its share

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """A watermark that was found.

    Attributes:
        asset: The id that it carries; a wrong one passes its checksum once in 2^32 tries.
        confidence: Share of its coded bits that were heard as the id says, 0..1.
        scale: How large the picture is now, per size when it was marked.
        offset: Where in it a tile begins, x and y in pixels: what was cut away.
    """

    asset: str
    confidence: float
    scale: float
    offset: tuple[float, float]


def embed(picture: Picture, asset: str, key: bytes = PUBLIC_KEY) -> Picture:
    """Return the picture with an asset's id in it, at 38.5 dB or more where anything is seen.

    Args:
        picture: uint8 [H, W, 3 or 4], straight alpha; from 128 px.
        asset: 16 hex digits.
        key: Whoever knows it can read the mark, forge it and remove it.

    Raises:
        UsageError: The id is not 16 hex digits.
    """
    of = waves(key)
    bits = signs(encode(asset, key), of)
    light = brightness(picture)
    strength = _strength(picture, light)
    tried = (light + _levels(tile(bits, of), strength)).clip(0, 255)
    heard = bits * said(fold(listen(tried), of), of, (0.0, 0.0))
    level = max(float(heard.mean()), 1e-6)
    extra = np.clip(1 - heard / level, 0, _MOST_EXTRA)
    added = _levels(tile(bits * (1 + extra), of), strength)
    marked = picture.copy()
    for colour in range(3):
        marked[..., colour] = (picture[..., colour] + added).clip(0, 255)
    return marked


def read(picture: Picture, key: bytes = PUBLIC_KEY, *, thorough: bool = False) -> Reading | None:
    """Return the watermark of a picture, or None.

    Args:
        picture: uint8 [H, W, 3 or 4], straight alpha.
        key: What it was marked with.
        thorough: Whether to look at other scales than its own too, 0.4 to 2.5, and in parts of a
            large picture, as a page on which the marked one is shown; five times as long, and
            a second or two where a large one has no mark.
    """
    heard = listen(brightness(picture[:_AT_MOST_PX, :_AT_MOST_PX]))
    for place in places(heard, key, thorough=thorough):
        soft = place.bits.ravel()[:CODED_BITS]
        asset = decode(soft, key)
        if asset is not None:
            return Reading(asset, _agreed(soft, asset, key), place.scale, place.offset)
    return None


def bits_right(picture: Picture, asset: str, key: bytes = PUBLIC_KEY) -> float:
    """Return the share of coded bits that are heard right, 0..1: 0.8 suffices, 0.5 is chance.

    The picture is as large as when it was marked, and nothing is cut from its left and top.

    Raises:
        UsageError: The id is not 16 hex digits.
    """
    of = waves(key)
    soft = said(fold(listen(brightness(picture)), of), of, (0.0, 0.0)).ravel()[:CODED_BITS]
    return _agreed(soft, asset, key)


def _agreed(soft: NDArray[np.float32], asset: str, key: bytes) -> float:
    return float(np.mean((soft > 0) == (encode(asset, key) > 0)))


def _levels(pattern: NDArray[np.float32], strength: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return what the pattern adds at each pixel, the same to every colour, int16 [H, W]."""
    height, width = strength.shape
    side = len(pattern)
    over = np.tile(pattern, (-(-height // side), -(-width // side)))[:height, :width]
    levels: NDArray[np.int16] = np.rint(over * strength).astype(np.int16)
    return levels


def _strength(picture: Picture, light: Light) -> NDArray[np.float32]:
    """Return how strong the mark is at each pixel, levels, float32 [H, W]; 0 where none is seen."""
    some = light[::2, ::2].astype(np.float32)  # enough to tell calm from busy
    mean = around(some, 1, np.add) / 9
    square = around(some * some, 1, np.add) / 9
    contrast = np.sqrt(np.maximum(square - mean * mean, 0))
    # On the calm side of an edge the mark stays faint: of the windows that hold a pixel, the
    # calmest counts.
    calmest = around(contrast, 1, np.minimum)
    height, width = light.shape
    # A small picture has fewer pixels to say the same in, and is looked at from as far away.
    calm = max(_CALM * (512 * 512 / (height * width)) ** 0.2, _LEAST_CALM)
    busy = np.minimum(calm + _PER_CONTRAST * calmest, np.float32(_MOST))
    # White cannot become whiter, nor black blacker: half of the mark is lost, the rest is louder.
    lacking = np.maximum(_NEAR_WHITE - np.minimum(light, 255 - light), 0)
    louder = 1 + np.float32(_ON_WHITE / _NEAR_WHITE) * lacking.astype(np.float32)
    strength: NDArray[np.float32] = _twice_as_large(busy, light.shape) * louder
    seen_px = light.size
    if picture.shape[2] == 4:
        is_seen = picture[..., 3] > 0
        strength *= is_seen
        seen_px = int(np.count_nonzero(is_seen))
    loudness = np.sqrt(float(np.sum(strength * strength)) / max(seen_px, 1))
    at_most = 255 / 10 ** (_LEAST_PSNR_DB / 20)
    return strength * np.float32(min(at_most / max(loudness, 1e-6), 1.0))


def _twice_as_large(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return what was found for every second pixel for each one, of a picture's shape."""
    large = np.empty((2 * values.shape[0], 2 * values.shape[1]), values.dtype)
    for down in (0, 1):
        for across in (0, 1):
            large[down::2, across::2] = values
    return large[: shape[0], : shape[1]]
