"""A full disk is noticed before a write, with what to do about it."""

import shutil
from pathlib import Path

import pytest

from gan.errors import GanmillError
from gan.training.disk import require_space


def test_room_enough_is_silence(tmp_path: Path) -> None:
    """What fits raises nothing, also in a folder that is still to be made."""
    require_space(tmp_path, 1)
    require_space(tmp_path / "runs" / "stickers", 0)


def test_too_little_room_names_folder_sizes_and_remedy(tmp_path: Path) -> None:
    """The line says where, how much is free, how much is needed, and which command follows."""
    folder = tmp_path / "runs" / "stickers"
    needed_bytes = shutil.disk_usage(tmp_path).total + 10**15
    wanted = rf"{folder}: [\d.]+ [kMGT]?B free, 1\d{{3}}\.\d TB needed\. Free .*same command"
    with pytest.raises(GanmillError, match=wanted) as caught:
        require_space(folder, needed_bytes)

    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")  # noqa: S108
def test_what_others_fill_is_no_longer_free() -> None:
    """On a real small file system in memory: it is the free bytes that count, not the size."""
    there = Path("/dev/shm")  # noqa: S108
    free_bytes = shutil.disk_usage(there).free
    require_space(there, free_bytes // 2)
    with pytest.raises(GanmillError, match="needed"):
        require_space(there, free_bytes + (1 << 30))


def test_a_disk_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A folder behind a name that no disk can have is one line too, not a traceback."""
    with pytest.raises(GanmillError, match="its disk does not answer"):
        require_space(tmp_path / ("a" * 300), 1)
