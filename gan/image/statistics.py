"""What a picture looks like in figures, and what tells its pixels from any other's.

Grey is Pillow's (ITU-R 601-2 luma). Small images of one size are measured together, since a call
costs more than their pixels do. A large one is decoded faster than it is measured, so it is
measured on a sample: 32 evenly spread bands of whole lines at its own scale. Brightness is counted
on whole lines too, about 2,048 px of a small image and one line of each band of a large one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

TOGETHER_PX = 8192  # images of up to so many pixels are measured together
COLOUR_BYTES = 48  # 4 x 4 cells, RGB
_HASH_SIDE, _HASH_WAVES = 32, 8
# Waves are told apart from none by this amplitude, in grey levels of the orthonormal transform: the
# noise of a JPEG stays below, so the many waves that a symmetric drawing lacks give the same bits.
_HASH_STEP = 4.0
_CELLS = 4
_BAND_LINES = 3  # the least that has a line with both neighbours
_SAMPLE_PX = 1 << 15
_DIGEST_DIGITS = 32  # 128 bits: no two of 10^12 pictures meet by chance
_PIECE_PX = 1 << 20  # Pillow keeps up to four times as many in one piece of memory
_COUNTED_PX = 2048  # of a small image, in whole lines; enough for a histogram
_LANES = 16384
_SPREAD, _FOLD, _COLOUR = np.uint32(2654435761), 15, np.uint32(0xFFFFFF)
# 65536 times Pillow's luma weights: sums stay below 2^24, so float32 holds them exactly.
_LUMA = np.array([19595, 38470, 7471], np.float32)
_HALF, _ONE = np.float32(32768), np.float32(65536)
_POWERS = np.stack([np.arange(256.0), np.arange(256.0) ** 2], axis=1)

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Measures(NamedTuple):
    """What n images show.

    Attributes:
        luminance: float64 [n], mean grey, 0 to 1.
        contrast: float64 [n], standard deviation of grey, 0 to 0.5.
        sharpness: float64 [n], variance of the 4-neighbour Laplacian of grey in 0 to 1, where all
            neighbours are seen; 0 for images of fewer than 3 px on a side.
        entropy: float64 [n], of the 256-bin histogram of grey, in bits, 0 to 8.
        span: int64 [n], lightest minus darkest grey level, 0 to 255.
        phash: int64 [n], the perceptual hash as two's complement: of 32 x 32 area means of grey the
            lowest 8 x 8 waves of the cosine transform, each above their median or not, row-major,
            the first as the highest bit. See C. Zauner, *Implementation and Benchmarking of
            Perceptual Image Hash Functions*, 2010.
        colour: uint8 [n, 48], area means of 4 x 4 cells, RGB, row-major.
    """

    luminance: npt.NDArray[np.float64]
    contrast: npt.NDArray[np.float64]
    sharpness: npt.NDArray[np.float64]
    entropy: npt.NDArray[np.float64]
    span: npt.NDArray[np.int64]
    phash: npt.NDArray[np.int64]
    colour: npt.NDArray[np.uint8]


def measure(pixels: Sequence[bytes], width: int, height: int) -> Measures:
    """Measure small RGB images of one size in px, given by their bytes as `tobytes` gives them."""
    flat = np.frombuffer(b"".join(pixels), np.uint8).astype(np.float32)
    grey = _grey(flat.reshape(-1, 3)).reshape(-1, height, width)
    rows = _areas(height, _CELLS) @ flat.reshape(-1, height, width * 3)
    cells = _areas(width, _CELLS) @ rows.reshape(-1, _CELLS, width, 3)
    waves = _waves(height) @ (grey.astype(np.float32) @ _waves(width).T)
    step = max(width * height // _COUNTED_PX, 1)
    return _combined(_histograms(grey[:, step // 2 :: step]), _slopes(grey), waves, cells)


def measure_large(image: Image.Image) -> Measures:
    """Measure one RGB image of more than `TOGETHER_PX` pixels."""
    width, height = image.size
    lines, across = max(width, height), min(width, height)
    cell = lines / _HASH_SIDE
    thick = max(min(_SAMPLE_PX // (_HASH_SIDE * across), int(cell)), _BAND_LINES)
    middles = (np.arange(_HASH_SIDE) + 0.5) * cell
    starts = np.clip(np.rint(middles - thick / 2).astype(int), 0, lines - thick).tolist()
    bands = _bands(image, starts, thick)
    flat, grey = bands.astype(np.float32), _grey_of_words(bands.view(np.uint32)[..., 0])
    means = grey.mean(axis=1, dtype=np.float32)
    waves = _waves(_HASH_SIDE) @ (means @ _waves(across).T)
    cells = _areas(across, _CELLS) @ flat.reshape(_CELLS, -1, across, 4).mean(axis=1)[..., :3]
    if height < width:
        waves, cells = waves.T, cells.transpose(1, 0, 2)
    each = _slopes(grey)
    slopes = _Slopes(
        each.pixels * len(grey), each.total.sum(keepdims=True), each.squares.sum(keepdims=True)
    )
    middle = np.ascontiguousarray(grey[None, :, thick // 2])
    return _combined(_histograms(middle), slopes, waves[None], cells[None])


def pixels_digest(image: Image.Image, pixels: bytes | None = None) -> str:
    """Return what is equal for images of mode RGB or RGBa of equal pixels, and for no others.

    128 bits of the SHA-256 of size, mode and pixels. The pixels of a large image are mixed first,
    pixel n into lane n modulo 16384 (multiply, add, fold, on 32 bits), since SHA-256 of them all
    would cost as much as decoding does. That tells apart what differs by chance; it is no seal.

    Args:
        image: A picture.
        pixels: What its `tobytes` gives, where that is at hand.
    """
    width, height = image.size
    digest = hashlib.sha256(f"{width}x{height} {image.mode} ".encode())
    if width * height > TOGETHER_PX:
        digest.update(_mixed(image))
    else:
        digest.update(image.tobytes() if pixels is None else pixels)
    return digest.hexdigest()[:_DIGEST_DIGITS]


def _mixed(image: Image.Image) -> bytes:
    """Mix the pixels of a large image of 3 or 4 channels into 64 KiB."""
    lanes, spare = np.zeros(_LANES, np.uint32), np.zeros(_LANES, np.uint32)
    mask = _COLOUR if image.mode == "RGB" else ~np.uint32(0)  # the fourth byte is not ours
    for piece in _pieces(image):
        words = piece.reshape(-1).view(np.uint32)
        for start in range(0, len(words), _LANES):
            some = words[start : start + _LANES]
            lane, free = lanes[: len(some)], spare[: len(some)]
            lane *= _SPREAD
            lane += np.bitwise_and(some, mask, out=free)
            lane ^= np.right_shift(lane, _FOLD, out=free)
    return lanes.tobytes()


def _bands(image: Image.Image, starts: Sequence[int], thick: int) -> npt.NDArray[np.uint8]:
    """Return bands of lines along the longer side as [bands, thick, across, 4], RGB first."""
    width, height = image.size
    if width * height <= _PIECE_PX:
        lines = (np.asarray(starts)[:, None] + np.arange(thick)).ravel()
        whole = _in_memory(image)
        bands = whole[lines] if height >= width else whole[:, lines].transpose(1, 0, 2)
    elif height >= width:
        bands = np.stack([_in_memory(image.crop((0, n, width, n + thick))) for n in starts])
    else:
        columns = [_in_memory(image.crop((n, 0, n + thick, height))) for n in starts]
        bands = np.stack([column.transpose(1, 0, 2) for column in columns])
    return np.ascontiguousarray(bands).reshape(len(starts), thick, -1, 4)


def _pieces(image: Image.Image) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield an image of 3 or 4 channels from top to bottom, as `_in_memory` does."""
    width, height = image.size
    if width * height <= _PIECE_PX:
        yield _in_memory(image)
        return
    rows = max(_PIECE_PX // width, 1)
    for top in range(0, height, rows):
        yield _in_memory(image.crop((0, top, width, min(top + rows, height))))


def _in_memory(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return [H, W, 4], the very memory that holds an image; without alpha the last is padding."""
    array = pa.array(image)
    values = np.frombuffer(array.values.buffers()[1], np.uint8)
    return values.reshape(image.height, image.width, 4)


class _Slopes(NamedTuple):
    """Sums over the Laplacian of n images: pixels in each, their values, the values squared."""

    pixels: int
    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]


def _grey(colours: Floats) -> Grey:
    """Return the luma of RGB values 0 to 255, [n, 3] to [n], rounded as Pillow does."""
    luma = colours @ _LUMA
    luma += _HALF
    luma /= _ONE
    return luma.astype(np.uint8)


def _grey_of_words(words: npt.NDArray[np.uint32]) -> Grey:
    """Return the same of pixels of four bytes each, red the lowest; faster where these lie so."""
    red, green, blue = (np.uint32(weight) for weight in _LUMA)
    luma = (words & 255) * red
    luma += (words >> 8 & 255) * green
    luma += (words >> 16 & 255) * blue
    luma += np.uint32(32768)
    return (luma >> 16).astype(np.uint8)


def _combined(
    counts: npt.NDArray[np.int64], slopes: _Slopes, waves: Floats, cells: Floats
) -> Measures:
    """Return the measures of n images.

    Args:
        counts: [n, 256], histograms of grey.
        slopes: Of the n images.
        waves: [n, 8, 8], their lowest waves.
        cells: [n, 4, 4, 3], their mean colours.
    """
    exact = counts.astype(np.float64)
    pixels = exact[0].sum()
    total, squares = (exact @ _POWERS).T  # whole numbers, so no digit is lost in any order
    variance = np.maximum(pixels * squares - total**2, 0) / pixels**2
    surprise = (exact * np.log2(np.maximum(exact, 1))).sum(axis=1) / pixels
    lit = counts > 0
    darkest, lightest = lit.argmax(axis=1), 255 - lit[:, ::-1].argmax(axis=1)
    slope = slopes.squares / slopes.pixels - (slopes.total / slopes.pixels) ** 2
    return Measures(
        luminance=total / pixels / 255,
        contrast=np.sqrt(variance) / 255,
        sharpness=np.maximum(slope, 0) / 255**2,
        entropy=np.maximum(np.log2(pixels) - surprise, 0),
        span=lightest - darkest,
        phash=_hashes(waves),
        colour=np.rint(cells).astype(np.uint8).reshape(len(counts), COLOUR_BYTES),
    )


def _histograms(grey: Grey) -> npt.NDArray[np.int64]:
    """Return the 256-bin histograms of grey [n, H, W] as [n, 256]."""
    count = len(grey)
    bins = grey.reshape(count, -1).astype(np.intp)
    bins += 256 * np.arange(count)[:, None]
    return np.bincount(bins.ravel(), minlength=256 * count).reshape(count, 256)


def _slopes(grey: Grey) -> _Slopes:
    """Return the sums over the Laplacian of grey [n, H, W]."""
    count, height, width = grey.shape
    if min(height, width) < 3:
        return _Slopes(1, np.zeros(count), np.zeros(count))
    level = grey.astype(np.int16)
    slope = level[:, 1:-1, 1:-1] << 2
    slope -= level[:, :-2, 1:-1]
    slope -= level[:, 2:, 1:-1]
    slope -= level[:, 1:-1, :-2]
    slope -= level[:, 1:-1, 2:]
    flat = slope.reshape(count, -1).astype(np.float32)
    squares = np.einsum("ij,ij->i", flat, flat)
    return _Slopes(flat.shape[1], flat.sum(axis=1).astype(np.float64), squares.astype(np.float64))


def _hashes(waves: Floats) -> npt.NDArray[np.int64]:
    """Return the perceptual hashes of waves [n, 8, 8] as [n]."""
    steps = np.rint(waves.reshape(len(waves), -1) / _HASH_STEP)
    half = steps.shape[1] // 2 - 1
    middle = np.partition(steps, half, axis=1)[:, half, None]
    return np.packbits(steps > middle, axis=1).view(">i8").astype(np.int64)[:, 0]


@lru_cache(maxsize=256)
def _waves(side: int) -> Floats:
    """Return [8, side]: area means of 32 cells, then the lowest waves of the cosine transform."""
    place = (np.arange(_HASH_SIDE) + 0.5) / _HASH_SIDE
    waves = np.cos(np.pi * np.arange(_HASH_WAVES)[:, None] * place) * (2 / _HASH_SIDE) ** 0.5
    waves[0] /= 2**0.5
    waves_of_side: Floats = (waves @ _areas(side, _HASH_SIDE)).astype(np.float32)
    return waves_of_side


@lru_cache(maxsize=256)
def _areas(side: int, cells: int) -> Floats:
    """Return [cells, side]: how much each pixel of a side counts in each cell's mean."""
    edges = np.arange(cells + 1) * side / cells
    start, stop = edges[:-1, None], edges[1:, None]
    pixel = np.arange(side)
    shared = np.minimum(stop, pixel + 1) - np.maximum(start, pixel)
    areas: Floats = (np.maximum(shared, 0) * cells / side).astype(np.float32)
    return areas
