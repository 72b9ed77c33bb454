"""The single changes of the disk: announced in order, and explained when the machine refuses."""

from pathlib import Path

import pytest

from gan.changes import explained, make_folder, rename, sync, unlink
from gan.errors import GanmillError
from tests.faults.seam import failing_at


def test_each_change_is_announced_before_it_happens(tmp_path: Path) -> None:
    """A test that lets the n-th change fail meets every one, and what is there is as before it."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"new")
    with failing_at(0, 0) as passed:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")  # is there: no change
        sync(source)
        rename(source, target)
        unlink(target)
        unlink(tmp_path / "a" / "b")

    parent = tmp_path.name
    assert passed == [
        *("mkdir a", f"sync {parent}", "mkdir b", "sync a"),
        *("sync source", "rename target", "unlink target", "unlink b"),
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    """Removing twice is no error: the second call of a killed work finds it done."""
    path = tmp_path / "once"
    path.touch()
    for _ in range(2):
        unlink(path)
        assert not path.exists()


def test_an_error_of_the_machine_becomes_a_line(tmp_path: Path) -> None:
    """The line names the file, the machine's reason and what to do."""
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(GanmillError, match=r"x: cannot be written \(File exists\)\. Free the space"),
        explained(Path("x"), "written"),
    ):
        make_folder(tmp_path / "file")
