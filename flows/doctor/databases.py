"""The databases of our servers: sound, of the right form, written to, reached."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.disk_use import in_units
from flows.doctor.finding import Finding, bad, ok, unknown, warn
from flows.servers import addresses, schemas
from flows.servers.schemas import Schema
from flows.settings import Settings
from gan.paths import Layout

_CHECK_SECONDS = 4.0
_CONNECT_SECONDS = 3
_STEPS = 10_000  # of SQLite's machine, between two looks at the clock
_LARGE_BYTES = 5 * 10**9
_HEADING = "*** in database main ***"
_WAL = 2  # of the header's byte 18: a write-ahead log
_RESTORE = "ganmill down; ganmill restore BACKUP"
_POSTGRES = "postgresql://"
_FORM = "SELECT version_num FROM {}"  # the name of a table of ours


def databases(layout: Layout, settings: Settings) -> list[Finding]:
    """Look at each database that is ours."""
    found: list[Schema] = []
    if not addresses.is_given(settings, "prefect"):
        found.append(schemas.of_prefect(layout, settings))
    if not addresses.is_given(settings, "mlflow"):
        found += schemas.of_mlflow(layout, settings)
    return [line for schema in found for line in _looked_at(schema)]


def _looked_at(schema: Schema) -> list[Finding]:
    name = f"{schema.owner} database"
    if schema.address.startswith(_POSTGRES):
        return [_postgres(name, schema)]
    path = Path(schema.address)
    if not path.exists():
        return [ok(name, "is made when the server starts")]
    try:
        return [_sqlite(name, schema, path)]
    except sqlite3.Error as error:
        return [bad(name, f"{path}: {error}", _RESTORE)]
    except OSError as error:
        return [bad(name, f"{path}: {error.strerror or error}", f"ls -l {path.parent}")]


def _sqlite(name: str, schema: Schema, path: Path) -> Finding:
    """Look at a file.

    Raises:
        sqlite3.Error: It is no sound database.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with closing(_opened(path)) as database:
        problem = _problem(database)
        form = "" if problem else _form_in(database, schema)
    says = f"{path.name}, {in_units(size)}"
    if problem:
        return bad(name, f"{path}: {problem}", _RESTORE)
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return bad(name, f"{path}: cannot be written", f"ls -l {path.parent}; chown or chmod it")
    if problem is None:
        return unknown(name, f"{says}: not checked within {_CHECK_SECONDS:g} s", "")
    if size > _LARGE_BYTES:
        return warn(name, f"{says}: SQLite slows down", "ganmill retain --dry-run, or Postgres")
    return _of_form(name, schema, says, form)


def _opened(path: Path) -> sqlite3.Connection:
    """Open a file for reading, so that nothing is written beside it.

    Who reads a file with a write-ahead log makes that log if it is not there; but without it
    nobody has the file open, and it may be read as what does not change.
    """
    with path.open("rb") as file:
        header = file.read(20)
    log = path.with_name(f"{path.name}-wal")
    still = len(header) == 20 and header[18] == _WAL and not log.exists()
    how = "mode=ro&immutable=1" if still else "mode=ro"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=_CONNECT_SECONDS)


def _problem(database: sqlite3.Connection) -> str | None:
    """Return what SQLite's own quick check says; "" of a sound one, None if there was no time."""
    deadline = time.monotonic() + _CHECK_SECONDS
    database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        (row,) = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return None
        raise
    said = " ".join(str(row[0]).replace(_HEADING, "").split())
    return "" if said == "ok" else said


def _postgres(name: str, schema: Schema) -> Finding:
    """Look at a database of a Postgres server; nothing shows the password."""
    try:
        import psycopg2  # type: ignore[import-untyped]
    except ImportError:
        mend = "pip install 'ganmill[postgres]'"
        return bad(name, f"{schema.setting} is set, and what speaks to it is missing", mend)
    try:
        with (
            closing(psycopg2.connect(schema.address, connect_timeout=_CONNECT_SECONDS)) as there,
            there.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_database_size(current_database()), version(), "
                           "current_setting('transaction_read_only')")  # fmt: skip
            size, version, read_only = cursor.fetchone()
            form = _form_at(cursor, schema)
    except (psycopg2.Error, UnicodeError) as error:
        return bad(name, f"{_place(schema)}: {_reason(error)}", _ready(schema))
    says = f"{_place(schema)}, {' '.join(version.split()[:2])}, {in_units(size)}"
    if read_only == "on":
        return bad(name, f"{says}: is read-only", "connect to the primary server")
    return _of_form(name, schema, says, form)


def _form_in(database: sqlite3.Connection, schema: Schema) -> str:
    """Return the number of the tables' form, "" where there are none yet."""
    there = database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (schema.table,))
    if there.fetchone() is None:
        return ""
    row = database.execute(_FORM.format(schema.table)).fetchone()
    return str(row[0]) if row else ""


def _form_at(cursor: Any, schema: Schema) -> str:  # psycopg2 tells mypy nothing
    """Return the number of the tables' form, "" where there are none yet."""
    cursor.execute("SELECT to_regclass(%s)", (schema.table,))
    if cursor.fetchone()[0] is None:
        return ""
    cursor.execute(_FORM.format(schema.table))
    row = cursor.fetchone()
    return str(row[0]) if row else ""


def _of_form(name: str, schema: Schema, says: str, form: str) -> Finding:
    """Look at whether the tables are those of the installed server.

    Args:
        name: Of the database.
        schema: It.
        says: What is known of it.
        form: The number of its tables' form; "" where there are none yet.
    """
    known, newest = schemas.forms(schema.steps)
    if form and form not in known:
        says = f"{says}: its tables are of a newer version ({form}) than what is installed"
        return bad(name, says, "install the version of ganmill that wrote them")
    if form and form not in newest:
        says = f"{says}: its tables are of an older version"
        return warn(name, says, "ganmill backup; ganmill down; ganmill up")
    return ok(name, says)


def _ready(schema: Schema) -> str:
    """Return the command that asks whether a Postgres is there."""
    try:
        parts = urlsplit(schema.address)
        where = f"pg_isready -h {parts.hostname} -p {parts.port or 5432}"
    except ValueError:
        where = "correct it"
    return f"{where}   ({schema.setting})"


def _place(schema: Schema) -> str:
    """Return where a database is, without who asks."""
    try:
        parts = urlsplit(schema.address)
        port = parts.port or 5432
    except ValueError:
        return schema.setting
    return f"{parts.hostname}:{port}{parts.path}"


def _reason(error: Exception) -> str:
    """Return why Postgres did not answer, in words of ours: its own may quote the address."""
    said = str(error)
    for words, reason in (
        ("Connection refused", "nobody listens there"),
        ("password authentication failed", "it refuses user or password"),
        ("no pg_hba.conf entry", "it does not let this machine in"),
        ("does not exist", "it has no such database or user"),
        ("could not translate host name", "no machine has this name"),
        ("timeout expired", f"no answer for {_CONNECT_SECONDS} s"),
        ("starting up", "it is starting"),
        ("too many clients", "it has no connection left"),
        ("permission denied", "this user may not"),
    ):
        if words in said:
            return reason
    return f"it does not answer ({type(error).__name__})"
