"""What in a picture may be the watermark, and what its waves say there.

A picture is reduced to its fast changes, each place damped as much as it is restless. A wave of the
pattern is then one number of the Fourier transform; a cut turns the phases of all waves together,
another scale moves their frequencies.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from gan.marking.pattern import TILE_PX, Waves

_SLOW_PX, _UNREST_PX = 7, 9
_CALM = 4.0  # levels: unrest below this damps little
_RINGS = 5

Picture = NDArray[np.uint8]
Heard = NDArray[np.float32]  # [H, W]
Sums = NDArray[np.complex64]  # [258]


def brightness(picture: Picture) -> NDArray[np.float32]:
    """Return the brightness of a picture [H, W, 3 or 4], float32 [H, W], levels of 255.

    What is transparent has the mean brightness of what is not.
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    light = np.asarray(picture[..., :3].astype(np.float32) @ weights, np.float32)
    if picture.shape[2] == 4:
        seen = picture[..., 3].astype(np.float32) / 255
        mean = np.float32((light * seen).sum() / max(float(seen.sum()), 1.0))
        light = np.asarray(mean + (light - mean) * seen, np.float32)
    return light


def listen(picture: Picture) -> Heard:
    """Return what may be the mark in a picture [H, W, 3 or 4], straight alpha."""
    light = brightness(picture)
    # Twice a box is nearly a bell: no wave of the pattern falls where it changes its sign.
    slow = ndimage.uniform_filter(ndimage.uniform_filter(light, _SLOW_PX), _SLOW_PX)
    fast = light - slow
    unrest = ndimage.uniform_filter(fast * fast, _UNREST_PX)
    heard: Heard = fast / (unrest + _CALM * _CALM)
    if picture.shape[2] == 4:
        heard *= picture[..., 3].astype(np.float32) / 255
    return heard


def fold(heard: Heard, of: Waves) -> Sums:
    """Return the sum of each wave over a picture of the size at which it was marked.

    All tiles are added up first: what is not the pattern's averages out.
    """
    height, width = heard.shape
    down, across = -(-height // TILE_PX), -(-width // TILE_PX)
    padded = np.zeros((down * TILE_PX, across * TILE_PX), np.float32)
    padded[:height, :width] = heard
    folded = padded.reshape(down, TILE_PX, across, TILE_PX).sum(axis=(0, 2))
    sums: Sums = fft.rfft2(folded)[of.y, of.x].astype(np.complex64)
    return sums


def transform(heard: Heard, of: Waves, scale: float) -> Sums:
    """Return the sum of each wave, about the picture's middle, where it was resized since.

    Args:
        heard: What may be the mark.
        of: The waves of the key.
        scale: How large the picture is now, per size when it was marked.
    """
    height, width = heard.shape
    half = TILE_PX // 2
    across = _turns(np.arange(half + 1), np.arange(width) - width / 2, scale)
    down = _turns(np.arange(-half, half + 1), np.arange(height) - height / 2, scale)
    sums: Sums = (down @ (heard @ across.T))[of.y + half, of.x]
    return sums


def said(sums: Sums, of: Waves, offset: tuple[float, float]) -> NDArray[np.float32]:
    """Return what each wave says of its two bits, [258, 2]: the sign is the bit, the size sureness.

    A ring of like wavelengths that is loud all over is so because of the picture, and counts less.

    Args:
        sums: Of each wave, from `fold` or `transform`.
        of: The waves of the key.
        offset: Where a tile begins, x and y in pixels of the tile.
    """
    turned = sums * np.conj(of.phase) * _turns_of(of, offset)
    power = np.abs(sums) ** 2
    for ring in np.array_split(np.argsort(of.length, kind="stable"), _RINGS):
        turned[ring] /= np.mean(power[ring]) + np.float32(1e-20)
    return np.stack([turned.real, turned.imag], axis=1)


def _turns_of(of: Waves, offset: tuple[float, float]) -> NDArray[np.complex64]:
    """Return what undoes the turn of each wave's phase by a cut, [258]."""
    turns = np.exp(2j * np.pi / TILE_PX * (of.x * offset[0] + of.y * offset[1]))
    turned: NDArray[np.complex64] = turns.astype(np.complex64)
    return turned


def _turns(
    times: NDArray[np.int64], at_px: NDArray[np.float64], scale: float
) -> NDArray[np.complex64]:
    """Return the waves that go `times` through a tile, at the pixels of a line, [times, pixels]."""
    angles = np.outer(times, at_px) * (-2j * np.pi / (TILE_PX * scale))
    turns: NDArray[np.complex64] = np.exp(angles).astype(np.complex64)
    return turns
