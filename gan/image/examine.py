"""Decode some images and look at each: what a worker process of the facts pass does."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from gan.image.decode import Decoded, Rejected, decode, flatten, premultiply
from gan.image.shards import Shards, places
from gan.image.statistics import (
    COLOUR_BYTES,
    TOGETHER_PX,
    Measures,
    measure,
    measure_large,
    pixels_digest,
)
from gan.image.time_limit import OutOfTimeError, TimeLimit

# The columns of the table of facts that are seen of an image, and what follows from them alone.
SEEN = [
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("mode", pa.string()),
    ("format", pa.string()),
    ("luminance", pa.float32()),
    ("contrast", pa.float32()),
    ("sharpness", pa.float32()),
    ("entropy", pa.float32()),
    ("alpha_share", pa.float32()),
    ("phash", pa.int64()),
    ("colour", pa.binary(COLOUR_BYTES)),
    ("pixels_digest", pa.string()),
]
FOLLOWS = [("reason", pa.string()), ("notes", pa.string())]
_DECODE_SECONDS = 30.0  # of one image; the largest lawful one takes two

_FLAT_STEPS = 1  # of 255: what JPEG makes of one flat colour
_FLAT_SPAN = 4  # grey levels; no image of one flat colour, alpha and all, spans more
_LOW_CONTRAST = 0.01
_MAX_ASPECT = 20
_BATCH_PX = 1 << 17  # measured at once: what fits into a processor's cache
_WAITING_PX = 1 << 19  # of images that wait for others of their size
PLACE = ["shard", "offset", "bytes", "sha256"]


@dataclass(frozen=True)
class Look:
    """How images are looked at: backdrop of transparent ones, least side in px, channels.

    With 4 channels training sees alpha, so images that differ in it alone are different images.
    """

    background: str = "#ffffff"
    min_side_px: int = 8
    channels: int = 3


class _Waiting(NamedTuple):
    """An image that waits to be measured: its RGB bytes, and those that training sees."""

    row: int
    notes: tuple[str, ...]
    pixels: bytes
    seen: bytes


def examine(raw: Path, look: Look, chunk: pd.DataFrame) -> pa.RecordBatch:
    """Return the columns that are seen of some images; runs in a worker process.

    Args:
        raw: Where the shards lie.
        look: How to look at them.
        chunk: The images' places, the columns `PLACE` of the index.

    Raises:
        DamagedError: A shard is not what was ingested.
    """
    sheet = _Sheet(len(chunk), look)
    with Shards(raw) as shards, TimeLimit(_DECODE_SECONDS) as limit:
        for row, place in enumerate(places(chunk)):
            payload = shards.read(place)
            limit.start()
            try:
                sheet.add(row, decode(payload))
            except Rejected as rejected:
                sheet.reason[row] = rejected.reason
            except OutOfTimeError:
                sheet.reason[row] = "TIMEOUT"
        limit.stop()
        return sheet.filled()


class _Sheet:
    """The columns of a chunk while they are filled; small images of one size are measured together.

    Attributes:
        reason: Reason codes by row; "" is a sound image.
    """

    def __init__(self, count: int, look: Look) -> None:
        self._look = look
        self.reason, self._notes = [""] * count, [""] * count
        self._mode, self._format, self._digest = [""] * count, [""] * count, [""] * count
        self._size = np.zeros((count, 2), np.int32)
        self._figures = np.zeros((count, 5), np.float32)
        self._phash = np.zeros(count, np.int64)
        self._colour = np.zeros((count, COLOUR_BYTES), np.uint8)
        self._waiting: defaultdict[tuple[int, int], list[_Waiting]] = defaultdict(list)
        self._waiting_px = 0

    def add(self, row: int, decoded: Decoded) -> None:
        """Take one image in."""
        image = flatten(decoded.image, self._look.background)
        seen = premultiply(decoded.image) if self._look.channels == 4 else image
        self._mode[row], self._format[row] = decoded.mode, decoded.format
        notes = decoded.notes
        if "ALPHA_FLATTENED" in notes:
            self._figures[row, 4] = _alpha_share(decoded.image)
            if self._look.channels == 4:
                notes = tuple("ALPHA_KEPT" if note == "ALPHA_FLATTENED" else note for note in notes)
        width, height = image.size
        if width * height > TOGETHER_PX:
            self._digest[row] = pixels_digest(seen)
            found = measure_large(image)
            shown = seen.tobytes() if found.span[0] <= _FLAT_SPAN else b""  # else not asked for
            self._fill([_Waiting(row, notes, b"", shown)], image.size, found)
            return
        pixels = image.tobytes()
        shown = pixels if seen is image else seen.tobytes()
        self._digest[row] = pixels_digest(seen, shown)
        self._waiting[image.size].append(_Waiting(row, notes, pixels, shown))
        self._waiting_px += width * height
        if self._waiting_px >= _WAITING_PX:
            self._measure_waiting()

    def filled(self) -> pa.RecordBatch:
        """Return the columns once all images are in."""
        self._measure_waiting()
        colour = [None, pa.py_buffer(self._colour)]
        columns = [
            *self._size.T,
            self._mode,
            self._format,
            *self._figures.T,
            self._phash,
            pa.Array.from_buffers(pa.binary(COLOUR_BYTES), len(self._colour), colour),
            self._digest,
            self.reason,
            self._notes,
        ]
        schema = pa.schema([*SEEN, *FOLLOWS])
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, kind)
            for column, kind in zip(columns, schema.types, strict=True)
        ]
        return pa.record_batch(arrays, schema)

    def _measure_waiting(self) -> None:
        for size, items in self._waiting.items():
            count = max(_BATCH_PX // (size[0] * size[1]), 1)
            for start in range(0, len(items), count):
                batch = items[start : start + count]
                self._fill(batch, size, measure([item.pixels for item in batch], *size))
        self._waiting.clear()
        self._waiting_px = 0

    def _fill(self, items: list[_Waiting], size: tuple[int, int], found: Measures) -> None:
        """Fill in the figures of images of one size, and what follows from them."""
        rows = [item.row for item in items]
        self._size[rows] = size
        self._figures[rows, :4] = np.stack(found[:4], axis=1)
        self._phash[rows], self._colour[rows] = found.phash, found.colour
        shapeless = _misshapen(size, self._look.min_side_px)
        flat, faint = found.span <= _FLAT_SPAN, found.contrast < _LOW_CONTRAST
        for item, is_flat, is_faint in zip(items, flat.tolist(), faint.tolist(), strict=True):
            blank = "BLANK" if is_flat and _is_blank(item.seen, size) else ""
            reason, notes = shapeless or blank, item.notes
            if is_faint and not reason:
                notes = (*notes, "LOW_CONTRAST")
            self.reason[item.row], self._notes[item.row] = reason, " ".join(notes)


def _misshapen(size: tuple[int, int], min_side_px: int) -> str:
    """Return why no image of a size in px is taken, or ``""``."""
    shorter, longer = sorted(size)
    if longer > _MAX_ASPECT * shorter:
        return "ASPECT_RATIO"
    return "TOO_SMALL" if shorter < min_side_px else ""


def _is_blank(seen: bytes, size: tuple[int, int]) -> bool:
    """Return whether no channel of an image's bytes varies by more than JPEG makes it vary."""
    channels = np.frombuffer(seen, np.uint8).reshape(size[0] * size[1], -1)
    return bool(np.ptp(channels, axis=0).max() <= _FLAT_STEPS)


def _alpha_share(image: Image.Image) -> float:
    """Return the share of the pixels that are not opaque."""
    counts = image.getchannel("A").histogram()
    return 1 - counts[255] / sum(counts)
