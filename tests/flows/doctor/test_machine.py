"""Tests of what the doctor says of disk, folder, open files and locks."""

import resource
import subprocess
import sys
from pathlib import Path

from flows.disk_use import size_of
from flows.doctor import machine
from gan.durable import run_lock
from gan.paths import Layout


def test_disk_tells_what_a_round_took(workspace: Layout) -> None:
    """After a training the line says what a retraining and its batch take, from its own files."""
    (line,) = machine.disk(workspace)
    assert line.state == "ok"
    assert "took" not in line.says
    run = workspace.run("tiny") / "abc"
    run.mkdir(parents=True)
    (run / "checkpoint").write_bytes(b"x" * 3_000_000)
    (line,) = machine.disk(workspace)
    assert "a retraining and a batch took 3.0 MB here" in line.says


def test_too_little_room_is_bad_and_little_a_warning() -> None:
    """Where the next retraining does not fit, the doctor says so before it is begun."""
    full = machine.has_room("disk", free=9, took=10)
    assert (full.state, full.mend) == ("bad", "ganmill retain --dry-run")
    tight = machine.has_room("disk", free=35, took=10)
    assert (tight.state, "3 more have room" in tight.says) == ("warn", True)
    assert machine.has_room("disk", free=1000, took=10).state == "ok"


def test_size_counts_links_once_and_ends_in_time(tmp_path: Path) -> None:
    """A file with two names takes its room once; a count that is cut short says so."""
    (tmp_path / "one").write_bytes(b"x" * 1_000_000)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    (tmp_path / "loop").symlink_to(tmp_path)
    whole = size_of([tmp_path, tmp_path / "not-there"], seconds=5)
    assert whole.is_complete
    assert 1_000_000 <= whole.bytes < 1_100_000
    cut = size_of([tmp_path], seconds=-1)
    assert not cut.is_complete
    assert cut.shown.startswith("over ")


def test_folder_that_cannot_be_written_is_bad() -> None:
    """A read-only workspace is found by writing to it, and the owner's command is named."""
    (line,) = machine.folder(Layout(Path("/proc")))
    assert line.state == "bad"
    assert "cannot be written" in line.says
    assert "chown" in line.mend


def test_folder_is_left_as_it_was(workspace: Layout) -> None:
    """The probe of locks leaves no file behind."""
    workspace.state.mkdir()
    (line,) = machine.folder(workspace)
    assert line.state == "ok"
    assert list(workspace.state.iterdir()) == []


def test_few_open_files_are_told() -> None:
    """A limit that breaks servers is bad, with the command that raises it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    states = []
    try:
        for limit in (4096, 512, 128):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            (line,) = machine.files(Layout(Path("/")))
            states.append((line.state, line.mend))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert states == [("ok", ""), ("warn", "ulimit -n 4096"), ("bad", "ulimit -n 4096")]


def test_who_holds_a_lock_is_named(workspace: Layout) -> None:
    """A lock that is held is told with its process; one held from elsewhere is a warning."""
    (line,) = machine.locks(workspace)
    assert line.says == "nobody holds one"
    with run_lock(workspace.lock("train-tiny"), "training"):
        (line,) = machine.locks(workspace)
        assert line.state == "ok"
        assert "train-tiny by process" in line.says
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                              capture_output=True, text=True, check=True)  # fmt: skip
        workspace.lock("train-tiny").write_text(gone.stdout.strip())
        (line,) = machine.locks(workspace)
    assert (line.state, "another machine" in line.says) == ("warn", True)
