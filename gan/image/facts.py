"""One row of facts about every image: the table that the data contract is held against.

Every image is decoded once, in parallel. A bad one is set aside with a reason code, never deleted.
"""

from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from gan.image.examine import FOLLOWS, PLACE, SEEN, Look, examine
from gan.image.shards import read_index, read_table, write_table
from gan.image.workers import chunk_bounds, default_workers, map_chunks

FACTS = "facts.parquet"
VERDICT = "verdict.json"
_INDEXED = [
    ("key", pa.string()),
    ("label", pa.string()),
    ("sha256", pa.string()),
    ("bytes", pa.int64()),
    ("source", pa.string()),
    ("licence", pa.string()),
    ("group", pa.string()),
    ("conditions", pa.string()),
]
_MARKED = [("duplicate_of", pa.string()), ("cluster", pa.string())]
SCHEMA = pa.schema([*_INDEXED, *SEEN, *_MARKED, *FOLLOWS])
# What an image can be set aside for, in words that follow "N images: ".
REASONS = {
    "ACTIVE_CONTENT": "an SVG, which can hold scripts",
    "ASPECT_RATIO": "over 20 times longer one way than the other",
    "BLANK": "one flat colour",
    "CORRUPT": "damaged inside",
    "DECOMPRESSION_BOMB": "announces more pixels than any image needs",
    "DUPLICATE_EXACT": "the same pixels as an earlier image",
    "DUPLICATE_NEAR": "much like a larger or earlier image",
    "EMPTY_FILE": "a file of zero bytes",
    "FILE_TOO_LARGE": "a file over 64 MiB",
    "METADATA_BOMB": "text inside that expands without end",
    "NON_FINITE": "holds values that are not finite",
    "NOT_AN_IMAGE": "no image inside",
    "TIMEOUT": "took too long to decode",
    "TOO_MANY_FRAMES": "an animation of too many frames",
    "TOO_SMALL": "smaller than the contract allows",
    "TRUNCATED": "cut short",
    "UNSUPPORTED_FORMAT": "of a format that is not taken",
}
# These have limits of their own in the contract; every other reason counts as rejected.
DUPLICATE, BLANK = "DUPLICATE_EXACT", "BLANK"
UNLABELLED = "all"


def class_name(label: str) -> str:
    """Return the class that an image of this label trains as; no label at all is class "all"."""
    return label or UNLABELLED


def collect(
    raw: Path,
    workers: int | None = None,
    background: str = "#ffffff",
    min_side_px: int = 8,
    channels: int = 3,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Return the facts of every image of a raw folder, columns as `SCHEMA`, sorted by key.

    `luminance` to `colour` are those of the picture over the background, see
    `statistics.Measures`; `alpha_share` is the share of its pixels that are not opaque;
    `pixels_digest` is equal when training sees the same pixels; `cluster` is left empty.

    Args:
        raw: Shards and index.
        workers: Processes; None takes every processor.
        background: Colour behind transparent parts; with 1 and 3 channels also what blanks and
            duplicates are judged by, as training will see it.
        min_side_px: Images with a shorter side get the reason TOO_SMALL.
        channels: What training sees; with 4 blanks and duplicates are judged by RGBA.
        cluster: Address of a Dask scheduler whose machines see `raw` at the same path; they do
            the looking then.

    Raises:
        DamagedError: The shards are not what was ingested.
        GanmillError: A worker process was ended from outside, or the cluster cannot be reached.
    """
    index = read_index(raw)
    where = index[PLACE]
    chunks = [where.iloc[start:stop] for start, stop in chunk_bounds(index["bytes"].tolist())]
    look = partial(examine, raw.resolve(), Look(background, min_side_px, channels))
    parts = map_chunks(look, chunks, workers or default_workers(), "looking at images", cluster)
    seen = pa.Table.from_batches(parts, pa.schema([*SEEN, *FOLLOWS])).to_pandas()
    frame: pd.DataFrame = pd.concat([index[[name for name, _ in _INDEXED]], seen], axis=1)
    for name, _ in _MARKED:
        frame[name] = pd.Series("", frame.index, frame["reason"].dtype)
    _mark_duplicates(frame)
    typed: pd.DataFrame = frame[SCHEMA.names]
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


def _mark_duplicates(frame: pd.DataFrame) -> None:
    """Set aside, in key order, each sound image whose pixels were met before."""
    sound = frame.loc[frame["reason"] == ""]
    again = sound[sound.duplicated("pixels_digest")]
    firsts = sound.drop_duplicates("pixels_digest").set_index("pixels_digest")
    original = firsts.loc[again["pixels_digest"]].set_index(again.index)
    frame.loc[again.index, "duplicate_of"] = original["key"]
    frame.loc[again.index, "reason"] = DUPLICATE
    conflict = again.index[again["label"] != original["label"]]
    frame.loc[conflict, "notes"] = (frame.loc[conflict, "notes"] + " LABEL_CONFLICT").str.strip()
