"""The single changes of the disk that `gan.durable` is made of, each announced before it happens.

`_operation` is the one seam of the fault tests: they let the n-th change fail, or die in it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan.errors import GanmillError, UsageError


def _operation(name: str, path: Path) -> None:
    """Do nothing; `tests/faults/seam.py` puts in its place what counts, fails or dies.

    Args:
        name: write, sync, rename, unlink or mkdir.
        path: What is about to change.
    """
    del name, path


@contextmanager
def explained(path: Path, done: str) -> Iterator[None]:
    """Turn an error of the machine into the one line that a user can act on.

    Raises:
        UsageError: There is no permission for it.
        GanmillError: `path` cannot be `done`, say "written", for another reason.
    """
    try:
        yield
    except PermissionError as error:
        raise UsageError(
            f"{path}: cannot be {done}: no permission. Mend the owner or mode of its folder."
        ) from error
    except OSError as error:
        message = f"{path}: cannot be {done} ({error.strerror or error}). Free the space or mend "
        raise GanmillError(message + "the folder's permissions, then run it again.") from error


def announce_write(path: Path) -> None:
    """Say that the caller is about to write to `path` by its own means."""
    _operation("write", path)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each one known to the disk before anything is put in it.

    Raises:
        OSError: It cannot be made.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        _operation("mkdir", folder)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Force a file's bytes, or a folder's names, to the disk.

    Raises:
        OSError: The disk failed.
    """
    _operation("sync", path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Put a file in the place of another, which a reader sees whole until then.

    Raises:
        OSError: It cannot be renamed; both are as they were.
    """
    _operation("rename", target)
    source.replace(target)


def unlink(path: Path) -> None:
    """Remove a file or an empty folder, if it is there.

    Raises:
        OSError: It cannot be removed.
    """
    _operation("unlink", path)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
