"""Putting a backup back: all of it, nothing else, and nothing that is there lost unasked."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from flows.keeping import manifest
from flows.keeping.backup import Backup, make
from flows.keeping.restore import restore
from flows.keeping.sources import Wants
from flows.settings import Settings
from gan.durable import run_lock, sha256
from gan.errors import BusyError, DamagedError, GanmillError, UsageError
from gan.paths import Layout
from tests.faults.seam import KILLED, dying_at, failing_at
from tests.flows.keeping.rooms import add_version, append, bundle, commit, make_room, tree

Restore = Callable[..., object]


@pytest.fixture
def taken(room: Layout, nowhere: Settings, tmp_path: Path) -> Backup:
    """Return a backup of the room, with its key and pictures."""
    return make(room, nowhere, tmp_path / "b", Wants(assets=True, keys=True, is_quiet=True))


@pytest.fixture
def put_back(nowhere: Settings, taken: Backup) -> Restore:
    """Return a function that restores the backup into a workspace."""

    def put(layout: Layout, *, replace: bool = False) -> object:
        return restore(layout, nowhere, taken.folder, replace=replace, is_quiet=True)

    return put


def _kept(layout: Layout) -> dict[str, str]:
    """Return what of a workspace a backup holds; databases by what is in them."""
    found = {
        name: digest
        for name, digest in tree(layout.root).items()
        if not any(
            part in name for part in ("logs/", "bundles/", "runs/", ".db", ".lock", "replaced-")
        )
    }
    for name, table in (("mlflow", "model_versions"), ("prefect", "flow_run")):
        with closing(sqlite3.connect(layout.state / name / f"{name}.db")) as database:
            found[name] = str(database.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608
    return found


def _clone(layout: Layout, root: Path) -> Layout:
    """Return a fresh clone of a workspace's git."""
    root.mkdir()
    for name in ("dvc.yaml", ".gitignore"):
        shutil.copy(layout.root / name, root / name)
    (root / "params.yaml").write_text("recipes: {}\n")
    commit(root)
    return Layout(root)


def test_a_destroyed_workspace_comes_back(room: Layout, put_back: Restore) -> None:
    """With .ganmill, reports and assets gone, all that was kept is there again, byte for byte."""
    before = _kept(room)
    for name in (".ganmill", "reports", "assets"):
        shutil.rmtree(room.root / name)

    put_back(room)

    assert _kept(room) == before
    key = room.signing / "local.pem"
    assert key.stat().st_mode & 0o077 == 0
    assert not (room.state / "restoring.json").exists()


def test_a_fresh_clone_becomes_the_workspace(
    room: Layout, put_back: Restore, tmp_path: Path
) -> None:
    """A clone whose params.yaml is committed is filled unasked: git has what is replaced."""
    clone = _clone(room, tmp_path / "clone")

    put_back(clone)

    assert _kept(clone) == _kept(room)


def test_the_times_of_files_come_back(room: Layout, put_back: Restore) -> None:
    """A batch is as old as it was: how long it is kept depends on that."""
    card = room.batches("stickers") / "monday-1" / "batch.json"
    before = card.stat().st_mtime_ns
    shutil.rmtree(room.root / "assets")
    shutil.rmtree(room.state)

    put_back(room)

    assert card.stat().st_mtime_ns == before


def test_a_newer_state_is_not_replaced_unasked(room: Layout, put_back: Restore) -> None:
    """What happened since is named, and stays; --replace moves it aside, whole."""
    before = _kept(room)
    add_version(room, 2, "f" * 64)
    (bundle(room).parent / "note.txt").write_text("newer\n")
    append(room, "intend", 2)
    after = _kept(room)

    with pytest.raises(UsageError) as refused:
        put_back(room)
    assert "the ledger here has 1 lines more" in str(refused.value)
    assert "--replace" in str(refused.value)
    assert _kept(room) == after

    put_back(room, replace=True)
    assert _kept(room) == before
    (aside,) = room.state.glob("replaced-*")
    assert (aside / "workspace/.ganmill/ledger.jsonl").read_bytes().count(b"\n") == 3
    assert (aside / "artifacts/1").is_dir()
    with closing(sqlite3.connect(aside / "mlflow" / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM model_versions").fetchone() == (2,)


@pytest.mark.parametrize(
    ("how", "step"),
    [
        ("fails", 23),
        ("dies", 29),
        pytest.param("fails", 1, marks=pytest.mark.faults),
        pytest.param("dies", 1, marks=pytest.mark.faults),
    ],
)
def test_stopped_at_any_change_of_the_disk_the_same_call_finishes(
    nowhere: Settings, taken: Backup, room: Layout, tmp_path: Path, how: str, step: int
) -> None:
    """A full disk or SIGKILL at any moment of a restore is mended by the same call.

    What was moved aside is the state from before the first try, not half of a later one.
    """
    wanted = _kept(room)
    for n in count(1, step):
        layout = make_room(tmp_path / str(n))
        add_version(layout, 2, "f" * 64)
        append(layout, "intend", 2)

        def put(layout: Layout = layout) -> None:
            restore(layout, nowhere, taken.folder, replace=True, is_quiet=True)

        stopped = (_fails if how == "fails" else _dies)(put, n)
        if stopped:
            put()
        assert _kept(layout) == wanted
        (aside,) = layout.state.glob("replaced-*")
        with closing(sqlite3.connect(aside / "mlflow" / "mlflow.db")) as database:
            assert database.execute("SELECT count(*) FROM model_versions").fetchone() == (2,)
        assert (aside / "workspace/.ganmill/ledger.jsonl").read_bytes().count(b"\n") == 3
        if not stopped:
            break
    assert n > 50


def _fails(put: Callable[[], None], n: int) -> bool:
    said = ""
    with failing_at(n, errno.ENOSPC) as passed:
        try:
            put()
        except GanmillError as error:
            said = str(error)
    assert "\n" not in said
    return len(passed) >= n


def _dies(put: Callable[[], None], n: int) -> bool:
    child = os.fork()
    if child == 0:
        with dying_at(n):
            put()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def test_a_touched_backup_is_refused_before_anything_changes(
    room: Layout, taken: Backup, put_back: Restore
) -> None:
    """One flipped bit anywhere, and the workspace stays as it is."""
    copy = taken.folder / "workspace" / "params.yaml"
    copy.write_bytes(copy.read_bytes().replace(b"16", b"32"))
    shutil.rmtree(room.root / "reports")
    before = tree(room.root)

    with pytest.raises(DamagedError, match=r"params\.yaml is altered"):
        put_back(room, replace=True)

    assert tree(room.root) == before


@pytest.mark.parametrize("name", ["gan/evil.py", ".git/hooks/pre-commit", ".ganmill/stack.json"])
def test_a_backup_cannot_plant_a_program(
    room: Layout, nowhere: Settings, taken: Backup, name: str
) -> None:
    """Even with right digests, only what a backup of ours holds is written."""
    path = taken.folder / "workspace" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("evil")
    whole, _ = manifest.read(taken.folder)
    digest = sha256(path)
    evil = manifest.KeptFile(bytes=4, sha256=digest)
    files = {**whole.files, f"workspace/{name}": evil}
    manifest.write(taken.folder, whole.model_copy(update={"files": files}))

    with pytest.raises(DamagedError, match="no file that a backup holds"):
        restore(room, nowhere, taken.folder, replace=True, is_quiet=True)


def test_nothing_is_restored_under_what_is_at_work(room: Layout, put_back: Restore) -> None:
    """While a training, a batch or a start of the servers is under way a restore is refused."""
    with (
        run_lock(room.lock("train-stickers"), "training"),
        pytest.raises(UsageError, match="train"),
    ):
        put_back(room, replace=True)
    with run_lock(room.lock("stack"), "starting"), pytest.raises(BusyError):
        put_back(room, replace=True)


def test_a_folder_without_the_code_is_refused(put_back: Restore, tmp_path: Path) -> None:
    """A backup holds no code: that is cloned first."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="Clone the code there first"):
        put_back(Layout(tmp_path / "empty"))


def test_databases_of_another_kind_are_refused(
    room: Layout, nowhere: Settings, taken: Backup
) -> None:
    """SQLite is not poured into Postgres: the setting that does not fit is named."""
    from pydantic import SecretStr

    address = SecretStr("postgresql://mill@127.0.0.1:1/mlflow")
    settings = nowhere.model_copy(update={"mlflow_database": address})
    with pytest.raises(UsageError, match="GANMILL_MLFLOW_DATABASE"):
        restore(room, settings, taken.folder, replace=True, is_quiet=True)
