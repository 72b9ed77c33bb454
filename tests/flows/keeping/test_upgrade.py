"""Databases of older servers: told, copied, upgraded; those of newer ones are left alone."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows import registry, stack
from flows.keeping import upgrade
from flows.keeping.databases import Database, Postgres, databases
from flows.keeping.restore import restore
from flows.servers import environments
from flows.settings import QUIET, Settings
from gan.errors import ServiceError, UsageError
from gan.paths import Layout
from tests.flows import real_servers
from tests.flows.keeping.old_tables import MLFLOW_FORM, PREFECT_FORM

REPOSITORY = Path(__file__).parents[3]
_NAMES = "SELECT name FROM flow"


def test_newer_tables_are_refused(room: Layout, nowhere: Settings) -> None:
    """What a newer server wrote is named, and nothing is touched; so it is when all is current."""
    assert {tables.state for tables in upgrade.look(room, nowhere)} == {"current"}
    assert upgrade.upgrade(room, nowhere, upgrade.look(room, nowhere)) is None
    path = room.state / "prefect" / "prefect.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    before = path.read_bytes()

    found = upgrade.look(room, nowhere)

    assert {tables.owner: tables.state for tables in found}["Prefect"] == "newer"
    with pytest.raises(ServiceError, match="fedcba987654"):
        upgrade.upgrade(room, nowhere, found)
    assert path.read_bytes() == before
    assert not (room.state / "backups").exists()


def test_a_workspace_without_servers_has_nothing_to_upgrade(
    tmp_path: Path, nowhere: Settings
) -> None:
    """Before the first start there are no tables."""
    found = upgrade.look(Layout(tmp_path), nowhere)
    assert {tables.state for tables in found} == {"none yet"}


@pytest.fixture(scope="module")
def server() -> Iterator[real_servers.Postgres]:
    """Return a Postgres server."""
    with real_servers.postgres() as server:
        yield server


def _write_old(layout: Layout, settings: Settings) -> dict[str, Database]:
    """Write the databases of both servers in forms of years ago, with rows in them."""
    ours = {name: database for name, database in databases(layout, settings).items() if database}
    prefect = ours["prefect"].url
    driver = environments.for_asyncpg(prefect)
    if prefect.startswith("sqlite:"):
        driver = prefect.replace("sqlite:", "sqlite+aiosqlite:")
    form = PREFECT_FORM if prefect.startswith("sqlite:") else "68a44144428d"
    for name in ("mlflow", "prefect"):
        (layout.state / name).mkdir(parents=True)
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(layout.state / "prefect")}
    for words, more in (
        (["tests.flows.keeping.old_tables", ours["mlflow"].url], {}),
        (
            ["prefect", "server", "database", "upgrade", "-y", "-r", form],
            {"PREFECT_SERVER_DATABASE_CONNECTION_URL": driver},
        ),
    ):
        command = [sys.executable, "-m", *words]
        subprocess.run(
            command, cwd=REPOSITORY, env={**environment, **more}, check=True, capture_output=True
        )
    row = "INSERT INTO flow (id, name) VALUES ('6f1c7f0e-2b1f-4e0e-9b1e-000000000001', 'retrain')"
    if isinstance(ours["prefect"], Postgres):
        ours["prefect"].ask(row)
    else:
        with closing(sqlite3.connect(ours["prefect"].path)) as database, database:
            database.execute(row)
    return ours


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_old_databases_are_upgraded_with_their_rows(
    tmp_path: Path, settings_on: Callable[..., Settings], server: real_servers.Postgres, kind: str
) -> None:
    """Tables of years ago become those of now; the servers start on them, and rows are read.

    A copy from before is there, and a restore brings the old state back.
    """
    settings, layout = settings_on(), Layout(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("recipes: {}\n")
    if kind == "postgresql":
        named = {
            f"{name}_database": SecretStr(server.create(name)) for name in ("mlflow", "prefect")
        }
        settings = settings.model_copy(update=named)
    ours = _write_old(layout, settings)
    old = upgrade.look(layout, settings)
    assert {tables.owner: tables.state for tables in old} == {"MLflow": "older", "Prefect": "older"}
    assert {tables.found for tables in old} >= {MLFLOW_FORM}

    kept = upgrade.upgrade(layout, settings, old)

    assert kept is not None
    assert {tables.state for tables in upgrade.look(layout, settings)} == {"current"}
    assert ours["prefect"].ask(_NAMES) == [("retrain",)]
    stack.up(layout, settings)
    try:
        with pytest.raises(UsageError, match="still up"):
            upgrade.upgrade(layout, settings, old)
        champion = registry.by_alias(settings, "stickers", "champion")
        assert champion is not None
        assert champion.number == 7
    finally:
        stack.down(layout)

    restore(layout, settings, kept, replace=True, is_quiet=True)
    assert [t.found for t in upgrade.look(layout, settings)] == [t.found for t in old]
    assert ours["prefect"].ask(_NAMES) == [("retrain",)]


@pytest.mark.slow
def test_an_upgrade_that_fails_leaves_sqlite_as_it_was(
    tmp_path: Path, settings_on: Callable[..., Settings]
) -> None:
    """A table in the way of a step ends it with one line; the database and its copy are there."""
    settings, layout = settings_on(), Layout(tmp_path)
    _write_old(layout, settings)
    path = layout.state / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE webhooks (in_the_way TEXT)")
    before = path.read_bytes()

    with pytest.raises(ServiceError) as failed:
        upgrade.upgrade(layout, settings, upgrade.look(layout, settings))

    assert "webhooks" in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.partial*"))
