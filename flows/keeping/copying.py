"""Copies files into a backup, once: what was copied before a kill is not copied again.

Each copy is a line of a journal: path, size, stamp of the source, SHA-256. Where source and copy
still are what the line says, the line stands.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flows.keeping.artifact_store import Seen
from flows.keeping.manifest import JOURNAL, MANIFEST, KeptFile
from gan.durable import append_line, remove, replacing

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file to copy.

    Attributes:
        path: Where it goes in the backup.
        seen: What a listing said of it.
        open: Opens it to read.
    """

    path: str
    seen: Seen
    open: Callable[[], AbstractContextManager[BinaryIO]]


class Copier:
    """Copies into one folder, with a journal."""

    def __init__(self, folder: Path) -> None:
        """Take up the journal that a killed copier left in the folder."""
        self.folder = folder
        self._journal = folder / JOURNAL
        self._known = dict(_lines(self._journal))
        self.files: dict[str, KeptFile] = {}

    def copy(self, source: Source, add: Callable[[int], None]) -> bool:
        """Copy a file, unless its copy is there; return whether there was anything to copy.

        Args:
            source: It may have vanished since it was listed.
            add: Is told of bytes as they are done.

        Raises:
            GanmillError: There is no room for it, or it cannot be read.
            ServiceError: The store that it is in does not answer.
        """
        target = self.folder / source.path
        if kept := self._there(source, target):
            add(kept.bytes)
            self.files[source.path] = kept
            return True
        try:
            with source.open() as file:
                digest, size = _written(file, target, add)
        except FileNotFoundError:
            return False
        kept = self._note(source.path, source.seen, size, digest)
        self.files[source.path] = kept
        return True

    def take(self, path: str, made: Path, digest: str) -> None:
        """Take up a file that somebody else wrote into the folder."""
        self.files[path] = KeptFile(bytes=made.stat().st_size, sha256=digest)

    def sweep(self) -> None:
        """Remove what lies in the folder and is not among the files, say of an earlier try.

        Raises:
            GanmillError: It cannot be removed.
        """
        wanted = {*self.files, JOURNAL, MANIFEST}
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    remove(path)
            elif path.relative_to(self.folder).as_posix() not in wanted:
                remove(path)

    def forget(self) -> None:
        """Remove the journal: the backup is whole."""
        remove(self._journal)

    def _there(self, source: Source, target: Path) -> KeptFile | None:
        known = self._known.get(source.path)
        same = known and known[0] == [source.seen.bytes, source.seen.stamp]
        if not known or not same or not target.is_file():
            return None
        return known[1] if target.stat().st_size == known[1].bytes else None

    def _note(self, path: str, seen: Seen, size: int, digest: str) -> KeptFile:
        changed = int(seen.stamp) if seen.stamp.isdecimal() else 0
        kept = KeptFile(bytes=size, sha256=digest, modified_ns=changed)
        row = {"path": path, "seen": [seen.bytes, seen.stamp], "kept": kept.model_dump()}
        append_line(self._journal, json.dumps(row))
        return kept


def digest_of(source: Source, add: Callable[[int], None]) -> KeptFile | None:
    """Return size and SHA-256 of a file by reading it; None where it has vanished.

    Raises:
        ServiceError: The store that it is in does not answer.
    """
    try:
        with source.open() as file:
            digest, size = _unwrapped(lambda: _pumped(file, None, add))
    except FileNotFoundError:
        return None
    return KeptFile(bytes=size, sha256=digest)


class _UnreadError(Exception):
    """A source could not be read; that is no fault of the target."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _written(source: BinaryIO, target: Path, add: Callable[[int], None]) -> tuple[str, int]:
    """Copy an open file to a path, whole or not at all; return its SHA-256 and size."""

    def write() -> tuple[str, int]:
        with replacing(target) as partial, partial.open("wb") as copy:
            return _pumped(source, copy, add)

    return _unwrapped(write)


def _unwrapped(work: Callable[[], tuple[str, int]]) -> tuple[str, int]:
    """Return `work()`; what a source failed with goes to whoever opened it, who knows its words."""
    try:
        return work()
    except _UnreadError as error:
        raise error.error from None


def _pumped(
    source: BinaryIO, target: BinaryIO | None, add: Callable[[int], None]
) -> tuple[str, int]:
    """Read a file to its end, into another if there is one; return its SHA-256 and size."""
    digest, size = hashlib.sha256(), 0
    while chunk := _chunk(source):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
        add(len(chunk))
    return digest.hexdigest(), size


def _chunk(source: BinaryIO) -> bytes:
    try:
        return source.read(_CHUNK_BYTES)
    except OSError as error:
        raise _UnreadError(error) from error


def _lines(journal: Path) -> list[tuple[str, tuple[list[object], KeptFile]]]:
    """Return what a journal says; a line that a kill tore is left out."""
    found = []
    for line in journal.read_bytes().split(b"\n") if journal.exists() else ():
        try:
            row = json.loads(line)
            kept = KeptFile.model_validate(row["kept"])
            found.append((str(row["path"]), (list(row["seen"]), kept)))
        except (ValueError, KeyError, TypeError):
            continue
    return found
