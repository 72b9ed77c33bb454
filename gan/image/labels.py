"""What each image of a source is: by its folder, by its own columns, or by a `labels.csv`.

A recipe may name several columns: each combination of their values is a class, and the values are
kept as conditions. One more column may say which images belong together.
"""

import csv
import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gan.errors import SourceError
from gan.image.members import FOLDER, LABELS, Member, Survey

_NONE = "none"
_BETWEEN = " / "
_KEY_COLUMNS = ("file", "filename", "path", "image")
_MAX_FIELD_CHARACTERS = 1 << 20
_FAULTS_SHOWN = 20

Values = tuple[str, ...]  # of the columns of `Wanted.columns`, in their order


class Said(NamedTuple):
    """What is said of one image: label and group, and the conditions as JSON; "" for none."""

    label: str
    group: str
    conditions: str


class Wanted:
    """The columns that a recipe asks its source for."""

    def __init__(self, label_from: str | list[str], group_from: str | None = None) -> None:
        """Ask for "folder", "none" or columns, and for the column of groups."""
        named = (label_from,) if isinstance(label_from, str) else tuple(label_from)
        self._by_folder = label_from == FOLDER
        self._label_columns = () if self._by_folder or label_from == _NONE else named
        group = () if group_from is None else (group_from,)
        self.columns: tuple[str, ...] = (*dict.fromkeys((*self._label_columns, *group)),)
        self._group_at = self.columns.index(group_from) if group_from is not None else None
        self._known: dict[Values, Said] = {}

    def values(self, member: Member) -> Values | None:
        """Return what a member says itself of the wanted columns; None asks `labels.csv`.

        Without wanted columns, and with `label_from: folder`, the folder comes first.
        """
        folder = (self._folder(member),) if self._by_folder else ()
        if not self.columns:
            return folder
        if not set(self.columns) & set(member.columns):
            return None
        return (*folder, *(member.columns.get(name, "").strip() for name in self.columns))

    def resolve(
        self, images: Sequence[tuple[str, Values | None]], survey: Survey, source: str
    ) -> list[Said | None]:
        """Return what is said of each image; None of one whose label is missing.

        Args:
            images: Key, and `values` of the member, of every image of the source.
            survey: What was met in the source.
            source: How messages name it.

        Raises:
            SourceError: `labels.csv` is needed and missing, not UTF-8, lacks a column, or has
                faults.
        """
        table: dict[str, Values] = {}
        if any(values is None for _, values in images):
            if survey.labels_csv is None:
                raise SourceError(_missing(self.columns, list(survey.columns), source))
            keys = {key for key, _ in images}
            table = _read_rows(survey.labels_csv, self.columns, keys, source)
        return [
            self._said(self._tabled(key, table) if values is None else values)
            for key, values in images
        ]

    def _tabled(self, key: str, table: Mapping[str, Values]) -> Values:
        """Return what `labels.csv` says of an image."""
        folder = (_holder(key),) if self._by_folder else ()
        return (*folder, *table.get(key, ("",) * len(self.columns)))

    def _said(self, values: Values) -> Said | None:
        """Return the label, group and conditions in these values; None when a label is empty."""
        if values in self._known:
            return self._known[values]
        columns = values[1:] if self._by_folder else values
        group = "" if self._group_at is None else columns[self._group_at]
        labels = columns[: len(self._label_columns)]
        if not all(labels):
            return None
        label = values[0] if self._by_folder else _BETWEEN.join(labels)
        named = dict(zip(self._label_columns, labels, strict=True))
        conditions = json.dumps(named, ensure_ascii=False) if named else ""
        return self._known.setdefault(values, Said(label, group, conditions))

    @staticmethod
    def _folder(member: Member) -> str:
        return member.columns.get(FOLDER, _holder(member.key))


def _holder(key: str) -> str:
    """Return the name of the folder that directly holds a file, "" at the top."""
    return key.rpartition("/")[0].rpartition("/")[2]


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
            f"{source}: {LABELS} is not UTF-8 (ENCODING, byte {error.start}). Save it as UTF-8."
        ) from error


def _missing(wanted: Values, there: list[str], source: str) -> str:
    """Say that a source has neither a table nor the columns."""
    named = " and ".join(map(repr, wanted))
    if there:
        return f"{source}: its images have no column {named}; {_there(wanted, there)}"
    return (
        f"{source}: the recipe asks for the column {named}, but there is no {LABELS} at the "
        "source's top. Add one, or use label_from: folder or none."
    )


def _there(wanted: Values, there: list[str]) -> str:
    """Say which columns there are, and which of them may be meant."""
    absent = [name for name in wanted if name not in there]
    close = [name for one in absent for name in difflib.get_close_matches(one, there, n=1)]
    hint = f" Did you mean {close[0]}?" if close else " Name one of them in data.label_from."
    return f"it has {', '.join(there) or 'none'}.{hint}"


def _read_rows(labels_csv: bytes, wanted: Values, keys: set[str], source: str) -> dict[str, Values]:
    """Return {key: values}; all faults of the table are told at once."""
    names = columns(labels_csv, source)
    key_column = next((name for name in _KEY_COLUMNS if name in names), None)
    if key_column is None:
        raise SourceError(
            f"{source}: {LABELS} has no column {' or '.join(_KEY_COLUMNS)}; "
            f"it has {', '.join(names)}."
        )
    if absent := [name for name in wanted if name not in names]:
        raise SourceError(
            f"{source}: {LABELS} has no column {' or '.join(absent)}; {_there(wanted, names)}"
        )
    if twice := [name for name in (key_column, *wanted) if names.count(name) > 1]:
        raise SourceError(f"{source}: {LABELS} has the column {twice[0]} twice. Rename one.")
    at = [names.index(name) for name in (key_column, *wanted)]
    table: dict[str, tuple[int, Values]] = {}
    faults: list[str] = []
    grave = False
    for line, row, broken in _rows(labels_csv, source):
        key, *values = [row[n] if n < len(row) else "" for n in at]
        key, values = key.replace("\\", "/").removeprefix("./"), [v.strip() for v in values]
        fault = broken or _fault(key, len(row), len(names))
        earlier, before = table.get(key, (line, tuple(values)))
        if not fault and before != tuple(values):
            fault = f"{key!a} is {_shown(values)} here and {_shown(before)} in line {earlier}"
        grave = grave or bool(fault)
        if not fault:
            fault = _blemish(key, values, keys, earlier if earlier != line else None)
            table.setdefault(key, (line, tuple(values)))
        if fault:
            faults.append(f"line {line}: {fault}")
    if grave:
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise SourceError(
            f"{source}: {LABELS} cannot be trusted (LABELS_INVALID): "
            f"{'; '.join(faults[:_FAULTS_SHOWN])}{more}. Mend these lines, then run it again."
        )
    return {key: values for key, (_, values) in table.items()}


def _rows(labels_csv: bytes, source: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield (line, fields, what is wrong with the row itself) below the header row."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    reader = csv.reader(_text(labels_csv, source), strict=True)
    line = 1
    try:
        next(reader, None)
        line = reader.line_num + 1
        for row in reader:
            if row:
                yield line, row, ""
            line = reader.line_num + 1
    except csv.Error as error:
        said = "a quote is not closed" if "end of data" in str(error) else str(error)
        yield line, [], said


def _fault(key: str, fields: int, columns_: int) -> str:
    """Return what makes a row a reason to refuse the table, or ``""``."""
    if fields > columns_:
        return f"{fields} fields for {columns_} columns"
    if not key:
        return "names no file"
    outside = key.startswith("/") or ".." in key.split("/") or key[1:2] == ":"
    return f"{key!a} points outside the source" if outside else ""


def _blemish(key: str, values: list[str], keys: set[str], earlier: int | None) -> str:
    """Return what is wrong with a row that does no harm alone, or ``""``."""
    if earlier is not None:
        return f"repeats line {earlier}"
    if key not in keys:
        return f"there is no image {key!a}"
    return "" if any(values) else f"says nothing of {key!a}"


def _shown(values: list[str] | Values) -> str:
    return repr(_BETWEEN.join(values))
