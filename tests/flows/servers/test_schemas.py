"""Whether a database fits the installed servers: older is upgraded, newer is left alone."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows import stack
from flows.servers import schemas
from flows.settings import Settings
from gan.errors import ServiceError
from gan.paths import Layout
from tests.flows.real_servers import postgres

Make = Callable[..., Settings]
LOGIN = {"login": SecretStr("mill:a-long-password")}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return an empty workspace."""
    return Layout(tmp_path)


def _all(layout: Layout, settings: Settings) -> list[schemas.Schema]:
    return [schemas.of_prefect(layout, settings), *schemas.of_mlflow(layout, settings)]


def _holds(schema: schemas.Schema, form: str) -> None:
    path = Path(schema.address)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE {schema.table} (version_num TEXT)")
        database.execute(f"INSERT INTO {schema.table} VALUES ('{form}')")  # noqa: S608  # a test's


@pytest.mark.slow
def test_the_forms_are_read_as_the_servers_read_them(layout: Layout, settings_on: Make) -> None:
    """What we read from the files is what alembic finds by importing them, of every server."""
    from alembic.script import ScriptDirectory

    given = settings_on().model_copy(update=LOGIN)
    on_postgres = given.model_copy(update={"prefect_database": SecretStr("postgresql://h/prefect")})
    for schema in [*_all(layout, given), schemas.of_prefect(layout, on_postgres)]:
        found = ScriptDirectory(str(schema.steps.parent), version_locations=[str(schema.steps)])
        known, newest = schemas.forms(schema.steps)
        assert known == {each.revision for each in found.walk_revisions()}
        assert newest == set(found.get_heads())


def test_no_database_yet_and_the_newest_need_nothing(layout: Layout, settings_on: Make) -> None:
    """A fresh start, tables half begun, and tables of the installed version go on as they are."""
    for schema in _all(layout, settings_on().model_copy(update=LOGIN)):
        assert schemas.due_upgrade(schema) is None
        Path(schema.address).parent.mkdir(parents=True, exist_ok=True)
        Path(schema.address).touch()
        assert schemas.due_upgrade(schema) is None
        Path(schema.address).unlink()
        _holds(schema, next(iter(schemas.forms(schema.steps)[1])))
        assert schemas.due_upgrade(schema) is None


def test_older_tables_are_copied_aside(
    layout: Layout, settings_on: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """An upgrade is said in one line, and the SQLite file as it was lies beside the new one."""
    schema = schemas.of_mlflow(layout, settings_on())[0]
    known, newest = schemas.forms(schema.steps)
    old = min(known - newest)
    _holds(schema, old)
    found = schemas.due_upgrade(schema)
    assert found == old
    schemas.announce_upgrade(schema, found)

    copy = f"{schema.address}.before-{old}"
    assert capsys.readouterr().out == (
        f"ganmill: upgrading the tables of MLflow from {old}; as they were: {copy}\n"
    )
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT * FROM alembic_version").fetchall() == [(old,)]


def test_newer_tables_are_refused(layout: Layout, settings_on: Make) -> None:
    """A database that a newer version wrote is named with its form, and is not touched."""
    settings = settings_on().model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    schema = schemas.of_mlflow(layout, settings)[0]
    _holds(schema, "f00dfeed0001")
    before = Path(schema.address).read_bytes()

    with pytest.raises(ServiceError) as caught:
        stack.up(layout, settings)
    assert str(caught.value) == (
        f"mlflow ended while starting; {layout.state / 'logs' / 'mlflow.log'} ends with: "
        f"{schema.address}: the tables of MLflow are in a form (f00dfeed0001) that the installed "
        "version does not know. Install the newer one that wrote them, or restore a backup."
    )
    assert Path(schema.address).read_bytes() == before


def test_a_damaged_file_is_named(layout: Layout, settings_on: Make) -> None:
    """A file that is no database is one line with its path, and what to do."""
    schema = schemas.of_prefect(layout, settings_on())
    Path(schema.address).parent.mkdir(parents=True)
    Path(schema.address).write_text("this is no database, not at all" * 99)
    with pytest.raises(ServiceError, match=r"prefect\.db: file is not a database\. Restore it"):
        schemas.due_upgrade(schema)


def test_a_database_that_does_not_answer_is_named_without_its_password(
    layout: Layout, settings_on: Make
) -> None:
    """Nobody there, a wrong password, no such database: one line, and the secret is in none."""
    with postgres() as database:
        address = database.create("prefect")
        wrong = {
            "refused": address.replace(f":{database.port}/", ":9/"),
            "password authentication failed": address.replace(database.password, "secret-canary"),
            "does not exist": address.replace("/prefect", "/nothing"),
        }
        for said, given in wrong.items():
            told = {"prefect_database": SecretStr(given)}
            schema = schemas.of_prefect(layout, settings_on().model_copy(update=told))
            with pytest.raises(ServiceError, match=said) as caught:
                schemas.due_upgrade(schema)
            line = str(caught.value)
            assert line.startswith("GANMILL_PREFECT_DATABASE (database ")
            assert "\n" not in line
            assert "secret-canary" not in line
            assert database.password not in line
        told = {"prefect_database": SecretStr(address)}
        schema = schemas.of_prefect(layout, settings_on().model_copy(update=told))
        assert schemas.due_upgrade(schema) is None


_OLD_MLFLOW = """
import sys
import sqlalchemy
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
Base.metadata.create_all(sqlalchemy.create_engine(sys.argv[1]))
command.upgrade(_get_alembic_config(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_old_databases_are_upgraded_by_up(
    layout: Layout, settings_on: Make, tmp_path: Path
) -> None:
    """Databases of an older Prefect and MLflow come up with the servers, each said in a line."""
    settings = settings_on()
    prefect, mlflow = _all(layout, settings)
    old = {"prefect": "7655f31c5157", "mlflow": "3da73c924c2f"}
    for name in old:
        (layout.state / name).mkdir(parents=True)
    address = f"sqlite+aiosqlite:///{prefect.address}"
    environment = {"PREFECT_API_DATABASE_CONNECTION_URL": address, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run([*command, "-r", old["prefect"]], env=environment, check=True)
    command = [sys.executable, "-c", _OLD_MLFLOW, f"sqlite:///{mlflow.address}", old["mlflow"]]
    subprocess.run(command, env=environment, check=True)
    assert schemas.due_upgrade(prefect) == old["prefect"]
    assert schemas.due_upgrade(mlflow) == old["mlflow"]
    try:
        found = stack.up(layout, settings)
        said = stack.notes(layout, ["prefect", "mlflow"])
    finally:
        stack.down(layout)
    assert (found.prefect.state, found.mlflow.state) == ("up", "up")
    assert [line.split(";")[0] for line in said] == [
        f"upgrading the tables of Prefect from {old['prefect']}",
        f"upgrading the tables of MLflow from {old['mlflow']}",
    ]
    assert [schemas.due_upgrade(each) for each in (prefect, mlflow)] == [None, None]
