"""Take a backup of a workspace while it is at work; killed anywhere, the same call goes on.

Databases come first, artifacts after them: what a database refers to was there before it was
copied, so it is there now, unless somebody deletes it meanwhile, and that is named. The ledger is
of the very moment of MLflow's database: a promotion in between would tear the two apart.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from flows import ledger, succession
from flows.keeping import manifest
from flows.keeping.contents import KEY, LOCK_NAME
from flows.keeping.copying import Copier, digest_of
from flows.keeping.databases import Database, databases
from flows.keeping.manifest import JOURNAL, MANIFEST, WORKSPACE, KeptDatabase, KeptFile, Manifest
from flows.keeping.progress import progress
from flows.keeping.references import Registered, lost_versions, registered
from flows.keeping.sources import LEDGER, Gathered, Wants, gathered
from flows.settings import Settings
from gan.changes import explained, make_folder
from gan.durable import run_lock, sha256, write_atomically
from gan.errors import BusyError, DamagedError, RecipeError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipes

_TRIES = 20
_REVISION = "SELECT version_num FROM {}"


@dataclass(frozen=True)
class Backup:
    """A whole backup.

    Attributes:
        manifest: What it says of itself.
        id: How it is called: the beginning of the manifest's SHA-256.
        folder: Where it is.
    """

    manifest: Manifest
    id: str
    folder: Path


@dataclass(frozen=True)
class _Moment:
    """Databases and ledger as they were at one time."""

    made_utc: str
    databases: dict[str, KeptDatabase]
    entries: list[ledger.Entry]
    versions: list[Registered]


def make(layout: Layout, settings: Settings, folder: Path, wants: Wants) -> Backup:
    """Make `folder` a whole backup.

    Raises:
        UsageError: It is one already, or holds something else.
        BusyError: Another backup of this workspace is being taken.
        DamagedError: A database, `dvc.lock` or a record of data is not what it was.
        ServiceError: A database or store does not answer.
        GanmillError: There is no room for it; run the same again.
    """
    _require_room(folder)
    with run_lock(layout.lock(LOCK_NAME), "taking a backup"):
        copier = begin(folder)
        missing: list[str] = []
        recipes = _recipes(layout, missing)
        moment = _moment(layout, settings, copier, missing)
        with gathered(layout, settings, wants, recipes, folder) as found:
            listed = _copy(copier, found, is_quiet=wants.is_quiet)
        found.missing += lost_versions(folder, moment.versions, {**copier.files, **listed})
        found.missing[:0] = missing
        copier.sweep()
        moves = {name: succession.last_move(moment.entries, name) for name in recipes}
        whole = Manifest(
            made_utc=moment.made_utc,
            ganmill=version("ganmill"),
            workspace=str(layout.root),
            databases=moment.databases,
            artifacts=found.artifacts,
            data=found.data,
            has_assets=wants.assets,
            has_keys=f"{WORKSPACE}/{KEY}" in copier.files,
            ledger_lines=len(moment.entries),
            champions={name: move.to_version or 0 for name, move in moves.items() if move},
            files=dict(sorted(copier.files.items())),
            listed=dict(sorted(listed.items())),
            missing=found.missing,
            left_out=[*_foreign(moment.databases), *found.left_out],
        )
        digest = manifest.write(folder, whole)
        copier.forget()
    return Backup(whole, digest[:12], folder)


def finished(folder: Path) -> Backup | None:
    """Return a whole backup that a kill left unpacked, None where there is none.

    Raises:
        DamagedError: Its manifest cannot be read.
    """
    if not (folder / MANIFEST).exists():
        return None
    whole, digest = manifest.read(folder)
    return Backup(whole, digest[:12], folder)


def begin(folder: Path) -> Copier:
    """Return what copies into a folder that nobody else may read: databases hold much.

    Raises:
        GanmillError: It cannot be made.
    """
    with explained(folder, "written"):
        make_folder(folder)
        folder.chmod(0o700)
    if not (folder / JOURNAL).exists():
        write_atomically(folder / JOURNAL, b"")
    return Copier(folder)


def copy_database(copier: Copier, database: Database) -> KeptDatabase:
    """Copy one moment of a database.

    Raises:
        DamagedError: It is not sound.
        ServiceError: It does not answer.
    """
    if not database.is_there():
        return KeptDatabase(kind=database.kind)
    copy = copier.folder / database.file
    database.copy(copy)
    copier.take(database.file, copy, sha256(copy))
    revision = "".join(row[0] for row in database.ask(_REVISION.format(database.table)))
    return KeptDatabase(kind=database.kind, file=database.file, revision=revision)


def _require_room(folder: Path) -> None:
    """Refuse a folder that is a whole backup, or anything else than one that was begun."""
    if (folder / MANIFEST).exists():
        raise UsageError(
            f"{folder}: is a whole backup already. Name another folder, or look at this one: "
            f"ganmill backup --verify {folder}"
        )
    is_begun = (folder / JOURNAL).exists()
    if folder.exists() and not is_begun and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there and is no backup. Name an empty or a new folder.")


def _recipes(layout: Layout, missing: list[str]) -> Collection[str]:
    """Return the recipes, by their folders where `params.yaml` cannot be read."""
    try:
        return list(load_recipes(layout.params))
    except RecipeError as error:
        missing.append(f"recipes are told by the folders of models/ alone: {error}")
        return sorted(path.name for path in (layout.root / "models").glob("*"))


def _moment(layout: Layout, settings: Settings, copier: Copier, missing: list[str]) -> _Moment:
    """Copy both databases, and the ledger as it was then.

    Raises:
        BusyError: The ledger changed again and again.
    """
    ours = databases(layout, settings)
    for _ in range(_TRIES):
        made_utc = datetime.now(UTC).isoformat(timespec="seconds")
        before = _bytes(layout.ledger)
        mlflow = _copied(copier, ours["mlflow"])
        if _bytes(layout.ledger) == before:
            break
    else:
        raise BusyError(
            f"{layout.ledger}: changed {_TRIES} times while databases were copied. Run it again."
        )
    kept = {name: _copied(copier, each) for name, each in ours.items() if name != "mlflow"}
    entries: list[ledger.Entry] = []
    if before is not None:
        name = f"{WORKSPACE}/{LEDGER}"
        copy = copier.folder / name
        copier.take(name, copy, write_atomically(copy, before))
        try:
            entries = ledger.read(copy)
        except DamagedError as error:
            missing.append(f"the ledger is not sound: {error}")
    return _Moment(made_utc, {"mlflow": mlflow, **kept}, entries, registered(ours["mlflow"]))


def _copied(copier: Copier, database: Database | None) -> KeptDatabase:
    return copy_database(copier, database) if database else KeptDatabase()


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _copy(copier: Copier, found: Gathered, *, is_quiet: bool) -> dict[str, KeptFile]:
    """Copy what was found; return what was only to be listed."""
    listed: dict[str, KeptFile] = {}
    with progress("copying", found.bytes, is_quiet=is_quiet) as bar:
        for source in found.listed:
            if kept := digest_of(source, bar.add):
                listed[source.path] = kept
        for source in found.copied:
            try:
                copier.copy(source, bar.add)
            except DamagedError as error:  # an object of DVC that no store has sound
                found.missing.append(str(error))
    return listed


def _foreign(kept: dict[str, KeptDatabase]) -> list[str]:
    """Return a line for each database that is not in the backup."""
    lines = []
    for name, database in kept.items():
        if not database.kind:
            setting = f"GANMILL_{name.upper()}_DATABASE"
            lines.append(f"the database of {name}: not ours, unless {setting} names it")
        elif not database.file and name != "login":  # which only some have
            lines.append(f"the database of {name}: there is none yet")
    return lines
