"""Put a backup back; killed anywhere, the same call goes on.

Nothing is touched before every byte of the backup was found sound and it is known what lies in the
way. What is replaced is moved aside, not deleted. Databases come last: a workspace that is half
restored has none.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from flows import ledger, stack
from flows.held import held
from flows.keeping import dvc_objects
from flows.keeping.artifact_store import ArtifactStore, FolderStore, Seen, open_artifacts
from flows.keeping.checking import require_sound
from flows.keeping.contents import REPLACED, RESTORING, belongs
from flows.keeping.copying import Source, digest_of
from flows.keeping.databases import Database, databases
from flows.keeping.manifest import ARTIFACTS, OBJECTS, WORKSPACE, KeptFile, Manifest
from flows.keeping.placing import place_file
from flows.keeping.progress import Progress, progress
from flows.keeping.sources import LEDGER
from flows.settings import Settings
from gan.durable import read_json, remove, run_lock, sha256, write_json
from gan.errors import DamagedError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipes

_SHOWN = 3


@dataclass(frozen=True)
class Restored:
    """What was put back.

    Attributes:
        manifest: What the backup says of itself.
        id: The backup's.
        aside: Where what was replaced lies; None where nothing was.
        lacking: What could not be had, a line each.
    """

    manifest: Manifest
    id: str
    aside: Path | None
    lacking: list[str]


@dataclass
class _Restoring:
    """What is known of a restore on the way."""

    layout: Layout
    backup: Path
    whole: Manifest
    aside: Path
    store: ArtifactStore | None
    databases: Mapping[str, Database | None]
    lacking: list[str] = field(default_factory=list)


def restore(
    layout: Layout,
    settings: Settings,
    backup: Path,
    *,
    replace: bool = False,
    is_quiet: bool = False,
) -> Restored:
    """Put a backup into a workspace that is a clone of the code.

    Args:
        layout: The workspace.
        settings: Where its databases and artifacts are.
        backup: A folder.
        replace: Whether to move aside what is in the way.
        is_quiet: No bar.

    Raises:
        UsageError: The servers are up, something is in the way, or the backup does not fit the
            settings.
        DamagedError: The backup is not what it was.
        ServiceError: A database or store does not answer.
        BusyError: Somebody starts or stops the servers.
        GanmillError: There is no room.
    """
    whole, called = require_sound(backup, is_quiet=is_quiet)
    ours = databases(layout, settings)
    _require_fit(layout, whole, ours)
    with run_lock(layout.lock("stack"), "restoring a backup"):
        _require_down(layout, settings)
        note = _note(layout, called)
        store = open_artifacts(layout, settings)
        aside = layout.state / note["aside"]
        work = _Restoring(layout, backup, whole, aside, store, ours)
        if note["step"] == "new":
            if not replace:
                _require_free(work)
            write_json(layout.state / RESTORING, {**note, "step": "begun"})
        is_first = replace and note["step"] != "filling" and whole.artifacts["are"] == "copied"
        if is_first and isinstance(store, FolderStore):
            store.move_to(aside / "artifacts")
        write_json(layout.state / RESTORING, {**note, "step": "filling"})
        _put_back(work, is_quiet=is_quiet)
        remove(layout.state / RESTORING)
    return Restored(whole, called, aside if aside.is_dir() else None, work.lacking)


def _require_fit(layout: Layout, whole: Manifest, ours: Mapping[str, Database | None]) -> None:
    """Refuse a folder that is no clone, and databases of another kind."""
    if not (layout.root / "dvc.yaml").is_file():
        raise UsageError(
            f"{layout.root}: has no dvc.yaml. Clone the code there first; a backup holds none."
        )
    for name, kept in whole.databases.items():
        there = ours.get(name)
        if kept.file and there is not None and there.kind != kept.kind:
            setting = f"GANMILL_{name.upper()}_DATABASE"
            raise UsageError(
                f"{setting}: the backup holds a {kept.kind} database of {name}, and here is "
                f"{there.kind}. Set it as it was when the backup was taken."
            )
    odd = [name for name in whole.below(WORKSPACE) if not belongs(name)]
    if odd:
        raise DamagedError(f"{WORKSPACE}/{odd[0]}: is no file that a backup holds. Use another.")


def _require_down(layout: Layout, settings: Settings) -> None:
    found = stack.status(layout, settings)
    ours = [server for server in (found.prefect, found.mlflow) if server.state == "up"]
    if running := [server.name for server in (*ours, *found.others)]:
        raise UsageError(f"{', '.join(running)}: still up. Stop them first: ganmill down")
    work = {name: process for name, process in held(layout).items() if name != "stack"}
    for name, process in work.items():
        raise UsageError(f"process {process} is at work here ({name}). Let it end, or stop it.")


def _note(layout: Layout, called: str) -> dict[str, str]:
    """Return the note of a restore: how far it came, and where it moves things aside.

    Raises:
        UsageError: Another backup is half restored.
    """
    path = layout.state / RESTORING
    if not path.exists():
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return {"backup": called, "aside": f"{REPLACED}{stamp}", "step": "new"}
    note: dict[str, str] = read_json(path)
    if note["backup"] != called:
        raise UsageError(
            f"{path}: backup {note['backup']} is half restored here. Restore that one to its end, "
            "or delete this file."
        )
    return note


def _require_free(work: _Restoring) -> None:
    """Refuse to replace what is not in the backup as it is, or in git.

    Raises:
        UsageError: With what is in the way, and whether it is newer.
    """
    found = [
        f"the database of {name}"
        for name, kept in work.whole.databases.items()
        if kept.file and (there := work.databases.get(name)) is not None and there.is_there()
    ]
    unlike = [
        name
        for name, kept in work.whole.below(WORKSPACE).items()
        if (path := work.layout.root / name).exists() and sha256(path) != kept.sha256
    ]
    committed = _committed(work.layout, unlike)
    found += [name for name in unlike if name not in committed]
    if not found:
        return
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UsageError(
        f"{work.layout.root}: {', '.join(found[:_SHOWN])}{more} would be replaced{_newer(work)}. "
        "With --replace they are moved aside, to .ganmill/replaced-<time>/."
    )


def _newer(work: _Restoring) -> str:
    """Say how many lines the ledger here has that the backup's does not."""
    try:
        here = ledger.read(work.layout.ledger)
        there = {entry.digest for entry in ledger.read(work.backup / WORKSPACE / LEDGER)}
    except DamagedError:
        return ""
    extra = [entry for entry in here if entry.digest not in there]
    if not extra:
        return ""
    return f"; the ledger here has {len(extra)} lines more, the newest of {extra[-1].time_utc[:16]}"


def _committed(layout: Layout, names: list[str]) -> set[str]:
    """Return which files are in git just as they are: replacing those loses nothing."""
    if not names:
        return set()
    command = ["git", "-C", str(layout.root), "ls-files", "-z", "--", *names]
    dirty = ["git", "-C", str(layout.root), "diff", "-z", "--name-only", "--relative", "HEAD", "--"]
    try:
        known, changed = (
            set(subprocess.run(each, check=True, capture_output=True).stdout.decode().split("\0"))
            for each in (command, [*dirty, *names])
        )
    except (OSError, subprocess.CalledProcessError):
        return set()
    return known - changed - {""}


def _put_back(work: _Restoring, *, is_quiet: bool) -> None:
    """Write files, artifacts and data, then the databases."""
    layout, whole = work.layout, work.whole
    with progress("restoring", whole.bytes, is_quiet=is_quiet) as bar:
        for name, kept in whole.below(WORKSPACE).items():
            source = work.backup / WORKSPACE / name
            place_file(source, layout.root / name, kept, work.aside / "workspace" / name)
            bar.add(kept.bytes)
        _artifacts(work, bar)
        _objects(work, bar)
        for name, database in whole.databases.items():
            there = work.databases.get(name)
            if database.file and there is not None:
                there.put_back(work.backup / database.file, work.aside / name)
            elif database.file:
                work.lacking.append(
                    f"the database of {name} is in the backup; the server here is somebody else's"
                )


def _artifacts(work: _Restoring, bar: Progress) -> None:
    """Put MLflow's artifacts into its store, where they are not."""
    kept = work.whole.below(ARTIFACTS)
    if work.store is None:
        if kept:
            work.lacking.append("artifacts are in the backup; MLflow here is somebody else's")
        return
    there = work.store.listing()
    for path, file in kept.items():
        seen = there.get(path)
        if seen is None or seen.bytes != file.bytes or not _is_same(work.store, path, file):
            work.store.put(path, work.backup / ARTIFACTS / path)
        bar.add(file.bytes)
    listed = [name.removeprefix(f"{ARTIFACTS}/") for name in work.whole.listed]
    gone = [path for path in listed if path not in there]
    if gone:
        work.lacking.append(f"{len(gone)} artifacts were only listed and are gone, say {gone[0]}")


def _is_same(store: ArtifactStore, path: str, file: KeptFile) -> bool:
    found = digest_of(
        Source(path, Seen(file.bytes, ""), lambda: store.opened(path)), lambda _: None
    )
    return found is not None and found.sha256 == file.sha256


def _objects(work: _Restoring, bar: Progress) -> None:
    """Fill DVC's cache, and lay out what `dvc.lock` names."""
    kept = work.whole.below(OBJECTS)
    if not dvc_objects.is_used(work.layout):
        return
    names = {path: path.replace("/", "", 1) for path in kept}
    dvc_objects.put_back(work.layout, work.backup / OBJECTS, names)
    bar.add(sum(file.bytes for file in kept.values()))
    recipes = list(load_recipes(work.layout.params))
    work.lacking += dvc_objects.lay_out(work.layout, recipes)
