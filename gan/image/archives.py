"""Read the images of a zip or a tar in one pass, in order, nothing written to disk.

An archive with names or links that lead outside, or with devices, is refused whole. A tar is read
as a stream through a meter that stops it when it expands like a bomb, also inside a header; a
damaged header is an error here, where `tarfile` would take it for the archive's end.
"""

import bz2
import gzip
import io
import lzma
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NoReturn, Self

from gan.errors import SourceError
from gan.image.members import (
    LABELS,
    MAX_MEMBER_BYTES,
    Member,
    Survey,
    check_total,
    is_wanted,
)
from gan.image.webdataset import gather, is_sidecar

_HEADER_SLACK_BYTES = 1 << 20  # what a tar may spend on headers between two members
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_ODD_MODE_BITS = 0o7000  # set-user, set-group, sticky: of no use to an image
_MAX_LINK_BYTES = 4096


def is_zip(path: Path) -> bool:
    """Return whether a file begins like a zip, whatever its name says."""
    with path.open("rb") as file:
        return file.read(4) in _ZIP_MAGIC


def _archive_key(path: Path, name: str, links: set[str]) -> str:
    """Return the posix key of an archive member; old Windows tools write backslashes.

    Raises:
        SourceError: The name is absolute, climbs out, or goes through a link of the archive.
    """
    posix = name.replace("\\", "/")
    parts = [part for part in posix.split("/") if part not in {"", "."}]
    absolute = posix.startswith("/") or (bool(parts) and parts[0][1:2] == ":")
    through = (
        any("/".join(parts[:depth]) in links for depth in range(1, len(parts))) if links else False
    )
    if absolute or ".." in parts or through:
        _refuse(path, f"member {name!a} points outside the archive", "PATH_TRAVERSAL")
    return "/".join(parts)


def _refuse(path: Path, what: str, reason: str) -> NoReturn:
    raise SourceError(
        f"{path}: {what} ({reason}), so none of it is used. Get the archive from a source you "
        "trust, or unpack it by hand, look at it, and point data.path to the folder."
    )


class _Links:
    """The links of an archive. They are left out; one to a place outside refuses the archive.

    That is said at the archive's end: a member that goes through a link is the graver matter.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keys: set[str] = set()
        self._outside = ""

    def met(self, key: str, target: str, folder: str) -> None:
        """Take note of a link to `target`, a path from `folder`."""
        self.keys.add(key)
        reached = posixpath.normpath(posixpath.join(folder, target.replace("\\", "/")))
        if reached.startswith("/") or reached.split("/")[0] == ".." or reached[1:2] == ":":
            self._outside = self._outside or f"{key!a} is a link to {target!a}, outside the archive"

    def check(self) -> None:
        """Refuse the archive when one of them leads outside.

        Raises:
            SourceError: One does.
        """
        if self._outside:
            _refuse(self._path, self._outside, "LINK_IN_ARCHIVE")


def read_zip(path: Path, survey: Survey) -> Iterator[Member]:
    """Read a zip in the order of its directory."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        check_total(path, sum(info.file_size for info in infos), path.stat().st_size)
        links = _Links(path)
        for info in infos:
            if stat.S_ISLNK(info.external_attr >> 16):
                key = _archive_key(path, info.filename, set())
                links.met(key, _zip_link(archive, info), posixpath.dirname(key))
                survey.skip("LINK_IN_ARCHIVE", key)
        for info in infos:
            key = _archive_key(path, info.filename, links.keys)
            if not key or key in links.keys:
                continue
            if info.is_dir():
                survey.met_folder(key)
                continue
            _check_zip_member(path, info, key)
            if key == LABELS and info.file_size <= MAX_MEMBER_BYTES:
                survey.labels_csv = archive.read(info)
            if is_wanted(key, info.file_size, survey):
                if info.external_attr >> 16 & _ODD_MODE_BITS:
                    survey.note("UNSAFE_MODE", key)
                yield Member(key, partial(archive.read, info))
        links.check()


def _check_zip_member(path: Path, info: zipfile.ZipInfo, key: str) -> None:
    """Refuse a zip for a member that is encrypted or no file.

    Raises:
        SourceError: It is.
    """
    if info.flag_bits & 1:
        raise SourceError(
            f"{path}: is encrypted (ENCRYPTED). Unpack it with its password and point data.path "
            "to the folder."
        )
    if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
        _refuse(path, f"{key!a} is a device or a pipe", "SPECIAL_FILE")


def _zip_link(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with archive.open(info) as file:
        return file.read(_MAX_LINK_BYTES).decode("utf-8", "replace")


class _StrictTarInfo(tarfile.TarInfo):
    """A header whose damage is an error; `tarfile` takes it for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Return the next header.

        Raises:
            tarfile.ReadError: It is damaged, or the file ends without the closing zero blocks.
        """
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # two zero blocks: the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset:,}") from error


class _Meter(io.RawIOBase):
    """A stream that refuses to give more bytes than it was last allowed."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, path: Path) -> None:
        self._stream, self._path = stream, path
        self._given_bytes = 0
        self._allowed_bytes = _HEADER_SLACK_BYTES
        self._archive_bytes = path.stat().st_size

    def allow(self, size: int) -> None:
        """Allow `size` more bytes of content beyond what was given, and a header after it."""
        check_total(self._path, self._given_bytes + size, self._archive_bytes)
        self._allowed_bytes = self._given_bytes + size + _HEADER_SLACK_BYTES

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            SourceError: The archive spends too much on what is no file content.
        """
        chunk = self._stream.read(size)
        self._given_bytes += len(chunk)
        if self._given_bytes > self._allowed_bytes:
            raise SourceError(
                f"{self._path}: spends over 1 MiB on one header (ARCHIVE_BOMB); none of it is used."
            )
        return chunk


def read_tar(path: Path, survey: Survey, prefix: str = "") -> Iterator[Member]:
    """Read a tar in the order of its bytes; what stands beside an image becomes its columns.

    Args:
        path: Plain, or compressed by gzip, xz or bzip2.
        survey: Filled with what was left out.
        prefix: Put before each key.

    Raises:
        SourceError: It is hostile or a bomb; see `reading.read_members` for the other causes.
    """
    yield from gather(_tar_files(path, survey, prefix), survey)


def _tar_files(path: Path, survey: Survey, prefix: str) -> Iterator[Member]:
    """Yield images and what may say something of them; to be read before the next is asked for."""
    links = _Links(path)
    with _decompressed(path) as stream:
        meter = _Meter(stream, path)
        with tarfile.open(fileobj=meter, mode="r|", tarinfo=_StrictTarInfo) as archive:
            for info in archive:
                meter.allow(info.size)
                name = _archive_key(path, info.name, links.keys)
                if info.issym() or info.islnk():
                    # A hard link names its target from the archive's top.
                    folder = posixpath.dirname(name) if info.issym() else ""
                    links.met(name, info.linkname, folder)
                    survey.skip("LINK_IN_ARCHIVE", prefix + name)
                elif name and _is_file(path, info, prefix + name, survey):
                    yield Member(prefix + name, partial(_content, archive, info))
                archive.members = []  # type: ignore[attr-defined]  # or tarfile keeps every header
        while meter.read(_HEADER_SLACK_BYTES):
            pass  # the check sum of a compressed stream stands at its very end
    links.check()


def _is_file(path: Path, info: tarfile.TarInfo, key: str, survey: Survey) -> bool:
    """Return whether a member is an image or says something of one; note what it is otherwise."""
    if info.isdir():
        survey.met_folder(key)
        return False
    if not info.isreg():
        _refuse(path, f"{key!a} is a device or a pipe", "SPECIAL_FILE")
    if key == LABELS or is_sidecar(key, info.size):
        return info.size <= MAX_MEMBER_BYTES
    if not is_wanted(key, info.size, survey):
        return False
    if info.mode & _ODD_MODE_BITS:
        survey.note("UNSAFE_MODE", key)
    return True


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file that may be gzip, xz or bzip2, told by its first bytes."""
    with path.open("rb") as file:
        magic = file.peek(6)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(file) as stream:
                yield stream
        elif magic.startswith(b"\xfd7zXZ"):
            with lzma.open(file) as stream:
                yield stream
        elif magic.startswith(b"BZh"):
            with bz2.open(file) as stream:
                yield stream
        else:
            yield file


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    if file is None:  # a regular file always has content
        raise tarfile.ReadError(f"{info.name!a} has no content")
    return file.read()
