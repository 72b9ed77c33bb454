"""What in a picture may be the watermark, and what its waves say there.

A picture is reduced to its fast changes, each place damped as much as it is restless. A wave of the
pattern is then one number of the Fourier transform; a cut turns the phases of all waves together,
another scale moves their frequencies.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from gan.marking.pattern import TILE_PX, Waves

_SLOW_REACH, _UNREST_REACH = 2, 4  # pixels, of the windows
_SLOW_PX, _UNREST_PX = (2 * _SLOW_REACH + 1) ** 2, (2 * _UNREST_REACH + 1) ** 2  # in a window
_CALM = 4.0  # levels: unrest below this damps little
_RINGS = 5

Picture = NDArray[np.uint8]
Light = NDArray[np.int16]  # [H, W], levels of 255
Heard = NDArray[np.float32]  # [H, W]
Sums = NDArray[np.complex64]  # [258]


def brightness(picture: Picture) -> Light:
    """Return the brightness of a picture [H, W, 3 or 4], int16 [H, W], levels of 255.

    What is transparent has the mean brightness of what is not.
    """
    image = Image.fromarray(picture)
    light = image.convert("L")
    if picture.shape[2] == 4:
        alpha = image.getchannel("A")
        levels = np.array(light.histogram(alpha))  # of what is not wholly transparent
        mean = round(float(levels @ np.arange(256)) / max(int(levels.sum()), 1))
        light = Image.composite(light, Image.new("L", light.size, mean), alpha)
    return np.asarray(light).astype(np.int16)


def listen(light: Light) -> Heard:
    """Return what may be the mark in the brightness of a picture."""
    # Twice a box is nearly a bell: no wave of the pattern falls where it changes its sign.
    once = around(light, _SLOW_REACH, np.add).astype(np.float32)
    fast = light - around(once, _SLOW_REACH, np.add) * np.float32(1 / _SLOW_PX**2)
    unrest = around(fast * fast, _UNREST_REACH, np.add) * np.float32(1 / _UNREST_PX)
    heard: Heard = fast / (unrest + np.float32(_CALM * _CALM))
    return heard


def around(values: NDArray[Any], reach: int, join: np.ufunc) -> NDArray[Any]:
    """Return, for each of some values [H, W], those of its window joined, at the edges mirrored.

    Args:
        values: Any numbers; the type stays, so that it must hold what they are joined to.
        reach: Of the window in each direction, 1, 2 or 4: it is joined by doubling.
        join: `np.add`, or one for which a value counts once however often it comes.
    """
    wide = np.pad(values, reach, "symmetric")
    for _ in range(2):  # down, then across
        joined, span = wide, 1
        while span < 2 * reach:
            joined = join(joined[:-span], joined[span:])
            span *= 2
        wide = join(joined[:-1], wide[2 * reach :]).T
    return wide


def fold(heard: Heard, of: Waves) -> Sums:
    """Return the sum of each wave over a picture of the size at which it was marked.

    All tiles are added up first: what is not the pattern's averages out.
    """
    line, folded = np.zeros((TILE_PX, heard.shape[1]), np.float32), np.zeros((TILE_PX, TILE_PX))
    for top in range(0, len(heard), TILE_PX):
        some = heard[top : top + TILE_PX]
        line[: len(some)] += some
    for left in range(0, line.shape[1], TILE_PX):
        part = line[:, left : left + TILE_PX]
        folded[:, : part.shape[1]] += part
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
