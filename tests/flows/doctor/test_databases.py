"""Tests of what the doctor says of the servers' databases."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.doctor import databases
from flows.doctor.finding import Finding
from flows.servers import schemas
from flows.settings import Settings
from gan.paths import Layout
from tests.flows.real_servers import Postgres, free_port, postgres

Make = Callable[..., Settings]
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Return a running Postgres."""
    with postgres() as server:
        yield server


def _made(path: Path, form: str = "", journal: str = "wal") -> Path:
    """Write a real SQLite file of some pages, closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"PRAGMA journal_mode={journal}")
        made.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, words TEXT)")
        made.executemany("INSERT INTO runs (words) VALUES (?)", [("word" * 200,)] * 200)
        if form:
            made.execute("CREATE TABLE alembic_version (version_num TEXT)")
            made.execute("INSERT INTO alembic_version VALUES (?)", (form,))
        made.commit()
    return path


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _line(found: list[Finding], name: str) -> Finding:
    (line,) = (each for each in found if each.name == f"{name} database")
    return line


def test_a_fresh_workspace_has_none_yet(workspace: Layout, settings_of: Make) -> None:
    """Nothing is wrong before the first start, and looking makes no file."""
    found = databases.databases(workspace, settings_of())
    assert [(line.name, line.state) for line in found] == [
        ("Prefect database", "ok"),
        ("MLflow database", "ok"),
    ]
    assert not workspace.state.exists()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_sound_file_is_left_as_it_is(workspace: Layout, settings_of: Make, journal: str) -> None:
    """Its size is told, and nothing is written into it or beside it."""
    path = _made(workspace.state / "mlflow" / "mlflow.db", journal=journal)
    before = path.read_bytes()
    line = _line(databases.databases(workspace, settings_of()), "MLflow")
    assert (line.state, "mlflow.db, " in line.says) == ("ok", True)
    assert _names(path.parent) == {"mlflow.db"}
    assert path.read_bytes() == before


def test_a_file_that_is_written_to_meanwhile_is_read(workspace: Layout, settings_of: Make) -> None:
    """A server that has it open, with words in its log, is no reason for an alarm."""
    path = _made(workspace.state / "prefect" / "prefect.db")
    with closing(sqlite3.connect(path)) as server:
        server.execute("INSERT INTO runs (words) VALUES ('new')")
        server.commit()
        server.execute("BEGIN IMMEDIATE")
        assert _line(databases.databases(workspace, settings_of()), "Prefect").state == "ok"


def test_a_corrupt_file_is_bad(workspace: Layout, settings_of: Make) -> None:
    """Pages that were overwritten are found by SQLite's own check; so is what is no database."""
    path = _made(workspace.state / "mlflow" / "mlflow.db")
    content = bytearray(path.read_bytes())
    content[2 * PAGE_BYTES : 6 * PAGE_BYTES] = b"\xa5" * (4 * PAGE_BYTES)
    path.write_bytes(content)
    prefect = workspace.state / "prefect" / "prefect.db"
    prefect.parent.mkdir()
    prefect.write_bytes(b"no database" * 1000)
    found = databases.databases(workspace, settings_of())
    for name in ("MLflow", "Prefect"):
        line = _line(found, name)
        assert line.state == "bad"
        assert "ganmill restore" in line.mend
    assert "not a database" in _line(found, "Prefect").says


def test_tables_of_another_version_are_told(workspace: Layout, settings_of: Make) -> None:
    """Tables that a newer server wrote are bad, older ones a warning with what upgrades them."""
    settings = settings_of()
    (schema,) = schemas.of_mlflow(workspace, settings)
    known, newest = schemas.forms(schema.steps)
    older = min(known - newest)
    path = workspace.state / "mlflow" / "mlflow.db"
    states = []
    for form in (*newest, older, "fffffff"):
        path.unlink(missing_ok=True)
        _made(path, form)
        line = _line(databases.databases(workspace, settings), "MLflow")
        states.append(line.state)
    assert states == ["ok", "warn", "bad"]


def test_a_closed_port_of_postgres_is_bad(workspace: Layout, settings_of: Make) -> None:
    """The line says where and why, and nowhere the password."""
    port = free_port()
    given = settings_of(
        GANMILL_PREFECT_DATABASE=f"postgresql://mill:correct-horse@127.0.0.1:{port}/prefect",
        GANMILL_MLFLOW_DATABASE=f"postgresql://mill:bat@tery@127.0.0.1:{port}/mlflow",
    )
    found = databases.databases(workspace, given)
    assert [line.state for line in found] == ["bad", "bad"]
    assert f"127.0.0.1:{port}/prefect: nobody listens there" in found[0].says
    told = str(found)
    assert not any(secret in told for secret in ("correct-horse", "bat", "tery"))


def test_a_real_postgres_is_reached(
    workspace: Layout, settings_of: Make, database: Postgres
) -> None:
    """Version and size are told; a wrong password, or a database that is not there, is named."""
    address = database.create("prefect")
    wrong = address.replace(database.password, "not-the-password")
    for given, state, says in (
        (address, "ok", "PostgreSQL"),
        (wrong, "bad", "refuses user or password"),
        (database.address("nowhere"), "bad", "no such database"),
    ):
        settings = settings_of(GANMILL_PREFECT_DATABASE=given)
        line = _line(databases.databases(workspace, settings), "Prefect")
        assert (line.state, says in line.says) == (state, True), line
        assert database.password not in str(line)
        assert "not-the-password" not in str(line)


def test_newer_tables_in_postgres_are_told(
    workspace: Layout, settings_of: Make, database: Postgres
) -> None:
    """The form of the tables is read there as it is from a file."""
    settings = settings_of(GANMILL_MLFLOW_DATABASE=database.create("mlflow"))
    assert _line(databases.databases(workspace, settings), "MLflow").state == "ok"
    database.ask("mlflow", "CREATE TABLE alembic_version (version_num TEXT)")
    database.ask("mlflow", "INSERT INTO alembic_version VALUES ('fffffff')")
    line = _line(databases.databases(workspace, settings), "MLflow")
    assert (line.state, "newer version" in line.says) == ("bad", True)


def test_a_missing_driver_has_its_mend(tmp_path: Path, workspace: Layout) -> None:
    """Without the extra the line names it, and the other checks go on."""
    (tmp_path / "psycopg2.py").write_text("raise ImportError('not here')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from pathlib import Path\n"
        "from flows.doctor.databases import databases\n"
        "from flows.settings import Settings\n"
        "from gan.paths import Layout\n"
        "settings = Settings(mlflow_database='postgresql://mill:pw@127.0.0.1:1/mlflow')\n"
        f"print(databases(Layout(Path({str(workspace.root)!r})), settings)[1].mend)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pip install 'ganmill[postgres]'"
