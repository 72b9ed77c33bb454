"""Read the images of a folder, a zip or a tar, without trusting one of them.

Nothing is ever written under a name that the source chose, links are never followed, and caps on
size, number and expansion stop bombs before they take memory.
"""

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gan.errors import SourceError
from gan.image.archives import is_zip, read_tar, read_zip
from gan.image.members import (
    LABELS,
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    Member,
    Survey,
    check_total,
    is_wanted,
)

_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError, ValueError, struct.error,  # zipfile's other complaints
)  # fmt: skip


def read_members(path: Path, survey: Survey) -> Iterator[Member]:
    """Yield the images of a source in an order that depends on its content alone.

    Args:
        path: A folder, a .zip, or a .tar (plain, .gz, .xz, .bz2); told apart by content.
        survey: Filled with what was left out, complete when the iteration ends.

    Raises:
        SourceError: The source is missing, unreadable, damaged, encrypted, hostile, or a bomb.
    """
    with _explaining(path):
        for member in _unique(_reader(path)(path, survey), survey):
            yield Member(member.key, partial(_read_explaining, path, member.read))


def _read_explaining(path: Path, read: Callable[[], bytes]) -> bytes:
    """Read a member; the reader calls this outside of the iteration."""
    with _explaining(path):
        return read()


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn what the standard library says of a bad source into one line.

    Raises:
        SourceError: In place of any of those errors.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(
            f"{error.filename or path}: not found. Give a folder, a .zip or a .tar of images "
            "in data.path."
        ) from error
    except PermissionError as error:
        raise SourceError(
            f"{error.filename or path}: cannot be read (permission denied). "
            "Give this user the right to read it, then run it again."
        ) from error
    except OSError as error:  # bz2 and gzip say "Invalid data stream" with a bare OSError
        if error.errno is None:
            raise _damaged(path, error) from error
        raise SourceError(
            f"{error.filename or path}: cannot be read ({error.strerror})."
        ) from error
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SourceError:
    detail = ascii(" ".join(str(error).split()) or type(error).__name__)[1:-1]
    return SourceError(f"{path}: is damaged, or no folder, zip or tar ({detail}). Fetch it again.")


def _reader(path: Path) -> Callable[[Path, Survey], Iterator[Member]]:
    """Choose the reader by what the path holds, since suffixes lie."""
    if path.is_dir():
        return _read_folder
    if not stat.S_ISREG(path.stat().st_mode):
        raise SourceError(f"{path}: is neither a folder nor a file. Give a folder, zip or tar.")
    return read_zip if is_zip(path) else read_tar


def _unique(members: Iterator[Member], survey: Survey) -> Iterator[Member]:
    """Let the first of several members with one key through, and at most `MAX_MEMBERS`."""
    seen: set[str] = set()
    for member in members:
        if member.key in seen:
            survey.skip("NAME_COLLISION", member.key)
            continue
        if len(seen) >= MAX_MEMBERS:
            raise SourceError(f"more than {MAX_MEMBERS:,} images. Split the source into recipes.")
        seen.add(member.key)
        yield member


def _read_folder(path: Path, survey: Survey) -> Iterator[Member]:
    """Walk a folder in sorted order; links are noted and left alone."""
    pending = [(path, "")]
    total_bytes = 0
    while pending:
        folder, prefix = pending.pop()
        deeper = []
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
        for entry in listing:
            key, mode = prefix + entry.name, entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                deeper.append((Path(entry.path), f"{key}/"))
            elif stat.S_ISLNK(mode):
                survey.skip("LINK_IN_ARCHIVE", key)
            elif not stat.S_ISREG(mode):
                survey.skip("SPECIAL_FILE", key)
            else:
                size = entry.stat(follow_symlinks=False).st_size
                if key == LABELS and size <= MAX_MEMBER_BYTES:
                    survey.labels_csv = _read_file(Path(entry.path))
                if is_wanted(key, size, survey):
                    total_bytes += size
                    check_total(path, total_bytes)
                    yield Member(key, partial(_read_file, Path(entry.path)))
        pending.extend(reversed(deeper))


def _read_file(path: Path) -> bytes:
    """Return the bytes of a regular file, up to one more than the cap, never through a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # pathlib cannot say O_NOFOLLOW
        payload = file.read(MAX_MEMBER_BYTES + 1)
    if len(payload) > MAX_MEMBER_BYTES:
        raise SourceError(f"{path}: grew while it was read. Wait for the writer, then run again.")
    return payload
