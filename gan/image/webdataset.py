"""WebDataset tars: what stands beside an image says what it is.

    000123.jpg  000123.cls  000123.txt  000123.json

Neighbours whose names are the same up to the first dot are one sample [1]. `.cls` and `.txt` are
columns of that name, the plain fields of a `.json` are columns of theirs, and a recipe's
`label_from` names them like the columns of a `labels.csv`. A tar without such neighbours comes out
as it went in.

[1] https://github.com/webdataset/webdataset#the-webdataset-format
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from gan.image.members import LABELS, Member, Survey, is_hidden

_TEXTS, _FIELDS = (".cls", ".txt"), ".json"
_MAX_SIDECAR_BYTES = 1 << 20
# A sample of more is a run of names with a dot, as `frame.0001.png`, that only looks like one.
_MAX_SAMPLE_BYTES, _MAX_SAMPLE_IMAGES = 64 << 20, 64


def is_sidecar(key: str, size: int) -> bool:
    """Return whether a file may say something of the image beside it."""
    named = key.lower().endswith((*_TEXTS, _FIELDS))
    return named and size <= _MAX_SIDECAR_BYTES and not is_hidden(key)


@dataclass
class _Sample:
    """Neighbours of one name, up to the first dot."""

    stem: str = ""
    images: list[tuple[str, bytes]] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    notes: int = 0
    size_bytes: int = 0

    def is_full(self) -> bool:
        """Return whether it is no sample but a long run."""
        return self.size_bytes > _MAX_SAMPLE_BYTES or len(self.images) >= _MAX_SAMPLE_IMAGES

    def members(self, survey: Survey) -> Iterator[Member]:
        """Yield its images, each with all columns; what is beside no image is a note."""
        if not self.images:
            survey.clutter += self.notes
        survey.met_columns(self.columns if self.images else {})
        for key, payload in self.images:
            yield Member.holding(key, payload, self.columns)


def gather(files: Iterator[Member], survey: Survey) -> Iterator[Member]:
    """Yield the images of a tar, with what their neighbours say of them as columns.

    Args:
        files: Images, and files for which `is_sidecar` is true, in the order of the tar.
        survey: Notes beside no image are counted as clutter; a `labels.csv` is kept there.
    """
    sample = _Sample()
    for file in files:
        if file.key == LABELS:
            survey.labels_csv = file.read()
            survey.clutter += 1
            continue
        folder, _, name = file.key.rpartition("/")
        start, _, suffix = name.partition(".")
        stem = f"{folder}/{start}"
        if stem != sample.stem or sample.is_full():
            yield from sample.members(survey)
            sample = _Sample(stem)
        payload = file.read()
        sample.size_bytes += len(payload)
        if is_sidecar(file.key, len(payload)):
            sample.notes += 1
            sample.columns.update(_said(file.key, suffix, payload, survey))
        else:
            sample.images.append((file.key, payload))
    yield from sample.members(survey)


def _said(key: str, suffix: str, payload: bytes, survey: Survey) -> dict[str, str]:
    """Return what a file beside an image says; one that cannot be read says nothing."""
    try:
        text = payload.decode()
        if not key.lower().endswith(_FIELDS):
            return {suffix: text.strip()}
        fields = json.loads(text)
    except (ValueError, RecursionError):
        survey.note("LABELS_INVALID", key)
        return {}
    return plain_fields(fields)


def plain_fields(value: object) -> dict[str, str]:
    """Return the fields of a JSON object that are text, numbers or truth values, as text."""
    if not isinstance(value, dict):
        return {}
    return {
        str(name): str(field).strip()
        for name, field in value.items()
        if isinstance(field, str | int | float)
    }
