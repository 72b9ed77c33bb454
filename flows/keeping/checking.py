"""Whether a backup is still what it was: every byte, both databases, the chain of the ledger."""

from collections.abc import Iterator
from pathlib import Path

from flows import ledger
from flows.keeping import databases, manifest
from flows.keeping.artifact_store import Seen, files_below, reading
from flows.keeping.copying import Source, digest_of
from flows.keeping.manifest import JOURNAL, MANIFEST, WORKSPACE, KeptFile, Manifest
from flows.keeping.progress import progress
from flows.keeping.sources import LEDGER
from gan.errors import DamagedError


def check(folder: Path, *, is_quiet: bool = False) -> tuple[Manifest, str, list[str]]:
    """Return what a backup says of itself, its id, and a line for each thing that is wrong.

    Raises:
        UsageError: There is no backup, or it is not whole.
        DamagedError: Its manifest cannot be read.
    """
    whole, digest = manifest.read(folder)
    problems = list(_of_files(folder, whole, is_quiet=is_quiet))
    problems += list(_of_databases(folder, whole))
    problems += list(_of_ledger(folder, whole))
    return whole, digest[:12], problems


def require_sound(folder: Path, *, is_quiet: bool = False) -> tuple[Manifest, str]:
    """Return what a backup says of itself, and its id; nothing may be wrong with it.

    Raises:
        UsageError: There is no backup, or it is not whole.
        DamagedError: It is not what it was; the first thing that is wrong is named.
    """
    whole, called, problems = check(folder, is_quiet=is_quiet)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DamagedError(
            f"{folder}: {problems[0]}{more}. It is not what it was when it was taken; use another. "
            f"See all: ganmill backup --verify {folder}"
        )
    return whole, called


def _of_files(folder: Path, whole: Manifest, *, is_quiet: bool) -> Iterator[str]:
    there = dict(files_below(folder))
    with progress("checking", whole.bytes, is_quiet=is_quiet) as bar:
        for name, wanted in whole.files.items():
            seen = there.pop(name, None)
            if seen is None:
                yield f"{name} is missing"
            elif digest_of(_source(folder, name, seen), bar.add) != _bare(wanted):
                yield f"{name} is altered"
    for name in sorted(set(there) - {MANIFEST, JOURNAL}):
        yield f"{name} is there and is not in {MANIFEST}"


def _source(folder: Path, name: str, seen: Seen) -> Source:
    return Source(name, seen, lambda: reading(folder / name))


def _bare(file: KeptFile) -> KeptFile:
    return file.model_copy(update={"modified_ns": 0})


def _of_databases(folder: Path, whole: Manifest) -> Iterator[str]:
    for database in whole.databases.values():
        path = folder / database.file
        if database.kind and database.file and path.is_file():
            wrong = databases.problem(database.kind, path)
            if wrong:
                yield f"{database.file} cannot be used: {wrong}"


def _of_ledger(folder: Path, whole: Manifest) -> Iterator[str]:
    path = folder / WORKSPACE / LEDGER
    try:
        found = len(ledger.read(path))
    except DamagedError as error:
        yield str(error)
        return
    if found != whole.ledger_lines:
        yield f"{WORKSPACE}/{LEDGER} has {found} lines, {MANIFEST} says {whole.ledger_lines}"
