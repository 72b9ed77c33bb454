"""Put the assets of a batch where people or programs take them from, in one of four forms."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.assets.editions import edition
from gan.assets.files import Marks
from gan.assets.forms import FORMS, Edition
from gan.assets.manifest import BATCH, Row
from gan.assets.sinks import PUBLICATION, FolderSink, Sink, open_sink
from gan.durable import sha256, write_json
from gan.errors import UsageError

FORMAT = 1


@dataclass(frozen=True)
class Exported:
    """What lies at a target now.

    Attributes:
        target: How messages name it.
        form: Of it.
        assets: How many.
        files: How many, but for `index.json`.
        bytes: Of all files, but for `index.json`; 0 when it was there already.
        selection: Digest of batch, form and assets: what was asked to be there.
        already: Whether it was there before this call.
    """

    target: str
    form: str
    assets: int
    files: int
    bytes: int
    selection: str
    already: bool


def export(folder: Path, rows: Sequence[Row], form: str, target: str, marks: Marks) -> Exported:
    """Put some assets of a batch at a target, in the place of what was published there before.

    The target is a folder, or a prefix of a store, with `index.json` that lists every file by its
    SHA-256. Killed anywhere, the same call finishes it; what is there whole stays as it is.

    Args:
        folder: Of the batch.
        rows: Accepted assets of its manifest.
        form: folder, zip, webdataset or imagefolder.
        target: A path, `file:///path` or `s3://bucket/key`: the publication's own.
        marks: Where the keys lie, for a pack's icon that must be made again.

    Raises:
        UsageError: The form or target is not possible, or no asset is left.
        DamagedError: A file is not as the batch says; nothing of it was put there.
        ServiceError: The store does not answer.
        GanmillError: The target cannot be written.
    """
    if form not in FORMS:
        raise UsageError(f"assets.form: {form!r} is not one of {', '.join(FORMS)}.")
    sink = open_sink(target)
    _require_apart(folder, sink)
    selection = selection_of(folder, rows, form)
    there = sink.index()
    if there is not None and there.get("selection") == selection:
        count = len(there["files"])
        return Exported(sink.shown, form, len(rows), count, 0, selection, already=True)
    out = edition(folder, rows, marks)
    with sink.staging() as staged:
        FORMS[form](out, staged)
        paths = [path for path in sorted(staged.rglob("*")) if path.is_file()]
        files = {path.relative_to(staged).as_posix(): sha256(path) for path in paths}
        size = sum(path.stat().st_size for path in paths)
        write_json(staged / PUBLICATION, _index(out, form, selection, files))
        sink.put(staged)
    return Exported(sink.shown, form, len(rows), len(files), size, selection, already=False)


def selection_of(folder: Path, rows: Sequence[Row], form: str) -> str:
    """Return the digest that names some assets of a batch in a form."""
    made_of = [sha256(folder / BATCH), form, sorted(row.asset for row in rows)]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _index(out: Edition, form: str, selection: str, files: dict[str, str]) -> dict[str, Any]:
    """Return what `index.json` says."""
    card = out.card
    return {
        "format": FORMAT,
        "recipe": card.recipe,
        "campaign": card.campaign,
        "batch": card.batch,
        "batch_sha256": sha256(out.folder / BATCH),
        "bundle_digest": card.bundle_digest,
        "form": form,
        "selection": selection,
        "assets": [row.asset for row in out.rows],
        "classes": sorted(card.classes),
        "is_synthetic": True,
        "files": files,
    }


def _require_apart(folder: Path, sink: Sink) -> None:
    """Make sure that a target and the batch do not lie in each other."""
    if isinstance(sink, FolderSink):
        batch, target = folder.resolve(), sink.folder.resolve()
        if batch == target or batch in target.parents or target in batch.parents:
            raise UsageError(
                f"{sink.shown}: assets.sink lies where the batch does. Name another folder."
            )
