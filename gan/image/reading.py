"""Read the images of a folder, a zip, a tar or a parquet file, without trusting one of them.

Nothing is ever written under a name that the source chose, links are never followed, and caps on
size, number and expansion stop bombs before they take memory.
"""

import lzma
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gan.errors import SourceError
from gan.image.archives import is_zip, read_tar, read_zip
from gan.image.members import (
    FOLDER,
    LABELS,
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    Member,
    Survey,
    check_total,
    is_hidden,
    is_wanted,
)
from gan.image.tables import NO_IMAGES, SUFFIX, NoImageColumn, is_table, read_table

_CUT = ("truncated", "unexpected end", "end-of-stream", "not a zip file", "eof", "magic bytes")
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError, ValueError, struct.error,  # zipfile's other complaints
)  # fmt: skip


def read_members(path: Path, survey: Survey) -> Iterator[Member]:
    """Yield the images of a source in an order that depends on its content alone.

    Args:
        path: A folder of images, parquet files, or WebDataset tars alone; a .zip, a .tar (plain,
            .gz, .xz, .bz2; WebDataset or not) or a .parquet, told apart by content.
        survey: Filled with what was left out, complete when the iteration ends.

    Raises:
        SourceError: The source is missing, unreadable, damaged, encrypted, hostile, or a bomb.
    """
    with _explaining(path):
        for member in _unique(_reader(path)(path, survey), path, survey):
            read = partial(_read_explaining, path, member.read)
            yield Member(member.key, read, member.columns)


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
            f"{error.filename or path}: not found. Give a folder, a .zip, a .tar or a .parquet of "
            "images in data.path."
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
    cut = isinstance(error, EOFError) or any(words in detail.lower() for words in _CUT)
    reason = "TRUNCATED" if cut else "CORRUPT"
    return SourceError(
        f"{path}: is damaged, or no folder, zip, tar or parquet ({reason}: {detail}). "
        "Fetch it again."
    )


def _reader(path: Path) -> Callable[[Path, Survey], Iterator[Member]]:
    """Choose the reader by what the path holds, since suffixes lie."""
    if path.is_dir():
        return _read_tars if _holds_tars_alone(path) else _read_folder
    if not stat.S_ISREG(path.stat().st_mode):
        raise SourceError(f"{path}: is neither a folder nor a file. Give a folder, zip or tar.")
    if is_zip(path):
        return read_zip
    return _read_table if is_table(path) else read_tar


def _unique(members: Iterator[Member], path: Path, survey: Survey) -> Iterator[Member]:
    """Let at most `MAX_MEMBERS` through, no two of one key; note names that look the same.

    Names that differ in case or in the way accents are written are two files here, and one on
    many other machines.
    """
    first: dict[str, str] = {}  # by the folded key
    twins: set[str] = set()
    for member in members:
        key = member.key
        folded = unicodedata.normalize("NFC", key).casefold()
        earlier = first.setdefault(folded, key)
        if len(first) + len(twins) > MAX_MEMBERS:
            raise SourceError(f"more than {MAX_MEMBERS:,} images. Split the source into recipes.")
        if earlier is not key:
            if earlier == key or key in twins:
                raise SourceError(
                    f"{path}: holds {key!a} twice (NAME_COLLISION), and nothing says which is "
                    "meant, so none of it is used. Pack it anew, or point data.path to a folder."
                )
            twins.add(key)
            composed = unicodedata.normalize("NFC", key) == key
            survey.note("NAME_COLLISION", earlier if composed and not _is_nfc(earlier) else key)
        yield member
    for folder in survey.empty_folders():
        survey.note("CLASS_EMPTY", folder)


def _is_nfc(key: str) -> bool:
    return unicodedata.is_normalized("NFC", key)


def _holds_tars_alone(path: Path) -> bool:
    """Return whether a folder is a WebDataset of several tars, and nothing else but notes."""
    names = [entry.name for entry in path.iterdir() if not is_hidden(entry.name)]
    wanted = [name for name in names if not name.endswith((".json", ".txt", ".md"))]
    return bool(wanted) and all(name.endswith(".tar") for name in wanted)


def _read_tars(path: Path, survey: Survey) -> Iterator[Member]:
    """Read the tars of a WebDataset one after the other; their names come first in the keys."""
    for tar in sorted(path.iterdir(), key=lambda entry: entry.name):
        if tar.suffix != ".tar" or is_hidden(tar.name):
            survey.clutter += 1
        elif tar.is_symlink() or not tar.is_file():
            survey.skip("LINK_IN_ARCHIVE" if tar.is_symlink() else "SPECIAL_FILE", tar.name)
        else:
            with _explaining(tar):
                for member in read_tar(tar, survey, f"{tar.stem}/"):
                    folder = member.key.split("/")[-2] if member.key.count("/") > 1 else ""
                    yield Member(member.key, member.read, {FOLDER: folder, **member.columns})


def _read_table(path: Path, survey: Survey) -> Iterator[Member]:
    """Read one parquet file, which must hold images."""
    try:
        yield from read_table(path, survey, "")
    except NoImageColumn as error:
        raise SourceError(f"{path}: {error}. Name a file with pictures in it.") from error


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
                survey.met_folder(key)
                deeper.append((Path(entry.path), f"{key}/"))
            elif stat.S_ISLNK(mode):
                survey.skip("LINK_IN_ARCHIVE", key)
            elif not stat.S_ISREG(mode):
                survey.skip("SPECIAL_FILE", key)
            elif key.endswith(SUFFIX) and not is_hidden(key):
                yield from _read_table_of(Path(entry.path), key.removesuffix(SUFFIX), survey)
            else:
                size = entry.stat(follow_symlinks=False).st_size
                if key == LABELS and size <= MAX_MEMBER_BYTES:
                    survey.labels_csv = _read_file(Path(entry.path))
                if is_wanted(key, size, survey):
                    total_bytes += size
                    check_total(path, total_bytes)
                    yield Member(key, partial(_read_file, Path(entry.path)))
        pending.extend(reversed(deeper))


def _read_table_of(path: Path, key: str, survey: Survey) -> Iterator[Member]:
    """Read a parquet file of a folder; one without pictures is left out."""
    try:
        yield from read_table(path, survey, f"{key}/")
    except NoImageColumn:
        survey.skip(NO_IMAGES, key + SUFFIX)


def _read_file(path: Path) -> bytes:
    """Return the bytes of a regular file, up to one more than the cap, never through a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # pathlib cannot say O_NOFOLLOW
        payload = file.read(MAX_MEMBER_BYTES + 1)
    if len(payload) > MAX_MEMBER_BYTES:
        raise SourceError(f"{path}: grew while it was read. Wait for the writer, then run again.")
    return payload
