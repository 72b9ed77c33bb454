"""A database in one file of this machine, copied by SQLite's own online backup."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gan.changes import explained, make_folder, rename, sync
from gan.durable import remove, replacing
from gan.errors import DamagedError, GanmillError

_AGAIN_SECONDS = 0.01  # after a writer was in the way, who without a log is there often
_SIDES = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file in use


@dataclass(frozen=True)
class Sqlite:
    """A database in a file.

    Attributes:
        name: Of the server that it belongs to.
        path: Of the file.
        table: Where it says which form its tables have.
    """

    name: str
    path: Path
    table: str = "alembic_version"
    kind: Literal["sqlite"] = "sqlite"

    @property
    def file(self) -> str:
        """Where a backup has it."""
        return f"databases/{self.name}.db"

    @property
    def url(self) -> str:
        """Its address, as SQLAlchemy wants it."""
        return f"sqlite:///{self.path}"

    def is_there(self) -> bool:
        """Return whether anything is in it."""
        return self.path.exists() and self.path.stat().st_size > 0

    def copy(self, target: Path) -> None:
        """Write one moment of it to a file, whoever writes to it meanwhile.

        Raises:
            DamagedError: It is no sound database.
            GanmillError: There is no room for the copy.
        """
        with (
            replacing(target) as partial,
            _explained(self.path),
            closing(_opened(self.path)) as here,
            closing(sqlite3.connect(partial)) as copy,
        ):
            # In one step: in pieces it begins anew with every change.
            here.backup(copy, sleep=_AGAIN_SECONDS)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it

    def ask(self, sql: str) -> list[tuple[str, ...]]:
        """Return the rows of a question, each value as text.

        Raises:
            DamagedError: It is no sound database, or has no such table.
        """
        with _explained(self.path), closing(_opened(self.path)) as here:
            rows = here.execute(sql).fetchall()
        return [tuple("" if value is None else str(value) for value in row) for row in rows]

    def put_back(self, source: Path, aside: Path) -> None:
        """Put a copy in its place; what was there goes to the folder `aside`.

        Raises:
            GanmillError: The folder cannot be written.
        """
        for path in (self.path, *self._sides()):
            if (aside / path.name).exists():  # a restore was killed, and this is what it wrote
                remove(path)
            elif path.exists():
                with explained(path, "moved aside"):
                    make_folder(aside)
                    rename(path, aside / path.name)
        with replacing(self.path) as partial:
            shutil.copyfile(source, partial)

    def replace(self, source: Path) -> None:
        """Let a file take its place, in one step; nobody may have it open.

        Raises:
            DamagedError: It is no sound database.
            GanmillError: The folder cannot be written.
        """
        for path in (source, self.path):  # no log stays that is about the old state
            with _explained(path), closing(_opened(path)) as here:
                here.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                here.execute("PRAGMA journal_mode=DELETE")
        for path in self._sides():
            remove(path)
        with explained(self.path, "written"):
            sync(source)
            rename(source, self.path)
            sync(self.path.parent)

    def _sides(self) -> Iterator[Path]:
        return (self.path.with_name(self.path.name + side) for side in _SIDES)


def problem(file: Path) -> str | None:
    """Return what is wrong with a copy, None when every page of it is sound."""
    try:
        with _explained(file), closing(_opened(file, is_copy=True)) as copy:
            rows = copy.execute("PRAGMA integrity_check").fetchall()
    except GanmillError as error:
        return str(error)
    return None if rows == [("ok",)] else str(rows[0][0])


def _opened(path: Path, *, is_copy: bool = False) -> sqlite3.Connection:
    """Open a file that must be there; of a copy nothing is written beside it."""
    how = "mode=ro&immutable=1" if is_copy else "mode=rw"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=60)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DamagedError(
            f"{path}: SQLite says: {error}. Is there room on the disk? Else: ganmill restore BACKUP"
        ) from error
