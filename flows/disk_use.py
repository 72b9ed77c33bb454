"""How much of the disk the workspace takes, counted within a given time."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 512  # of `st_blocks`, whatever the file system's own blocks are
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Size:
    """What some folders take.

    Attributes:
        bytes: On the disk; a file with several names counts once.
        is_complete: Whether all of it was counted; else it is at least that much.
    """

    bytes: int
    is_complete: bool

    @property
    def shown(self) -> str:
        """It for people, say `1.5 GB`."""
        return f"{'' if self.is_complete else 'over '}{in_units(self.bytes)}"


def size_of(folders: Iterable[Path], *, seconds: float) -> Size:
    """Return what folders or files take together; what is not there takes nothing.

    Links are not followed. A folder that may not be looked into leaves the count incomplete.

    Args:
        folders: That are counted, with all below them.
        seconds: After how long the counting ends where it is.
    """
    deadline = time.monotonic() + seconds
    total, is_complete, waiting = 0, True, [str(folder) for folder in folders]
    seen: set[tuple[int, int]] = set()
    while waiting:
        if time.monotonic() > deadline:
            return Size(total, is_complete=False)
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += _bytes_of(entry, seen)
        except (FileNotFoundError, NotADirectoryError):  # gone meanwhile, or never there
            continue
        except OSError:
            is_complete = False
    return Size(total, is_complete)


def free_bytes(place: Path) -> tuple[int, int]:
    """Return how much is free for this user on the disk of a place, and how large that disk is.

    Args:
        place: What of it does not exist yet will be on the disk of its nearest parent that does.

    Raises:
        OSError: The disk does not answer.
    """
    there = next(each for each in (place, *place.absolute().parents) if each.exists())
    usage = shutil.disk_usage(there)
    return usage.free, usage.total


def refusal(place: Path) -> str:
    """Return why nothing can be written in a folder, "" where it can; a file goes in and out again.

    Permissions tell less: the disk may be read-only, and root may do anything but that.

    Args:
        place: What of it does not exist yet would be made in its nearest parent that does.
    """
    there = next(each for each in (place, *place.absolute().parents) if each.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".ganmill-doctor-") as probe:
            probe.write(b"?")
            probe.flush()
            Path(probe.name).read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def in_units(count_bytes: float) -> str:
    """Return a size in its largest fitting unit of 1,000, rounded, say `1.5 GB`."""
    power = 0
    while count_bytes >= 1000 and power < len(_UNITS) - 1:
        count_bytes, power = count_bytes / 1000, power + 1
    return f"{count_bytes:.1f} {_UNITS[power]}" if power else f"{count_bytes:.0f} bytes"


def _bytes_of(entry: "os.DirEntry[str]", seen: set[tuple[int, int]]) -> int:
    """Return what a file takes, nothing for one that was counted by another name."""
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # a server's own file, gone meanwhile
        return 0
    if facts.st_nlink > 1:
        if (facts.st_dev, facts.st_ino) in seen:
            return 0
        seen.add((facts.st_dev, facts.st_ino))
    return facts.st_blocks * _BLOCK_BYTES
