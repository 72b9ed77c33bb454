"""Which label each image of a source carries: its folder, none, or a column of `labels.csv`."""

import csv
import difflib
import io
from collections.abc import Callable

from gan.errors import SourceError
from gan.image.members import LABELS

_KEY_COLUMNS = ("file", "filename", "path", "image")
_MAX_FIELD_CHARACTERS = 1 << 20


def labeller(label_from: str, labels_csv: bytes | None, source: str) -> Callable[[str], str | None]:
    """Return the function from an image's key to its label; None when its label is missing.

    Args:
        label_from: "folder" (the folder that directly holds the image, "" at the top), "none",
            or the name of a column of `labels.csv`.
        labels_csv: Bytes of the source's `labels.csv`, or None when there is none.
        source: How messages name the source.

    Raises:
        SourceError: A column is wanted and `labels.csv` is missing, not UTF-8, or contradictory.
    """
    if label_from == "folder":
        return lambda key: key.rpartition("/")[0].rpartition("/")[2]
    if label_from == "none":
        return lambda _: ""
    return _read_column(labels_csv, label_from, source).get


def columns(labels_csv: bytes | None, source: str) -> list[str]:
    """Return the column names of a `labels.csv`, [] when there is none.

    Raises:
        SourceError: It is not UTF-8.
    """
    if labels_csv is None:
        return []
    return [name.strip() for name in next(csv.reader(_text(labels_csv, source)), [])]


def _text(labels_csv: bytes, source: str) -> io.StringIO:
    try:
        return io.StringIO(labels_csv.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{source}: {LABELS} is not UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from error


def _read_column(labels_csv: bytes | None, column: str, source: str) -> dict[str, str]:
    """Return {key: label} of one column, empty labels left out."""
    names = columns(labels_csv, source)
    if labels_csv is None:
        raise SourceError(
            f"{source}: data.label_from is {column!r}, but there is no {LABELS} at its top. "
            "Add one, or use label_from: folder or none."
        )
    key_column = next((name for name in _KEY_COLUMNS if name in names), None)
    if key_column is None or column not in names:
        wanted = column if key_column else " or ".join(_KEY_COLUMNS)
        close = difflib.get_close_matches(column, names, n=1)
        hint = f" Did you mean {close[0]}?" if close and key_column else ""
        raise SourceError(
            f"{source}: {LABELS} has no column {wanted}; it has {', '.join(names)}.{hint}"
        )
    labels: dict[str, str] = {}
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    reader = csv.DictReader(_text(labels_csv, source), fieldnames=names)
    try:
        next(reader, None)  # the header row
        for row in reader:
            key = (row[key_column] or "").replace("\\", "/").removeprefix("./")
            label = (row[column] or "").strip()
            if key and label and labels.setdefault(key, label) != label:
                raise SourceError(
                    f"{source}: {LABELS} line {reader.line_num}: {key!a} is {label!r} here and "
                    f"{labels[key]!r} above. Keep one of the two rows."
                )
    except csv.Error as error:
        raise SourceError(f"{source}: {LABELS} line {reader.line_num}: {error}.") from error
    return labels
