"""Where the databases of the servers are, and whether a copy of one is sound."""

from pathlib import Path
from typing import Literal

from flows.keeping import postgres, sqlite
from flows.keeping.postgres import Postgres
from flows.keeping.sqlite import Sqlite
from flows.servers import addresses
from flows.settings import Settings
from gan.paths import Layout

__all__ = ["Database", "Kind", "Postgres", "Sqlite", "databases", "problem"]
Kind = Literal["sqlite", "postgresql"]
Database = Sqlite | Postgres


def databases(layout: Layout, settings: Settings) -> dict[str, Database | None]:
    """Return the databases of the servers by name; None where a server is somebody else's.

    One whose server is given by its address may still be named by a setting. `login` are the users
    of MLflow's pages; in Postgres they are part of its database.
    """
    named = {"mlflow": settings.mlflow_database, "prefect": settings.prefect_database}
    found: dict[str, Database | None] = {}
    for name, address in named.items():
        path = layout.state / name / f"{name}.db"
        if address is not None:
            found[name] = Postgres(name, address)
        else:
            found[name] = None if addresses.is_given(settings, name) else Sqlite(name, path)
    if isinstance(found["mlflow"], Sqlite):
        users = found["mlflow"].path.with_name("login.db")
        found["login"] = Sqlite("login", users, table="alembic_version_auth")
    return found


def problem(kind: Kind, file: Path) -> str | None:
    """Return what is wrong with a copy of a database, None when all of it can be read."""
    return sqlite.problem(file) if kind == "sqlite" else postgres.problem(file)
