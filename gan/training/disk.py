"""Whether the disk has room for what is about to be written, asked before the write and not after.

A write that runs out of space leaves the old file intact (`gan.durable`), but the hours since then
are lost; a training that asks first stops where its last checkpoint is, and says what to free.
"""

import shutil
from pathlib import Path

from gan.errors import GanmillError

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to go on where fewer than `needed_bytes` are free for this user.

    A quota is not seen here: the write itself then fails, with the old file intact.

    Args:
        folder: Where files will be written; what of it does not exist yet will be on the disk of
            its nearest parent that does.
        needed_bytes: How much will be written before anything is removed.

    Raises:
        GanmillError: With both sizes; or the folder's disk does not answer.
    """
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        raise GanmillError(
            f"{folder}: its disk does not answer ({error.strerror or error}). Mount it or mend its "
            "permissions, then run the same command: it goes on from the last checkpoint."
        ) from error
    if free_bytes < needed_bytes:
        raise GanmillError(
            f"{folder}: {_size(free_bytes)} free, {_size(needed_bytes)} needed. Free "
            f"{_size(needed_bytes - free_bytes)} on that disk, then run the same command: it goes "
            "on from the last checkpoint."
        )


def _size(count_bytes: float) -> str:
    """Return a size in its largest fitting unit of 1,000, rounded, say `1.5 GB`."""
    power = 0
    while count_bytes >= 1000 and power < len(_UNITS) - 1:
        count_bytes, power = count_bytes / 1000, power + 1
    return f"{count_bytes:.1f} {_UNITS[power]}" if power else f"{count_bytes:.0f} bytes"
