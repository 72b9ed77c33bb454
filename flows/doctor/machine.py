"""The machine below: disk, the folder's file system, open files, who holds which lock."""

import fcntl
import os
import resource
import tempfile
from pathlib import Path

import psutil

from flows.disk_use import Size, free_bytes, in_units, size_of
from flows.doctor.finding import Finding, bad, few, ok, warn
from flows.held import held
from gan.errors import RecipeError
from gan.paths import Layout
from gan.recipe import load_recipes

_COUNTING_SECONDS = 2.0
_ROUNDS = 10  # of a retraining and a batch, that should have room
_COPIES = 5  # of a model: workspace, DVC's cache and remote, bundle store, MLflow
_FREE = "ganmill retain --dry-run"
_LEAST_FILES, _WANTED_FILES = 256, 1024
_LEAST_SHARE_OF_NAMES = 0.01
# Where a lock may not hold for other machines, or SQLite's files break.
_SHARED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "beegfs", "glusterfs"}
)


def disk(layout: Layout) -> list[Finding]:
    """Look at what is free, against what a retraining and a batch took here."""
    try:
        free, total = free_bytes(layout.root)
        names = os.statvfs(layout.root)
    except OSError as error:
        return [bad("disk", f"does not answer: {error.strerror or error}", f"ls {layout.root}")]
    cache = size_of([layout.root / ".dvc" / "cache"], seconds=_COUNTING_SECONDS)
    state = size_of([layout.state], seconds=_COUNTING_SECONDS)
    taken = f"DVC cache {cache.shown}, .ganmill {state.shown}"
    says = f"{in_units(free)} of {in_units(total)} free; {taken}"
    if names.f_files and names.f_favail < _LEAST_SHARE_OF_NAMES * names.f_files:
        return [warn("disk", f"{says}; {names.f_favail:,} files more, then it is full", _FREE)]
    return [has_room(says, free, _took(layout))]


def has_room(says: str, free: int, took: int) -> Finding:
    """Return whether retrainings and batches have room.

    Args:
        says: What is known of the disk.
        free: Bytes.
        took: Bytes that the largest retraining with its batch took here; 0: there was none.
    """
    if not took:
        return ok("disk", says)
    says = f"{says}; a retraining and a batch took {in_units(took)} here"
    if free < took:
        return bad("disk", f"{says}: no other has room", _FREE)
    if free < _ROUNDS * took:
        return warn("disk", f"{says}: {free // took} more have room", _FREE)
    return ok("disk", says)


def folder(layout: Layout) -> list[Finding]:
    """Look at the workspace's file system: is it written to, do locks hold?"""
    place = layout.state if layout.state.is_dir() else layout.root
    kind = _file_system(place)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
            holds = _locks_hold(Path(probe.name))
    except OSError as error:
        says = f"{place}: cannot be written ({error.strerror or error})"
        return [bad("folder", says, f"chown -R {_user()} {layout.root}")]
    if not holds:
        says = f"{place}: locks do not hold on this file system ({kind or 'unknown'})"
        return [bad("folder", says, "move the workspace to a disk of this machine")]
    if kind in _SHARED or kind.startswith("fuse."):
        says = (
            f"{place} is on {kind}: SQLite may lose data there, and locks may stay on one machine"
        )
        return [warn("folder", says, "move .ganmill to a local disk, or set GANMILL_*_DATABASE")]
    return [ok("folder", f"{kind or 'its file system'}: written, and locks hold")]


def files(layout: Layout) -> list[Finding]:  # noqa: ARG001  # checks are called alike
    """Look at how many files a process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    says = f"{'any number' if soft == resource.RLIM_INFINITY else soft} may be open at once"
    if soft == resource.RLIM_INFINITY or soft >= _WANTED_FILES:
        return [ok("open files", says)]
    if soft < _LEAST_FILES:
        return [bad("open files", f"{says}; the servers need more", "ulimit -n 4096")]
    return [warn("open files", f"{says}; large batches may need more", "ulimit -n 4096")]


def locks(layout: Layout) -> list[Finding]:
    """Look at who is at work in the workspace."""
    found = held(layout)
    if not found:
        return [ok("locks", "nobody holds one")]
    lines = [f"{name} by {_process(process)}" for name, process in found.items()]
    strange = [name for name, process in found.items() if not _lives(process)]
    if strange:
        says = f"{few(lines)}; {few(strange)}: by a process of another machine"
        return [warn("locks", says, "end that process, on the machine that it is on")]
    return [ok("locks", f"held: {few(lines)}")]


def _took(layout: Layout) -> int:
    """Return what the largest retraining with its batch took of the disk; 0: there was none."""
    try:
        names = list(load_recipes(layout.params))
    except RecipeError:  # `recipes` tells of it
        return 0
    return max((_took_by(layout, name) for name in names), default=0)


def _took_by(layout: Layout, recipe: str) -> int:
    def size(*places: Path) -> Size:
        return size_of(places, seconds=_COUNTING_SECONDS)

    runs = _newest(layout.run(recipe))
    if runs is None:
        return 0
    batch = _newest(layout.batches(recipe))
    model, report = size(layout.bundle(recipe)), size(layout.evaluation(recipe))
    minted = size(batch).bytes if batch else 0
    return size(runs).bytes + _COPIES * model.bytes + 2 * report.bytes + minted


def _newest(folder: Path) -> Path | None:
    inside = [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
    return max(inside, key=lambda each: each.stat().st_mtime, default=None)


def _locks_hold(path: Path) -> bool:
    """Tell whether a file that is locked cannot be locked again."""
    with path.open("rb") as first, path.open("rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _file_system(place: Path) -> str:
    """Return the kind of file system that a folder is on, "" where the machine does not say."""
    found, kind = -1, ""
    for each in psutil.disk_partitions(all=True):
        if place.resolve().is_relative_to(each.mountpoint) and len(each.mountpoint) > found:
            found, kind = len(each.mountpoint), each.fstype
    return kind


def _process(number: str) -> str:
    try:
        words = psutil.Process(int(number)).cmdline()
    except (ValueError, psutil.Error):
        return f"process {number}"
    return f"process {number} ({' '.join(Path(word).name for word in words[:4])})"


def _lives(number: str) -> bool:
    return number.isdigit() and psutil.pid_exists(int(number))


def _user() -> str:
    try:
        return psutil.Process().username()
    except (KeyError, psutil.Error):
        return str(os.getuid())
