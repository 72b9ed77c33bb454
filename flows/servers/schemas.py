"""Whether a database's tables are those of the installed server: as old, as new, or newer.

Both servers number their tables' forms and know the steps from one to the next. An older form is
upgraded; a newer one was written by a version that is not installed here, and is left alone.
"""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from flows.settings import Settings
from gan.errors import ServiceError, UsageError
from gan.paths import Layout

_CONNECT_SECONDS = 10
_REVISION = re.compile(r"""^(down_)?revision\b[^=\n]*=\s*["']([0-9A-Za-z_]+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Schema:
    """The tables of one server: a SQLite file or a Postgres address, and the steps to their form.

    `address` may hold a password; `place` is what may be shown.
    """

    owner: str
    setting: str
    address: str
    steps: Path
    table: str = "alembic_version"

    @property
    def place(self) -> str:
        """Return where the tables are, without a password."""
        if not self.address.startswith("postgresql://"):
            return self.address
        parts = urlsplit(self.address)
        port = f":{parts.port}" if parts.port else ""
        return f"{self.setting} (database {parts.path.strip('/')} at {parts.hostname}{port})"


def of_prefect(layout: Layout, settings: Settings) -> Schema:
    """Return the tables of Prefect's server."""
    given = settings.prefect_database
    kind = "postgresql" if given else "sqlite"
    address = given.get_secret_value() if given else str(layout.state / "prefect" / "prefect.db")
    steps = _package("prefect") / "server" / "database" / "_migrations" / "versions" / kind
    return Schema("Prefect", "GANMILL_PREFECT_DATABASE", address, steps)


def of_mlflow(layout: Layout, settings: Settings) -> list[Schema]:
    """Return the tables of MLflow's server, and of its login where one is asked for."""
    given, home, package = settings.mlflow_database, layout.state / "mlflow", _package("mlflow")
    setting, address = "GANMILL_MLFLOW_DATABASE", given.get_secret_value() if given else ""
    steps = package / "store" / "db_migrations" / "versions"
    found = [Schema("MLflow", setting, address or str(home / "mlflow.db"), steps)]
    if settings.login:
        steps = package / "server" / "auth" / "db" / "migrations" / "versions"
        login, table = address or str(home / "login.db"), "alembic_version_auth"
        found.append(Schema("MLflow's login", setting, login, steps, table))
    return found


def has_tables(schema: Schema) -> bool:
    """Tell whether the server has made its tables already.

    Raises:
        ServiceError: The database does not answer.
    """
    return _found(schema) is not None


def due_upgrade(schema: Schema) -> str | None:
    """Return the form of the tables if it is an older one, None if there is nothing to do.

    Raises:
        ServiceError: The database does not answer, or is of a newer version than the server.
        UsageError: What speaks to Postgres is not installed.
    """
    found = _found(schema)
    known, newest = forms(schema.steps)
    if found is None or found in newest:
        return None
    if found not in known:
        raise ServiceError(
            f"{schema.place}: the tables of {schema.owner} are in a form ({found}) that the "
            "installed version does not know. Install the newer one that wrote them, or restore a "
            "backup."
        )
    return found


def announce_upgrade(schema: Schema, found: str) -> None:
    """Say in one line that older tables are upgraded, once a SQLite file was copied aside."""
    said = f"ganmill: upgrading the tables of {schema.owner} from {found}"
    if not schema.address.startswith("postgresql://"):
        copy = Path(f"{schema.address}.before-{found}")
        with closing(_open(schema)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
        said = f"{said}; as they were: {copy}"
    print(said, flush=True)


def forms(steps: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Return every form of the tables that the steps know, and the newest.

    The files are read, not imported: that takes seconds.
    """
    known: set[str] = set()
    left: set[str] = set()
    for step in steps.glob("*.py"):
        for down, revision in _REVISION.findall(step.read_text(encoding="utf-8")):
            (left if down else known).add(revision)
    return frozenset(known), frozenset(known - left)


def _found(schema: Schema) -> str | None:
    """Return the number of the tables' form, or None where there are none yet."""
    question = f"SELECT version_num FROM {schema.table}"  # noqa: S608  # a name of ours
    if schema.address.startswith("postgresql://"):
        return _asked(schema, question)
    if not Path(schema.address).exists():
        return None
    try:
        with closing(_open(schema)) as database:
            row = database.execute(question).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise ServiceError(f"{schema.place}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ServiceError(f"{schema.place}: {error}. Restore it from a backup.") from error
    return str(row[0]) if row else None


def _asked(schema: Schema, question: str) -> str | None:
    if find_spec("psycopg2") is None:
        raise UsageError(f"{schema.setting} needs the extra: pip install 'ganmill[postgres]'")
    import psycopg2  # type: ignore[import-untyped]

    try:
        connection = psycopg2.connect(schema.address, connect_timeout=_CONNECT_SECONDS)
    except psycopg2.Error as error:
        reason = str(error).strip().split("\n", 1)[0]
        password = urlsplit(schema.address).password or ""
        shown = reason.replace(password, "***") if password else reason
        raise ServiceError(f"{schema.place} does not answer: {shown}") from None
    with closing(connection), connection.cursor() as cursor:
        try:
            cursor.execute(question)
        except psycopg2.errors.UndefinedTable:
            return None
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _open(schema: Schema) -> sqlite3.Connection:
    return sqlite3.connect(f"{Path(schema.address).resolve().as_uri()}?mode=ro", uri=True)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ServiceError(f"{name} is not installed; install ganmill again")
    return Path(spec.origin).parent
