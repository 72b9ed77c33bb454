"""A database of a Postgres server, copied and put back by Postgres's own client programs.

Where it is and who asks goes to them through the environment alone: no list of processes, message
or file shows a password.
"""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from gan.changes import explained, make_folder
from gan.durable import replacing
from gan.errors import GanmillError, ServiceError, UsageError

_CONNECT_SECONDS = "10"
_VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "options": "PGOPTIONS",
}  # fmt: skip
_COUNT = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
_EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
# Lines of a dump's list about what is there in any database, or belongs to its administrator.
_NOT_OURS = re.compile(r"^\d+;.*( SCHEMA - public |COMMENT - SCHEMA public |COMMENT - EXTENSION )")
_PLAIN = ("--no-owner", "--no-privileges", "--no-password")
_COLUMN = "\x1f"


@dataclass(frozen=True)
class Postgres:
    """A database of a server.

    Attributes:
        name: Of our server that it belongs to.
        address: postgresql://user:password@host:port/database.
        table: Where it says which form its tables have.
    """

    name: str
    address: SecretStr
    table: str = "alembic_version"
    kind: Literal["postgresql"] = "postgresql"

    @property
    def file(self) -> str:
        """Where a backup has it."""
        return f"databases/{self.name}.dump"

    @property
    def url(self) -> str:
        """Its address, as SQLAlchemy wants it; a secret."""
        return self.address.get_secret_value()

    def is_there(self) -> bool:
        """Return whether anything is in it.

        Raises:
            ServiceError: It does not answer.
            UsageError: Postgres's client programs are missing.
        """
        return self.ask(_COUNT) != [("0",)]

    def copy(self, target: Path) -> None:
        """Write one moment of it to a file, whoever writes to it meanwhile.

        Raises:
            ServiceError: It does not answer.
            UsageError: Postgres's client programs are missing.
            GanmillError: There is no room for the copy.
        """
        with replacing(target) as partial:
            self._run("pg_dump", "--format=custom", *_PLAIN, "--file", str(partial))

    def ask(self, sql: str) -> list[tuple[str, ...]]:
        """Return the rows of a question, each value as text.

        Raises:
            ServiceError: It does not answer, or has no such table.
            UsageError: Postgres's client programs are missing.
        """
        words = ["-X", "-w", "-q", "-A", "-t", "-F", _COLUMN, "-v", "ON_ERROR_STOP=1", "-c", sql]
        lines = self._run("psql", *words).splitlines()
        return [tuple(line.split(_COLUMN)) for line in lines if line]

    def put_back(self, source: Path, aside: Path) -> None:
        """Fill it from a copy, in one transaction; what was in it is dumped to `aside` first.

        Raises:
            ServiceError: It does not answer, or refuses.
            UsageError: Postgres's client programs are missing.
        """
        if self.is_there():
            kept = aside / f"{self.name}.dump"
            if not kept.exists():  # else a restore was killed, and this is half of it
                with explained(aside, "written"):
                    make_folder(aside)
                self.copy(kept)
            self.ask(_EMPTY)
        listed = self._run("pg_restore", "--list", str(source)).splitlines()
        with NamedTemporaryFile("w", prefix="ganmill-", suffix=".list") as wanted:
            wanted.write("".join(f"{line}\n" for line in listed if not _NOT_OURS.match(line)))
            wanted.flush()
            words = [*_PLAIN, "--exit-on-error", "--single-transaction"]
            words += ["--use-list", wanted.name, "--dbname", self._environment()["PGDATABASE"]]
            self._run("pg_restore", *words, str(source))

    def _run(self, program: str, *words: str) -> str:
        done = _started(program, *words, **self._environment())
        if done.returncode:
            raise ServiceError(f"the database of {self.name}: {program}: {_last(done.stderr)}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Return where it is and who asks, as libpq reads it."""
        parts = urlsplit(self.url)
        given = {
            "PGHOST": parts.hostname or "",
            "PGPORT": str(parts.port or ""),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": unquote(parts.path.lstrip("/")),
            "PGCONNECT_TIMEOUT": _CONNECT_SECONDS,
        }
        asked = {_VARIABLES[k]: v for k, v in parse_qsl(parts.query) if k in _VARIABLES}
        return {name: value for name, value in {**given, **asked}.items() if value}


def problem(file: Path) -> str | None:
    """Return what is wrong with a copy, None when every row of it can be read."""
    try:
        done = _started("pg_restore", "--file", os.devnull, str(file))
    except GanmillError as error:
        return str(error)
    return _last(done.stderr) if done.returncode else None


def _started(program: str, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [_program(program), *words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **more}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServiceError(f"{program}: cannot be started ({error.strerror or error}).") from error


@lru_cache(maxsize=8)
def _program(name: str) -> str:
    """Return the newest of Postgres's client programs here: an old one refuses a newer server.

    Raises:
        UsageError: There is none.
    """
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = {str(each) for each in (shutil.which(name), *packaged) if each}
    if not found:
        raise UsageError(
            f"{name}: is not on PATH nor in /usr/lib/postgresql/*/bin. Install Postgres's client "
            "programs, say: apt-get install postgresql-client"
        )
    return max(sorted(found), key=_version)


def _version(program: str) -> tuple[int, ...]:
    with suppress(OSError):  # then another one is taken, if there is one
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        return tuple(int(each) for each in re.findall(r"\d+", said.stdout))
    return ()


def _last(said: str) -> str:
    """Return the line that says what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    return (errors or lines or ["ended without a word"])[-1]
