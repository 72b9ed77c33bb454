"""The raw folder: plain tars of at most 10,000 files, and one index of them.

Packed because DVC is slow with 100,000 loose files. `gan.image.packing` fills the shards.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gan.durable import replacing
from gan.errors import DamagedError

INDEX = "index.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("group", pa.string()),
        ("conditions", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of one image lie: shard, offset and length in bytes, SHA-256 as hex."""

    shard: int
    offset: int
    size_bytes: int
    sha256: str


class Entry(NamedTuple):
    """One image of the index, but for its place.

    Attributes:
        key: Its posix path inside the source.
        label: What it trains as; "" without labels.
        group: Images of one group belong together; "" is a group of its own.
        conditions: JSON of {column: value}, the columns that the label was made of; "" without.
        sha256: Digest of its bytes, as hex.
    """

    key: str
    label: str
    group: str
    conditions: str
    sha256: str


def shard_path(raw: Path, number: int) -> Path:
    """Return the path of a shard."""
    return raw / f"shard-{number:05d}.tar"


def write_index(
    raw: Path, entries: Iterable[Entry], where: dict[str, Place], source: str, licence: str
) -> None:
    """Write the index of `entries`, sorted by key; `where` gives the place of each digest."""
    ordered = sorted(entries)
    found = [where[entry.sha256] for entry in ordered]
    columns = {
        "key": [entry.key for entry in ordered],
        "label": [entry.label for entry in ordered],
        "sha256": [entry.sha256 for entry in ordered],
        "bytes": [place.size_bytes for place in found],
        "source": [source] * len(ordered),
        "licence": [licence] * len(ordered),
        "group": [entry.group for entry in ordered],
        "conditions": [entry.conditions for entry in ordered],
        "shard": [place.shard for place in found],
        "offset": [place.offset for place in found],
    }
    write_table(raw / INDEX, pa.table(columns, schema=SCHEMA))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file; equal tables give equal bytes on the same pyarrow."""
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_index(raw: Path) -> pd.DataFrame:
    """Return the index, a row an image, sorted by key.

    Raises:
        DamagedError: It is missing, is not parquet, or lacks a column.
    """
    return read_table(raw / INDEX, SCHEMA)


def read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """Return a parquet file that must hold the columns of `schema`.

    Raises:
        DamagedError: It is missing, is not parquet, or has other columns.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        detail = " ".join(str(error).split())[:120]
        raise DamagedError(
            f"{path}: is missing or damaged ({detail}). Run the step that writes it again."
        ) from error
    if not table.schema.equals(schema):
        found = ", ".join(table.schema.names)
        raise DamagedError(f"{path}: has the columns {found}. Run the step that writes it again.")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def places(index: pd.DataFrame) -> list[Place]:
    """Return where the images of an index lie, in its order."""
    columns = (index[name].tolist() for name in ("shard", "offset", "bytes", "sha256"))
    return [Place(*row) for row in zip(*columns, strict=True)]


class Shards:
    """Read images out of a raw folder; a context manager that keeps the shards open."""

    def __init__(self, raw: Path) -> None:
        """Read below `raw`."""
        self._raw = raw
        self._files: dict[int, BinaryIO] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the shards."""
        self.close()

    def close(self) -> None:
        """Close the shards."""
        for file in self._files.values():
            file.close()

    def read(self, place: Place) -> bytes:
        """Return the bytes of one image.

        Raises:
            DamagedError: They are not the bytes that were packed.
        """
        path = shard_path(self._raw, place.shard)
        try:
            if place.shard not in self._files:
                self._files[place.shard] = path.open("rb")
            file = self._files[place.shard]
            file.seek(place.offset)
            payload = file.read(place.size_bytes)
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({error.strerror}).") from error
        if hashlib.sha256(payload).hexdigest() != place.sha256:
            raise DamagedError(
                f"{path}: byte {place.offset} on differs from the index. "
                "The shard is damaged; run the ingest stage again with --force."
            )
        return payload
