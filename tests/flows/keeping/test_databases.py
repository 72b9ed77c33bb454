"""The two kinds of databases: copied while others write, checked, and put back."""

import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.keeping.databases import problem
from flows.keeping.postgres import Postgres
from flows.keeping.sqlite import Sqlite
from gan.errors import DamagedError, ServiceError
from tests.flows import real_servers

ACCOUNTS = """
CREATE TABLE account (name TEXT PRIMARY KEY, sum INTEGER, note TEXT);
INSERT INTO account VALUES ('one', 500, ''), ('other', 500, '');
"""
SUM = "SELECT sum(sum) FROM account"


def _sqlite(path: Path, mode: str) -> Sqlite:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"PRAGMA journal_mode={mode};{ACCOUNTS}")
    return Sqlite("prefect", path)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_copy_is_of_one_moment_whoever_writes(tmp_path: Path, mode: str) -> None:
    """Money that is moved from account to account is all there in every copy."""
    database = _sqlite(tmp_path / "live.db", mode)
    stop = threading.Event()

    def move() -> None:
        with closing(sqlite3.connect(database.path, timeout=60)) as mine:
            for n in count():
                if stop.wait(0.005):
                    return
                with mine:
                    mine.execute("UPDATE account SET sum = sum - 1 WHERE name = 'one'")
                    note = "x" * 5000 + str(n)
                    mine.execute("UPDATE account SET sum = sum + 1, note = ?", (note,))
                    mine.execute("UPDATE account SET sum = sum - 1 WHERE name = 'one'")

    writer = threading.Thread(target=move)
    writer.start()
    try:
        for n in range(10):
            database.copy(tmp_path / f"{n}.db")
    finally:
        stop.set()
        writer.join()
    for n in range(10):
        assert problem("sqlite", tmp_path / f"{n}.db") is None
        assert Sqlite("prefect", tmp_path / f"{n}.db").ask(SUM) == [("1000",)]
    assert {path.suffix for path in tmp_path.glob("[0-9]*")} == {".db"}


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """A page that is not as SQLite wrote it, or half a file, is a problem and not a database."""
    database = _sqlite(tmp_path / "live.db", "DELETE")
    payload = database.path.read_bytes()
    database.path.write_bytes(payload[: len(payload) // 2])
    assert problem("sqlite", database.path)
    database.path.write_bytes(b"no database at all" * 100)
    assert "not a database" in (problem("sqlite", database.path) or "")
    with pytest.raises(DamagedError, match="SQLite says"):
        database.copy(tmp_path / "copy.db")


def test_what_a_copy_replaces_is_moved_aside(tmp_path: Path) -> None:
    """With its write-ahead log; put back twice, as after a kill, the first state stays aside."""
    database = _sqlite(tmp_path / "live.db", "WAL")
    database.copy(tmp_path / "copy.db")
    with closing(sqlite3.connect(database.path)) as late, late:
        late.execute("UPDATE account SET sum = 0")
        database.put_back(tmp_path / "copy.db", tmp_path / "aside")
        database.put_back(tmp_path / "copy.db", tmp_path / "aside")
    assert database.ask(SUM) == [("1000",)]
    assert Sqlite("prefect", tmp_path / "aside" / "live.db").ask(SUM) == [("0",)]


def test_a_new_state_takes_the_place_with_its_log(tmp_path: Path) -> None:
    """What an upgrade left in a write-ahead log beside the new file is in it afterwards."""
    database = _sqlite(tmp_path / "live.db", "WAL")
    beside = _sqlite(tmp_path / "new.db", "WAL")
    with closing(sqlite3.connect(beside.path)) as upgrading, upgrading:
        upgrading.execute("UPDATE account SET sum = 7")
    database.replace(beside.path)
    assert database.ask(SUM) == [("14",)]
    assert not beside.path.exists()


@pytest.fixture(scope="module")
def server() -> Iterator[real_servers.Postgres]:
    """Return a Postgres server whose password has every letter that is special somewhere."""
    with real_servers.postgres() as server:
        server.run("psql", "-X", "-q", "-c", "CREATE ROLE \"o'd d\" LOGIN PASSWORD 'p@s/s:w?#%&'",
                   "postgres")  # fmt: skip
        yield server


@pytest.fixture
def empty(server: real_servers.Postgres, request: pytest.FixtureRequest) -> Postgres:
    """Return an empty database, owned by a user with an odd name and password."""
    name = f"d{abs(hash(request.node.name))}"
    server.run("createdb", "-O", "o'd d", name)
    user, password = "o%27d%20d", "p%40s%2Fs%3Aw%3F%23%25%26"
    address = f"postgresql://{user}:{password}@127.0.0.1:{server.port}/{name}?sslmode=disable"
    return Postgres("mlflow", SecretStr(address))


def test_postgres_is_copied_and_put_back(empty: Postgres, tmp_path: Path) -> None:
    """A dump is taken while others write, read to its end, and fills the database again.

    What was there is dumped aside; extensions and indexes come back as they were.
    """
    assert not empty.is_there()
    empty.ask("CREATE EXTENSION pg_trgm")
    empty.ask(ACCOUNTS)
    empty.ask("CREATE INDEX notes ON account USING gin (note gin_trgm_ops)")
    empty.copy(tmp_path / "copy.dump")
    assert problem("postgresql", tmp_path / "copy.dump") is None
    empty.ask("DROP TABLE account; CREATE TABLE account (other TEXT); CREATE TABLE more (x TEXT)")

    for _ in range(2):  # the second as after a kill
        empty.put_back(tmp_path / "copy.dump", tmp_path / "aside")

    assert empty.ask(SUM) == [("1000",)]
    assert empty.ask("SELECT count(*) FROM pg_indexes WHERE indexname = 'notes'") == [("1",)]
    empty.put_back(tmp_path / "aside" / "mlflow.dump", tmp_path / "elsewhere")
    assert empty.ask("SELECT count(*) FROM more") == [("0",)]


def test_half_a_dump_is_told_and_harms_nothing(empty: Postgres, tmp_path: Path) -> None:
    """A dump that was cut short is a problem; what is filled from it is empty, not half full."""
    empty.ask(ACCOUNTS + "INSERT INTO account SELECT n, n, repeat('x', 1000) "
                         "FROM generate_series(1, 2000) n")  # fmt: skip
    empty.copy(tmp_path / "copy.dump")
    payload = (tmp_path / "copy.dump").read_bytes()
    (tmp_path / "half.dump").write_bytes(payload[: len(payload) * 2 // 3])

    assert problem("postgresql", tmp_path / "half.dump")
    with pytest.raises(ServiceError, match="pg_restore"):
        empty.put_back(tmp_path / "half.dump", tmp_path / "aside")
    assert not empty.is_there()
    empty.put_back(tmp_path / "copy.dump", tmp_path / "aside")
    assert empty.ask("SELECT count(*) FROM account") == [("2002",)]


def test_a_password_is_in_no_list_of_processes_and_no_message(
    server: real_servers.Postgres, empty: Postgres, tmp_path: Path
) -> None:
    """Postgres's programs are told by their environment; what they fail with names no password."""
    wrong = Postgres("mlflow", SecretStr(empty.url.replace("p%40s", "canary")))
    with pytest.raises(ServiceError) as refused:
        wrong.copy(tmp_path / "copy.dump")
    assert "password authentication failed" in str(refused.value)
    assert "canary" not in str(refused.value)

    seen: list[str] = []

    def watch() -> None:
        shown = subprocess.run(
            ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
        )
        seen.extend(shown.stdout.splitlines())

    asking = threading.Thread(target=lambda: empty.ask("SELECT pg_sleep(1.5)"))
    asking.start()
    while asking.is_alive():
        watch()
    assert any("psql" in line and "pg_sleep" in line for line in seen)
    assert not [line for line in seen if "p@s" in line or "p%40s" in line]
    server.stop()
    with pytest.raises(ServiceError, match="database of mlflow"):
        empty.is_there()
    server.start()
