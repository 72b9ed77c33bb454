"""Files: whole or not at all, checked by digest, written by one process at a time."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gan.durable import (
    SUMS,
    append_line,
    drop_partials,
    read_failure,
    read_json,
    read_sealed,
    record_failure,
    remove,
    remove_folder,
    replacing,
    run_lock,
    sha256,
    verify_sums,
    write_atomically,
    write_json,
    write_sealed,
    write_sums,
)
from gan.errors import BusyError, ContractError, DamagedError, GanmillError

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_file_is_written_whole_and_its_digest_returned(tmp_path: Path) -> None:
    """What is written is what is read; folders are made; nothing else is left behind."""
    path = tmp_path / "a" / "b" / "file"
    digest = write_atomically(path, b"bytes")

    assert path.read_bytes() == b"bytes"
    assert digest == sha256(path)
    assert list(path.parent.iterdir()) == [path]
    assert write_atomically(path, b"") == EMPTY_SHA256


def test_a_sealed_file_comes_back_or_is_refused(tmp_path: Path) -> None:
    """What was written in parts is read as one; without a byte, or with another, it is refused."""
    path = tmp_path / "a" / "file"
    write_sealed(path, [b"one ", memoryview(b"two"), b""])

    assert read_sealed(path) == b"one two"
    whole = path.read_bytes()
    for damaged in (b"", whole[:30], whole[:-1], whole + b" ", b"0" + whole[1:]):
        path.write_bytes(damaged)
        if damaged != whole:
            with pytest.raises(DamagedError, match="digest does not match"):
                read_sealed(path)
    path.unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        read_sealed(path)


def test_a_log_grows_by_lines(tmp_path: Path) -> None:
    """Lines are added in order; a folder that is not there is one clear line."""
    path = tmp_path / "log"
    append_line(path, "one")
    append_line(path, "two")

    assert path.read_text() == "one\ntwo\n"
    with pytest.raises(GanmillError, match="cannot be written"):
        append_line(tmp_path / "nowhere" / "log", "one")


def test_a_torn_line_does_not_take_the_next_with_it(tmp_path: Path) -> None:
    """What a kill left of a line stays a line of its own, which readers leave out."""
    path = tmp_path / "log"
    path.write_bytes(b'{"a": 1}\n{"b": ')

    append_line(path, '{"c": 3}')

    assert path.read_text().splitlines() == ['{"a": 1}', '{"b": ', '{"c": 3}']


def test_removing_is_explained_too(tmp_path: Path) -> None:
    """Files and folders of files go; what cannot go is named, and what is gone is no error."""
    folder = tmp_path / "folder"
    write_atomically(folder / "a", b"a")
    write_atomically(folder / "b", b"b")
    with pytest.raises(GanmillError, match=r"folder: cannot be removed \(.+\)\. Free the space"):
        remove(folder)
    remove_folder(folder)
    remove_folder(folder)
    remove(folder / "a")

    assert list(tmp_path.iterdir()) == []


def test_only_the_partials_of_one_name_are_dropped(tmp_path: Path) -> None:
    """Where another writes beside us, only what our own killed writers left is removed."""
    for name in (".mine.7.partial", ".other.7.partial"):
        (tmp_path / name).write_bytes(b"half")
    drop_partials(tmp_path, "mine")

    assert [path.name for path in tmp_path.iterdir()] == [".other.7.partial"]


def test_an_error_inside_leaves_the_old_file(tmp_path: Path) -> None:
    """A writer that fails half-way changes nothing and leaves no temporary file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Let files in `folder` grow to 64 KiB: a small tmpfs for root, else the process's limit."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if (
        os.geteuid() == 0
        and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    ):
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """On a full disk the old file stays, nothing is left over, and one line says what to do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with _full_disk(folder):
        write_atomically(folder / "file", b"old")
        with pytest.raises(GanmillError, match=r"disk/file: cannot be written \(.+\)\. Free the"):
            write_atomically(folder / "file", b"n" * 200_000)

        assert (folder / "file").read_bytes() == b"old"
        assert [path.name for path in folder.iterdir()] == ["file"]


@contextmanager
def _child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in another process, wait until it says `ready`, and kill it at the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


_WRITES_HALF = """
import sys, time
from pathlib import Path
from gan.durable import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_sigkill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """A writer killed half-way leaves the old file; its remains are not taken for content."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with _child(_WRITES_HALF, path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2  # a killed process cannot tidy up ...
    write_sums(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [SUMS, "file"]  # noqa: PTH208  # names alone
    verify_sums(tmp_path)  # ... so the next writer of the folder does


def test_json_goes_round_and_holds_no_nan(tmp_path: Path) -> None:
    """JSON comes back as it was; a NaN is refused on writing, half a file on reading."""
    path = tmp_path / "value.json"
    write_json(path, {"b": [1, 2.5, None], "a": "\u00e9"})

    assert read_json(path) == {"a": "\u00e9", "b": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedError, match="is not readable JSON"):
        read_json(path)
    with pytest.raises(DamagedError, match="missing"):
        read_json(tmp_path / "other.json")


def test_a_failure_comes_back_as_it_was(tmp_path: Path) -> None:
    """The parent of a failed command gets the same class of error with the same line."""
    path = tmp_path / "train.json"

    assert read_failure(path) is None
    record_failure(path, ContractError("too few images"))
    failure = read_failure(path)
    assert isinstance(failure, ContractError)
    assert str(failure) == "too few images"
    records: list[object] = [{"error": "SystemExit", "message": "x"}, [], {"error": []}]
    for record in records:
        write_json(path, record)
        with pytest.raises(DamagedError, match="no record of a failure"):
            read_failure(path)


def _add(folder: Path) -> None:
    (folder / "c").write_bytes(b"c")


def _alter(folder: Path) -> None:
    (folder / "a").write_bytes(b"b")


def _remove(folder: Path) -> None:
    (folder / "a").unlink()


def _link(folder: Path) -> None:
    (folder / "a").rename(folder.parent / "elsewhere")
    (folder / "a").symlink_to(folder.parent / "elsewhere")


def _unlist(folder: Path) -> None:
    (folder / SUMS).unlink()


def _climb(folder: Path) -> None:
    (folder.parent / "a").write_bytes(b"a")
    (folder / SUMS).write_text(f"{sha256(folder / 'a')}  ../a\n")
    (folder / "a").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_add, "'c' is not listed in SHA256SUMS"),
        (_alter, "SHA-256 is"),
        (_remove, "'a' is missing but listed in SHA256SUMS"),
        (_link, "which is no plain file here"),
        (_unlist, "missing or malformed"),
        (_climb, "'../a' is missing but listed"),
    ],
)
def test_every_change_of_a_folder_is_named(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    """A file that is extra, altered, missing, linked or outside is refused by name."""
    folder = tmp_path / "folder"
    write_atomically(folder / "a", b"a")
    write_atomically(folder / "b", b"b")
    digest = write_sums(folder)

    assert verify_sums(folder) == digest
    damage(folder)
    with pytest.raises(DamagedError, match=says):
        verify_sums(folder)


def test_every_flipped_bit_of_the_list_is_noticed(tmp_path: Path) -> None:
    """The list itself has one spelling: a folder that verifies has the digest it was given."""
    write_atomically(tmp_path / "a", b"a")
    write_atomically(tmp_path / "b", b"b")
    write_sums(tmp_path)
    listing = (tmp_path / SUMS).read_bytes()

    for bit in range(8 * len(listing)):
        flipped = bytearray(listing)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / SUMS).write_bytes(flipped)
        with pytest.raises(DamagedError):
            verify_sums(tmp_path)


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A read-only or vanished place is named, as for every other file."""
    (tmp_path / "file").write_bytes(b"")
    lock = tmp_path / "file" / "x.lock"

    with pytest.raises(GanmillError, match="cannot be written"), run_lock(lock, "train x"):
        pass


_HOLDS = """
import sys, time
from pathlib import Path
from gan.durable import run_lock
with run_lock(Path(sys.argv[1]), "train x"):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    """The work of another process is not begun twice; SIGKILL of the holder frees the lock."""
    lock = tmp_path / "locks" / "x.lock"
    with _child(_HOLDS, lock) as process:
        with (
            pytest.raises(BusyError, match=f"train x: process {process.pid} is already"),
            run_lock(lock, "train x"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run_lock(lock, "train x"):
            assert lock.read_text() == str(os.getpid())


def test_who_is_patient_has_the_lock_once_it_is_free(tmp_path: Path) -> None:
    """Work of a second is waited for, not failed over; patience has an end, which names whom."""
    lock = tmp_path / "x.lock"
    with _child(_HOLDS, lock) as process:
        began = time.monotonic()
        with (
            pytest.raises(BusyError, match=f"train x: process {process.pid} is already"),
            run_lock(lock, "train x", patience_seconds=0.4),
        ):
            pass
        assert time.monotonic() - began >= 0.4
        threading.Timer(0.3, process.kill).start()
        with run_lock(lock, "train x", patience_seconds=30):
            assert lock.read_text() == str(os.getpid())


_REMOVES = _HOLDS.replace("time.sleep(60)", "time.sleep(0.5); Path(sys.argv[1]).unlink()")


def test_a_lock_that_its_holder_removed_is_no_lock(tmp_path: Path) -> None:
    """Who waited for it holds the file that the next one finds, not the one that is gone."""
    lock = tmp_path / "x.lock"
    with _child(_REMOVES, lock) as process, run_lock(lock, "train x", patience_seconds=30):
        assert process.wait() == 0
        with pytest.raises(BusyError), run_lock(lock, "train x"):
            pass
