"""Parquet files with the bytes of images in a column, as the Hugging Face hub serves data sets.

The image is a struct {bytes, path} or a binary column. The other plain columns of its row are the
member's columns; class numbers become the names that the `datasets` library left in the schema.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from gan.errors import SourceError
from gan.image.members import (
    FOLDER,
    Member,
    Survey,
    check_total,
    is_usable,
    is_wanted,
    suffix_of,
)

SUFFIX = ".parquet"
NO_IMAGES = "NO_IMAGE_COLUMN"
_MAGIC = b"PAR1"
_LIKELY_NAMES = ("image", "img", "picture", "bytes", "content", "data", "png", "jpg", "jpeg")
_BATCH_ROWS = 256
# A value that a dictionary holds once may fill every row: 256 rows of 60 MB are no small batch.
_BATCH_BYTES = 64 << 20


class NoImageColumn(Exception):  # noqa: N818  # an answer about a file, not a failure of ours
    """A parquet file holds no column of images."""


class _Columns(NamedTuple):
    """The image column, whether it is a struct, the plain columns, and names of class numbers."""

    image: str
    is_struct: bool
    plain: list[str]
    classes: dict[str, list[str]]


def is_table(path: Path) -> bool:
    """Return whether a file begins like parquet, whatever its name says."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_table(path: Path, survey: Survey, prefix: str) -> Iterator[Member]:
    """Yield the images of a parquet file, row by row.

    A row's key is the path that it gives its image, or else its number in the file.

    Args:
        path: The file.
        survey: Filled with what was left out.
        prefix: Put before each key.

    Raises:
        NoImageColumn: There is no column of images; the message names those that there are.
        SourceError: It is damaged or a bomb.
    """
    try:
        with pq.ParquetFile(path) as file:
            check_total(path, _announced_bytes(file), path.stat().st_size)
            columns = _columns(file.schema_arrow)
            yield from _rows(path, file, columns, survey, prefix)
    except (pa.ArrowException, MemoryError) as error:
        detail = ascii(" ".join(str(error).split())[:120])[1:-1]
        raise SourceError(f"{path}: is damaged (CORRUPT: {detail}). Fetch it again.") from error


def _announced_bytes(file: pq.ParquetFile) -> int:
    """Return how many bytes the file says that its columns take, unpacked."""
    groups = range(file.metadata.num_row_groups)
    return sum(file.metadata.row_group(group).total_byte_size for group in groups)


def _columns(schema: pa.Schema) -> _Columns:
    """Find the image column, by what `datasets` says of it, else by type and name."""
    features = _features(schema)
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    binaries = [field.name for field in schema if _is_binary(field.type)]
    there = [*structs, *binaries]
    said = [name for name in there if features.get(name, {}).get("_type") == "Image"]
    likely = [name for name in _LIKELY_NAMES if name in there]
    if not there:
        raise NoImageColumn(f"has no column of image bytes; it has {', '.join(schema.names)}")
    image = [*said, *structs, *likely, *binaries][0]
    plain = [field.name for field in schema if _is_plain(field.type)]
    names = {name: features.get(name, {}).get("names") for name in plain}
    classes = {name: list(map(str, found)) for name, found in names.items() if found}
    return _Columns(image, image in structs, plain, classes)


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return what the `datasets` library says of the columns, {} when it says nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: {**said, "names": said["names"] if isinstance(said.get("names"), list) else None}
            for name, said in features.items()
            if isinstance(said, dict)
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image_struct(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    at = kind.get_field_index("bytes")
    return at >= 0 and _is_binary(kind.field(at).type)


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a column holds a text, a number or a truth value in each row."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return texts or any(
        check(kind) for check in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    )


def _rows(
    path: Path, file: pq.ParquetFile, columns: _Columns, survey: Survey, prefix: str
) -> Iterator[Member]:
    """Yield the rows' images; memory holds one batch of them."""
    survey.met_columns(dict.fromkeys(columns.plain, ""))
    given: set[str] = set()
    row, total_bytes = 0, 0
    for batch in file.iter_batches(_batch_rows(file), columns=[columns.image, *columns.plain]):
        total_bytes += batch.nbytes
        check_total(path, total_bytes, path.stat().st_size)
        plain = {name: batch.column(name).to_pylist() for name in columns.plain}
        for at, value in enumerate(batch.column(columns.image).to_pylist()):
            image = value if columns.is_struct else {"bytes": value}
            payload, name = (image or {}).get("bytes") or b"", (image or {}).get("path") or ""
            key, folder = _key(prefix, name, f"{row:08d}{suffix_of(payload)}", given)
            said = {name: _text(plain[name][at], columns.classes.get(name)) for name in plain}
            row += 1
            if not payload:
                survey.skip("EMPTY_FILE", key)
            elif is_wanted(key, len(payload), survey):
                yield Member.holding(key, payload, {FOLDER: folder, **said})


def _batch_rows(file: pq.ParquetFile) -> int:
    """Return how many rows to unpack at once, so that no dictionary fills the memory."""
    largest = max(
        (
            chunk.total_uncompressed_size
            for group in range(file.metadata.num_row_groups)
            for chunk in _chunks(file, group)
            if chunk.has_dictionary_page
        ),
        default=1,
    )
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))


def _chunks(file: pq.ParquetFile, group: int) -> Iterator[pq.ColumnChunkMetaData]:
    columns = file.metadata.row_group(group)
    return (columns.column(number) for number in range(columns.num_columns))


def _key(prefix: str, path: object, number: str, given: set[str]) -> tuple[str, str]:
    """Return a row's key and its folder: of the path it gives when that is new and plain."""
    parts = [part for part in str(path).replace("\\", "/").split("/") if part not in {"", "."}]
    name = "/".join(part for part in parts if part != ".." and not part.endswith(":"))
    if name in given or not is_usable(prefix + name):
        return prefix + number, ""
    given.add(name)
    return prefix + name, name.rpartition("/")[0].rpartition("/")[2]


def _text(value: object, classes: list[str] | None) -> str:
    """Return a plain value as text, "" for none; a class number as its name."""
    if value is None:
        return ""
    if classes is not None and isinstance(value, int):
        return classes[value] if 0 <= value < len(classes) else ""
    return str(value).strip()
