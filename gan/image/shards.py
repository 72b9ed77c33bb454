"""Packed shards: the versioned unit. Plain tars of at most 10,000 files, and one index of them.

DVC is slow with 100,000 loose files. The bytes of a shard depend only on the images' bytes and
their order: names are ordinals, times are 0.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Self

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
        ("shard", pa.int32()),
        ("offset", pa.int64()),
    ]
)
_SHARD_FILES = 10_000
_SHARD_BYTES = 1 << 30


@dataclass(frozen=True)
class Place:
    """Where the bytes of one image lie: shard, offset and length in bytes, SHA-256 as hex."""

    shard: int
    offset: int
    size_bytes: int
    sha256: str


def shard_path(raw: Path, number: int) -> Path:
    """Return the path of a shard."""
    return raw / f"shard-{number:05d}.tar"


def pack(images: Iterable[tuple[str, bytes]], raw: Path) -> list[tuple[str, Place]]:
    """Write images (key, bytes) into shards in the order given; return where each one lies.

    The old index is removed first, so that a folder with an index is complete.

    Raises:
        GanmillError: The folder cannot be written.
    """
    (raw / INDEX).unlink(missing_ok=True)
    placed: list[tuple[str, Place]] = []
    remaining = iter(images)
    shards = 0
    for first in remaining:
        with replacing(shard_path(raw, shards)) as partial:
            placed.extend(_write_shard(partial, shards, first, remaining, len(placed)))
        shards += 1
    clear(raw, shards)
    return placed


def clear(raw: Path, keep: int = 0) -> None:
    """Remove the shards from number `keep` on: an older, larger source left them behind."""
    for path in raw.glob("shard-*.tar"):
        number = path.stem.removeprefix("shard-")
        if number.isdigit() and int(number) >= keep:
            path.unlink()


def _write_shard(
    path: Path,
    shard: int,
    first: tuple[str, bytes],
    remaining: Iterator[tuple[str, bytes]],
    ordinal: int,
) -> list[tuple[str, Place]]:
    """Fill one shard from `first` and as many of the remaining images as fit."""
    placed: list[tuple[str, Place]] = []
    current: tuple[str, bytes] | None = first
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        while current is not None:
            key, payload = current
            suffix = PurePosixPath(key).suffix.lower()
            info = tarfile.TarInfo(f"{ordinal + len(placed):08d}{suffix}")
            info.size = len(payload)
            offset = archive.offset + tarfile.BLOCKSIZE
            archive.addfile(info, io.BytesIO(payload))
            archive.members = []  # type: ignore[attr-defined]  # or tarfile keeps every header
            place = Place(shard, offset, len(payload), hashlib.sha256(payload).hexdigest())
            placed.append((key, place))
            full = len(placed) >= _SHARD_FILES or archive.offset >= _SHARD_BYTES
            current = None if full else next(remaining, None)
    return placed


def write_index(
    raw: Path, rows: Sequence[tuple[str, str, Place]], source: str, licence: str
) -> None:
    """Write the index of (key, label, place) rows, sorted by key; it is the last file written."""
    ordered = sorted(rows, key=lambda row: row[0])
    columns = {
        "key": [key for key, _, _ in ordered],
        "label": [label for _, label, _ in ordered],
        "sha256": [place.sha256 for _, _, place in ordered],
        "bytes": [place.size_bytes for _, _, place in ordered],
        "source": [source] * len(ordered),
        "licence": [licence] * len(ordered),
        "shard": [place.shard for _, _, place in ordered],
        "offset": [place.offset for _, _, place in ordered],
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
