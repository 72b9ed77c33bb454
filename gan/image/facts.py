"""One row of facts about every image: the table that the data contract is held against.

Every image is decoded once, in parallel. A bad one is set aside with a reason code, never deleted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from gan.image.decode import Rejected, decode, flatten, premultiply
from gan.image.shards import Place, Shards, places, read_index, read_table, write_table
from gan.image.workers import chunk_bounds, default_workers, map_chunks

FACTS = "facts.parquet"
VERDICT = "verdict.json"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mode", pa.string()),
        ("format", pa.string()),
        ("luminance", pa.float32()),
        ("contrast", pa.float32()),
        ("pixels_sha256", pa.string()),
        ("duplicate_of", pa.string()),
        ("reason", pa.string()),
        ("notes", pa.string()),
    ]
)
# What an image can be set aside for, in words that follow "N images: ".
REASONS = {
    "ACTIVE_CONTENT": "an SVG, which can hold scripts",
    "ASPECT_RATIO": "over 20 times longer one way than the other",
    "BLANK": "one flat colour",
    "CORRUPT": "damaged inside",
    "DECOMPRESSION_BOMB": "announces more pixels than any image needs",
    "DUPLICATE_EXACT": "the same pixels as an earlier image",
    "EMPTY_FILE": "a file of zero bytes",
    "FILE_TOO_LARGE": "a file over 64 MiB",
    "METADATA_BOMB": "text inside that expands without end",
    "NON_FINITE": "holds values that are not finite",
    "NOT_AN_IMAGE": "no image inside",
    "TOO_MANY_FRAMES": "an animation of too many frames",
    "TOO_SMALL": "smaller than the contract allows",
    "TRUNCATED": "cut short",
    "UNSUPPORTED_FORMAT": "of a format that is not taken",
}
# These have limits of their own in the contract; every other reason counts as rejected.
DUPLICATE, BLANK = "DUPLICATE_EXACT", "BLANK"
UNLABELLED = "all"

_FLAT_STEPS = 1  # of 255: what JPEG makes of one flat colour
_LOW_CONTRAST = 0.01
_MAX_ASPECT = 20
_GREY_LEVELS = np.arange(256) / 255.0


class Facts(NamedTuple):
    """What one decoded image shows; the columns `width` to `notes` of the table."""

    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    luminance: float = 0.0
    contrast: float = 0.0
    pixels_sha256: str = ""
    duplicate_of: str = ""
    reason: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Look:
    """How images are looked at: backdrop of transparent ones, least side in px, channels.

    With 4 channels training sees alpha, so images that differ in it alone are different images.
    """

    background: str = "#ffffff"
    min_side_px: int = 8
    channels: int = 3


def class_name(label: str) -> str:
    """Return the class that an image of this label trains as; no label at all is class "all"."""
    return label or UNLABELLED


def collect(
    raw: Path,
    workers: int | None = None,
    background: str = "#ffffff",
    min_side_px: int = 8,
    channels: int = 3,
) -> pd.DataFrame:
    """Return the facts of every image of a raw folder, columns as `SCHEMA`, sorted by key.

    Args:
        raw: Shards and index.
        workers: Processes; None takes every processor.
        background: Colour behind transparent parts, for luminance and contrast; with 1 and 3
            channels also what blanks and duplicates are judged by, as training will see it.
        min_side_px: Images with a shorter side get the reason TOO_SMALL.
        channels: What training sees; with 4 blanks and duplicates are judged by RGBA.

    Raises:
        DamagedError: The shards are not what was ingested.
    """
    index = read_index(raw)
    where = places(index)
    chunks = [where[start:stop] for start, stop in chunk_bounds(index["bytes"].tolist())]
    look = partial(examine, raw, Look(background, min_side_px, channels))
    rows = [
        facts
        for part in map_chunks(look, chunks, workers or default_workers(), "looking at images")
        for facts in part
    ]
    frame = pd.concat(
        [
            index.drop(columns=["shard", "offset"]),
            pd.DataFrame.from_records(rows, columns=list(Facts._fields)),
        ],
        axis=1,
    )
    _mark_duplicates(frame)
    typed: pd.DataFrame = pa.Table.from_pandas(frame, SCHEMA, preserve_index=False).to_pandas()
    return typed


def write_facts(path: Path, frame: pd.DataFrame) -> None:
    """Write the table of facts as parquet."""
    write_table(path, pa.Table.from_pandas(frame, SCHEMA, preserve_index=False))


def read_facts(path: Path) -> pd.DataFrame:
    """Return a table of facts.

    Raises:
        DamagedError: It is missing or damaged.
    """
    return read_table(path, SCHEMA)


def examine(raw: Path, look: Look, chunk: Sequence[Place]) -> list[Facts]:
    """Return the facts of some images; runs in a worker process.

    Raises:
        DamagedError: A shard is not what was ingested.
    """
    with Shards(raw) as shards:
        return [_facts(shards.read(place), look) for place in chunk]


def _facts(payload: bytes, look: Look) -> Facts:
    """Decode one image and look at it."""
    try:
        decoded = decode(payload)
    except Rejected as rejected:
        return Facts(reason=rejected.reason)
    image = flatten(decoded.image, look.background)
    seen = premultiply(decoded.image) if look.channels == 4 else image
    levels = np.asarray(image.convert("L").histogram(), dtype=np.float64)
    levels /= levels.sum()
    luminance = float(levels @ _GREY_LEVELS)
    contrast = float(levels @ (_GREY_LEVELS - luminance) ** 2) ** 0.5
    shorter, longer = sorted(image.size)
    reason, notes = "", list(decoded.notes)
    if look.channels == 4:
        notes = ["ALPHA_KEPT" if note == "ALPHA_FLATTENED" else note for note in notes]
    if longer > _MAX_ASPECT * shorter:
        reason = "ASPECT_RATIO"
    elif shorter < look.min_side_px:
        reason = "TOO_SMALL"
    elif all(high - low <= _FLAT_STEPS for low, high in _extrema(seen.getextrema())):
        reason = BLANK
    elif contrast < _LOW_CONTRAST:
        notes.append("LOW_CONTRAST")
    title = f"{seen.width}x{seen.height} {seen.mode} "
    pixels = hashlib.sha256(title.encode() + seen.tobytes())
    return Facts(
        *image.size,
        decoded.mode,
        decoded.format,
        luminance,
        contrast,
        pixels.hexdigest(),
        reason=reason,
        notes=" ".join(notes),
    )


def _extrema(extrema: object) -> list[tuple[int, int]]:
    """Give Pillow's untyped answer for a colour image its type."""
    return [(int(low), int(high)) for low, high in extrema]  # type: ignore[attr-defined]


def _mark_duplicates(frame: pd.DataFrame) -> None:
    """Set aside, in key order, each sound image whose pixels were met before."""
    names = ("key", "label", "pixels_sha256", "duplicate_of", "reason", "notes")
    columns = {name: frame[name].tolist() for name in names}
    first: dict[str, int] = {}
    for row, pixels in enumerate(columns["pixels_sha256"]):
        if columns["reason"][row]:
            continue
        original = first.setdefault(pixels, row)
        if original == row:
            continue
        columns["duplicate_of"][row] = columns["key"][original]
        columns["reason"][row] = DUPLICATE
        if columns["label"][row] != columns["label"][original]:
            columns["notes"][row] = f"{columns['notes'][row]} LABEL_CONFLICT".strip()
    for name in ("duplicate_of", "reason", "notes"):
        frame[name] = columns[name]
