"""How each kind of thing is let go: a line first, then the thing.

What somebody could have begun to need since the plan was made is looked at again, under the lock
that whoever needs it would hold.
"""

import errno
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows import disposal, ledger, pins, registry, release
from flows.datasets import catalog, verifying
from flows.gate.records import RECORD
from flows.held import is_training
from flows.keeping.contents import GOING
from flows.keeping.databases import databases
from flows.keeping.inventory import standing_now
from flows.keeping.inventory_batches import pictures
from flows.keeping.plan import Fate, Kind
from flows.publish import published
from flows.settings import Settings
from flows.stores import Stores
from gan.assets.manifest import BATCH, LOCK, REQUEST
from gan.assets.sinks import remove_tree
from gan.changes import explained, make_folder, rename, sync
from gan.durable import append_line, remove, run_lock, write_json
from gan.paths import Layout

LINES = "retained.jsonl"


@dataclass(frozen=True)
class Work:
    """What every step needs to know: where, who says so, and what else goes."""

    layout: Layout
    settings: Settings
    actor: str
    goes: Mapping[str, Fate]
    opened: Stores


class StaysError(Exception):
    """A thing is needed by now; it is no error but an answer."""


def note(work: Work, fate: Fate) -> None:
    """Write the line of a thing, before it goes.

    Raises:
        GanmillError: There is no room for it.
    """
    path = work.layout.state / LINES
    line = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "actor": work.actor,
        "kind": fate.thing.kind,
        "name": fate.thing.name,
        "why": fate.why,
        "bytes": fate.thing.bytes,
    }
    append_line(path, json.dumps(line, ensure_ascii=False))
    with explained(path, "written"):
        sync(path)


def _move_away(layout: Layout, path: Path) -> None:
    """Take a file or folder out of everybody's sight in one step, then remove it."""
    going = layout.state / GOING
    away = going / f"{time.time_ns()}-{path.name}"
    with explained(path, "removed"):
        make_folder(going)
        try:
            rename(path, away)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            away = path  # it lies on another disk
            for name in (REQUEST, BATCH) if path.is_dir() else ():
                remove(path / name)  # without these nobody takes what is left for a batch
    remove_tree(away)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a batch as who mints, reviews or publishes it would."""
    with run_lock(folder / LOCK, f"letting go of {folder.name}"):
        yield
        if folder.is_dir():
            remove(folder / LOCK)


def _pictures(work: Work, fate: Fate) -> None:
    folder = work.layout.root / "assets" / fate.thing.name
    with _alone(folder):
        note(work, fate)
        for path in pictures(folder):
            _move_away(work.layout, path)


def _batch(work: Work, fate: Fate) -> None:
    folder = work.layout.root / "assets" / fate.thing.name
    with _alone(folder):
        if published(folder):
            raise StaysError("went out meanwhile")
        note(work, fate)
        _move_away(work.layout, folder)


def _decision(work: Work, fate: Fate) -> None:
    recipe, name = _parts(fate)
    note(work, fate)
    for path in sorted((work.layout.gate(recipe) / name).iterdir()):
        if path.name != RECORD:
            _move_away(work.layout, path)


def _report(work: Work, fate: Fate) -> None:
    recipe, name = _parts(fate)
    note(work, fate)
    _move_away(work.layout, work.layout.version_report(recipe, name))


def _model(work: Work, fate: Fate) -> None:
    """Delete a version that nothing made champion meanwhile; its run is marked before."""
    recipe, name = _parts(fate)
    number = int(name.removeprefix("v"))
    with release.turn(work.layout, recipe, f"letting go of {name} of"):
        known = registry.versions(work.settings, recipe)
        entries = ledger.read(work.layout.ledger)
        if why := standing_now(work.layout, work.settings, entries, recipe, known).get(number):
            raise StaysError(why)
        note(work, fate)
        version = next((each for each in known if each.number == number), None)
        if version and f"training run:{version.run_id}" in work.goes:
            disposal.mark_run(work.settings, version.run_id, f"its version v{number} was let go")
        disposal.delete_version(work.settings, recipe, number)


def _training_run(work: Work, fate: Fate) -> None:
    for recipe in fate.thing.recipes:
        users = [v for v in registry.versions(work.settings, recipe) if v.run_id == fate.thing.name]
        if users:
            raise StaysError(f"{recipe} v{users[0].number} is made of its files")
    note(work, fate)
    database = databases(work.layout, work.settings)["mlflow"]
    url = database.url if database and database.is_there() else None
    disposal.delete_run(work.settings, fate.thing.name, url)


def _bundle(work: Work, fate: Fate) -> None:
    for recipe in fate.thing.recipes:
        pinned = work.layout.pin(recipe).exists() and pins.read_pin(work.layout, recipe)
        if pinned == fate.thing.name or is_training(work.layout, recipe):
            raise StaysError(f"a training of {recipe} starts from it, or is under way")
    note(work, fate)
    _move_away(work.layout, work.layout.bundle_store / fate.thing.name)


def _checkpoints(work: Work, fate: Fate) -> None:
    recipe, name = _parts(fate)
    if is_training(work.layout, recipe):
        raise StaysError(f"{recipe} is being retrained")
    note(work, fate)
    _move_away(work.layout, work.layout.run(recipe) / name)


def _data(work: Work, fate: Fate) -> None:
    """Note beside the record of a data version that its files go; the record stays."""
    recipe, digest = _parts(fate)
    known = catalog.find(work.layout, recipe, digest)
    if verifying.is_present(work.layout, known):
        raise StaysError("is what the workspace holds")
    note(work, fate)
    kinds = {need.partition(":")[0] for need in fate.thing.needs & work.goes.keys()}
    places = {"object": "cache", "remote object": "remote"}
    gone = {*(places[kind] for kind in kinds), *verifying.let_go(work.layout, known)}
    write_json(known.folder / verifying.LET_GO, {"places": sorted(gone)})


def _object(work: Work, fate: Fate) -> None:
    note(work, fate)
    work.opened.cache.remove(fate.thing.name)


def _remote_object(work: Work, fate: Fate) -> None:
    note(work, fate)
    work.opened.remote.remove(fate.thing.name)


def _parts(fate: Fate) -> tuple[str, str]:
    """Return the recipe and the own name of a thing."""
    recipe, _, name = fate.thing.name.partition("/")
    return recipe, name


STEPS: Mapping[Kind, Callable[[Work, Fate], None]] = {
    "pictures": _pictures,
    "batch": _batch,
    "decision": _decision,
    "report": _report,
    "model": _model,
    "training run": _training_run,
    "bundle": _bundle,
    "checkpoints": _checkpoints,
    "data": _data,
    "object": _object,
    "remote object": _remote_object,
}  # flow runs go many at once
