"""Bring the databases to the form that the installed servers want, with a copy of them taken first.

SQLite is upgraded beside itself and takes its place when that has succeeded, so that a kill leaves
it as it was. Postgres goes from form to form in transactions; the same call goes on after a kill.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from flows import stack
from flows.keeping import manifest, server_tables
from flows.keeping.backup import begin, copy_database
from flows.keeping.contents import BACKUPS
from flows.keeping.databases import Database, Sqlite, databases
from flows.keeping.manifest import KeptDatabase, Manifest
from flows.servers import environments, schemas
from flows.servers.schemas import Schema
from flows.settings import Settings, quiet_environment
from gan.durable import remove, run_lock
from gan.errors import DamagedError, ServiceError, UsageError
from gan.paths import Layout

_ERROR = re.compile(r"[\w.]+(Error|Exception)\b")
State = Literal["none yet", "current", "older", "newer"]


@dataclass(frozen=True)
class Tables:
    """The tables of one server.

    Attributes:
        name: mlflow, login or prefect.
        owner: For people.
        found: The form that they have, "" where there are none yet.
        wanted: The form that the installed server wants.
        state: How the two stand to each other.
        database: Where they are.
        schema: What knows the steps from form to form.
    """

    name: str
    owner: str
    found: str
    wanted: str
    state: State
    database: Database
    schema: Schema


def look(layout: Layout, settings: Settings) -> list[Tables]:
    """Return how the tables of our servers stand to what is installed.

    Raises:
        DamagedError: A database is not sound.
        ServiceError: A database does not answer.
    """
    ours = databases(layout, settings)
    wanted = {"prefect": schemas.of_prefect(layout, settings)}
    wanted |= dict(zip(("mlflow", "login"), schemas.of_mlflow(layout, settings), strict=False))
    found = []
    for name, schema in wanted.items():
        database = ours.get(name, ours["mlflow"])  # in Postgres the login is part of MLflow's
        if database is not None:
            found.append(_standing(name, database, schema))
    return found


def upgrade(layout: Layout, settings: Settings, found: Sequence[Tables]) -> Path | None:
    """Upgrade what is older; return where the copy of all databases is, None if nothing was.

    Raises:
        UsageError: The servers are up.
        ServiceError: Tables are newer than what is installed, or an upgrade failed; then the
            database is as it was, or the copy is there to restore.
        GanmillError: There is no room for the copies.
    """
    require_known(found)
    older = [tables for tables in found if tables.state == "older"]
    if not older:
        return None
    with run_lock(layout.lock("stack"), "upgrading the databases"):
        up = stack.status(layout, settings)
        if running := [each.name for each in (up.prefect, up.mlflow) if each.state == "up"]:
            raise UsageError(f"{', '.join(running)}: still up. Stop them first: ganmill down")
        kept = _copies(layout, settings)
        for tables in older:
            _upgrade(layout, settings, tables, kept)
    return kept


def require_known(found: Sequence[Tables]) -> None:
    """Refuse tables that a newer server wrote.

    Raises:
        ServiceError: There are such.
    """
    for tables in found:
        if tables.state == "newer":
            raise ServiceError(
                f"{tables.schema.place}: the tables of {tables.owner} have the form {tables.found},"
                " which what is installed does not know: something newer wrote them. Install that, "
                "or restore a backup."
            )


def _standing(name: str, database: Database, schema: Schema) -> Tables:
    known, newest = schemas.forms(schema.steps)
    wanted, found = ", ".join(sorted(newest)), _form(database, schema.table)
    state: State = "newer"
    if not found:
        state = "none yet"
    elif found in newest:
        state = "current"
    elif found in known:
        state = "older"
    return Tables(name, schema.owner, found, wanted, state, database, schema)


def _form(database: Database, table: str) -> str:
    """Return the form of a server's tables, "" where it has none."""
    if not database.is_there():
        return ""
    try:
        rows = database.ask(f"SELECT version_num FROM {table}")  # noqa: S608  # a name of ours
    except (DamagedError, ServiceError) as error:
        if "no such table" in str(error) or "does not exist" in str(error):
            return ""
        raise
    return "".join(row[0] for row in rows)


def _copies(layout: Layout, settings: Settings) -> Path:
    """Copy the databases alone, as a backup that `restore` takes."""
    now = datetime.now(UTC)
    folder = layout.state / BACKUPS / f"before-upgrade-{now:%Y%m%dT%H%M%SZ}"
    copier = begin(folder)
    kept = {
        name: copy_database(copier, database) if database else KeptDatabase()
        for name, database in databases(layout, settings).items()
    }
    whole = Manifest(
        made_utc=now.isoformat(timespec="seconds"),
        ganmill=version("ganmill"),
        workspace=str(layout.root),
        databases=kept,
        artifacts={"from": "", "are": "left out"},
        data="left out",
        has_assets=False,
        has_keys=False,
        ledger_lines=0,
        champions={},
        files=copier.files,
        left_out=["all but the databases: it was taken before an upgrade of them"],
    )
    manifest.write(folder, whole)
    copier.forget()
    return folder


def _upgrade(layout: Layout, settings: Settings, tables: Tables, kept: Path) -> None:
    database = tables.database
    if not isinstance(database, Sqlite):
        _run(layout, settings, tables, database.url, kept)
        _require_newest(tables, database, kept)
        return
    beside = database.path.with_name(f".{database.path.name}.upgrade.partial")
    _remove(beside)  # what a killed upgrade left
    try:
        database.copy(beside)
        _run(layout, settings, tables, f"sqlite:///{beside}", kept)
        _require_newest(tables, Sqlite(database.name, beside, database.table), kept)
        database.replace(beside)
    finally:
        _remove(beside)


def _remove(file: Path) -> None:
    """Remove a database with what lies beside it."""
    for path in file.parent.glob(f"{file.name}*"):
        remove(path)


def _run(layout: Layout, settings: Settings, tables: Tables, address: str, kept: Path) -> None:
    """Let the server's own program go through the steps."""
    environment = quiet_environment(settings, layout)
    environment.pop("MLFLOW_TRACKING_URI")
    if tables.name == "prefect":
        driver = environments.for_asyncpg(address)
        if address.startswith("sqlite:"):
            driver = address.replace("sqlite:", "sqlite+aiosqlite:", 1)
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = driver
        command = ["prefect", "server", "database", "upgrade", "-y"]
    else:
        environment[server_tables.ADDRESS] = address
        command = [server_tables.__name__, tables.name]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        cwd=layout.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceError(
            f"the tables of {tables.owner} could not be upgraded from {tables.found}: "
            f"{_reason(done.stderr)}. As they were: {kept}"
        )


def _reason(said: str) -> str:
    """Return the line of a traceback that says what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or ["it ended without a word"])[-1]


def _require_newest(tables: Tables, database: Database, kept: Path) -> None:
    found = _form(database, tables.schema.table)
    if found not in tables.wanted.split(", "):
        raise ServiceError(
            f"the tables of {tables.owner} have the form {found} after the upgrade, wanted was "
            f"{tables.wanted}. As they were: {kept}"
        )
