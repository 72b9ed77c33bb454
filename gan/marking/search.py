"""Where in a picture the watermark lies: at which scale, and where its tile begins.

The waves that are always alike tell both: at the right scale and place they add up, elsewhere they
cancel. Only their phases count, so that no strong edge of the picture outvotes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gan.marking.listening import Heard, Sums, fold, said, transform
from gan.marking.pattern import FASTEST, TILE_PX, Waves, half_spectrum, waves

_SMALLEST, _LARGEST = 0.4, 2.5  # scales
_AT_MOST_PX = 2048  # of each side, for other scales than its own: from the middle
# On a page, a small marked picture is drowned by all around it: parts are searched by themselves.
_LARGE_PX, _PART_PX, _STRIDE_PX = 768, 512, 384
_FINER = 2  # steps in a pixel at which a tile may begin
_PEAKS, _SCALES = 2, 3  # that are tried
# Standard deviations of what chance gives. Of 4,000 places one passes by chance in a thousand
# pictures; a mark that can be read at all is at 7 or more.
_CLEAR, _CLEAR_NEARBY, _CLEAR_UNCUT = 5.0, 4.8, 3.0
_PORTION = 64

Offset = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """A place where the mark may begin.

    Attributes:
        scale: How large the picture is now, per size when it was marked.
        offset: Where a tile begins, x and y in pixels of the picture.
        bits: What it says there, float32 [258, 2]: sign and sureness.
    """

    scale: float
    offset: Offset
    bits: NDArray[np.float32]


def places(heard: Heard, key: bytes, *, thorough: bool) -> Iterator[Place]:
    """Yield places where the mark may begin, the likeliest first.

    Three at its own scale; six more, and six for each part of a large picture, when thorough.

    Args:
        heard: What may be the mark.
        key: Its key.
        thorough: Whether to look at other scales than its own, and in parts.
    """
    of = waves(key)
    sums = fold(heard, of)
    if _clearness(sums, of) > _CLEAR_UNCUT:
        yield Place(1.0, (0.0, 0.0), said(sums, of, (0.0, 0.0)))
    for offset in _clear_offsets(sums, of):
        yield Place(1.0, offset, said(sums, of, offset))
    if thorough:
        for top, left, side in _parts(*heard.shape):
            part = heard[top : top + side, left : left + side]
            middle = left + part.shape[1] / 2, top + part.shape[0] / 2
            yield from _places_at_other_scales(part, of, middle)


def _parts(height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Yield top, left and side of squares to search: all of it, then parts if it is large."""
    top, left = (max((side - _AT_MOST_PX) // 2, 0) for side in (height, width))
    yield top, left, _AT_MOST_PX
    if max(height, width) > _LARGE_PX:
        for down in range(top, min(height, top + _AT_MOST_PX), _STRIDE_PX):
            for across in range(left, min(width, left + _AT_MOST_PX), _STRIDE_PX):
                yield down, across, _PART_PX


def _places_at_other_scales(heard: Heard, of: Waves, middle: Offset) -> Iterator[Place]:
    """Yield places in a part of a picture whose middle lies there, x and y in pixels."""
    for coarse, step in _scales(heard, of):
        scale, sums = _refined(heard, of, coarse, step)
        for offset in _clear_offsets(sums, of):
            period = TILE_PX * scale
            begins = (
                (offset[0] * scale + middle[0]) % period,
                (offset[1] * scale + middle[1]) % period,
            )
            yield Place(scale, begins, said(sums, of, offset))


def _clear_offsets(sums: Sums, of: Waves) -> list[Offset]:
    return [offset for offset, clear in _peaks(sums[None], of)[0] if clear > _CLEAR]


def _phases(sums: Sums, of: Waves) -> NDArray[np.complex64]:
    """Return how far the waves that are always alike are turned, [..., 66], each of length 1."""
    known = of.alike
    both_bits = np.complex64((1 + 1j) / np.sqrt(2))
    turned = sums[..., -len(known.x) :] * np.conj(known.phase * both_bits)
    phases: NDArray[np.complex64] = turned / np.maximum(np.abs(turned), np.float32(1e-20))
    return phases


def _clearness(sums: Sums, of: Waves) -> float:
    """Return how far above chance the mark is heard at an offset of zero, standard deviations."""
    phases = _phases(sums, of).real
    return float(phases.sum() / np.sqrt(len(phases) / 2))


def _peaks(sums: Sums, of: Waves, finer: int = _FINER) -> list[list[tuple[Offset, float]]]:
    """Return, for each of some sums [N, 258], the offsets that are heard best, and how clearly.

    An offset is x and y in pixels of the tile, clearness is in standard deviations of chance.
    """
    side = finer * TILE_PX
    phases = _phases(sums, of)
    waves_there = half_spectrum(phases, of.alike, side)
    heard = fft.irfft2(waves_there, s=(side, side), norm="forward").reshape(len(sums), -1)
    best = np.argpartition(heard, -_PEAKS, axis=1)[:, -_PEAKS:]
    unit = np.sqrt(2 * phases.shape[1])  # each wave is there twice, with its twin
    return [
        [
            ((float(at % side) / finer, float(at // side) / finer), float(line[at] / unit))
            for at in sorted(some, key=lambda at: -line[at])
        ]
        for line, some in zip(heard, best, strict=True)
    ]


def _scales(heard: Heard, of: Waves) -> list[tuple[float, float]]:
    """Return the scales at which the mark is heard best, and the factor to the next one tried."""
    height, width = heard.shape
    # At the next scale the fastest wave is half a turn off at the edge, if it is right in the
    # middle.
    step = TILE_PX / (FASTEST * max(height, width))
    tried = np.exp(np.arange(np.log(_SMALLEST), np.log(_LARGEST), step))
    clear = np.concatenate(
        [
            [peaks[0][1] for peaks in _peaks(some, of, finer=1)]
            for some in _sums_at(heard, of, tried)
        ]
    )
    found: list[tuple[float, float]] = []
    while len(found) < _SCALES and clear.max() > _CLEAR_NEARBY:
        best = int(clear.argmax())
        found.append((float(tried[best]), step))
        clear[max(best - 2, 0) : best + 3] = -np.inf
    return found


def _sums_at(heard: Heard, of: Waves, tried: NDArray[np.float64]) -> Iterator[Sums]:
    """Yield the sums of each wave at some scales at a time, [64, 258], from one transform.

    They are about the picture's middle: that the nearest frequency is taken turns no phase.
    """
    shape = [fft.next_fast_len(2 * side, real=True) for side in heard.shape]
    spectrum = fft.rfft2(heard, s=shape)
    for start in range(0, len(tried), _PORTION):
        period = TILE_PX * tried[start : start + _PORTION, None]
        down, across = (
            np.rint(times / period * side).astype(np.int64)
            for times, side in zip((of.y, of.x), shape, strict=True)
        )
        is_there = (np.abs(down) < shape[0] // 2) & (across < shape[1] // 2)
        down, across = down * is_there, across * is_there
        middle = down / shape[0] * (heard.shape[0] / 2) + across / shape[1] * (heard.shape[1] / 2)
        sums: Sums = spectrum[down, across] * np.exp(2j * np.pi * middle) * is_there
        yield sums


def _refined(heard: Heard, of: Waves, coarse: float, step: float) -> tuple[float, Sums]:
    """Return the scale near a coarse one at which the mark is heard loudest, and the sums there.

    Phases are right all around the right scale; loudness fades away from it.
    """
    nearby = [coarse * float(np.exp(share * step)) for share in (-0.6, -0.3, 0, 0.3, 0.6)]
    sums = [transform(heard, of, scale) for scale in nearby]
    loudest = max(range(len(sums)), key=lambda at: np.abs(sums[at][-len(of.alike.x) :]).sum())
    return nearby[loudest], sums[loudest]
