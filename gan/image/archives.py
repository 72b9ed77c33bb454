"""Read the images of a zip or a tar in one pass, in order, nothing written to disk.

A tar is read as a stream through a meter that stops it when it expands like a bomb, also inside a
header; a damaged header is an error here, where `tarfile` would take it for the archive's end.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Self

from gan.errors import SourceError
from gan.image.members import (
    LABELS,
    MAX_MEMBER_BYTES,
    Member,
    Survey,
    check_total,
    is_wanted,
)

_HEADER_SLACK_BYTES = 1 << 20  # what a tar may spend on headers between two members
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


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
        raise SourceError(
            f"{path}: member {name!a} points outside the archive (PATH_TRAVERSAL), so none of it "
            "is used. Get the archive from a source you trust."
        )
    return "/".join(parts)


def read_zip(path: Path, survey: Survey) -> Iterator[Member]:
    """Read a zip in the order of its directory."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        check_total(path, sum(info.file_size for info in infos), path.stat().st_size)
        links = {
            _archive_key(path, info.filename, set())
            for info in infos
            if stat.S_ISLNK(info.external_attr >> 16)
        }
        for info in infos:
            key = _archive_key(path, info.filename, links)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or not key:
                continue
            if kind not in {0, stat.S_IFREG}:
                survey.skip("LINK_IN_ARCHIVE" if key in links else "SPECIAL_FILE", key)
                continue
            if info.flag_bits & 1:
                raise SourceError(
                    f"{path}: is encrypted. Unpack it with its password and point data.path to "
                    "the folder."
                )
            if key == LABELS and info.file_size <= MAX_MEMBER_BYTES:
                survey.labels_csv = archive.read(info)
            if is_wanted(key, info.file_size, survey):
                yield Member(key, partial(archive.read, info))


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


def read_tar(path: Path, survey: Survey) -> Iterator[Member]:
    """Read a tar in the order of its bytes; each member's bytes must be read before the next.

    Raises:
        SourceError: It is hostile or a bomb; see `sources.read_members` for the other causes.
    """
    links: set[str] = set()
    with _decompressed(path) as stream:
        meter = _Meter(stream, path)
        with tarfile.open(fileobj=meter, mode="r|", tarinfo=_StrictTarInfo) as archive:
            for info in archive:
                meter.allow(info.size)
                if member := _tar_member(path, archive, info, links, survey):
                    yield member
                archive.members = []  # type: ignore[attr-defined]  # or tarfile keeps every header
        while meter.read(_HEADER_SLACK_BYTES):
            pass  # the check sum of a compressed stream stands at its very end


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


def _tar_member(
    path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo, links: set[str], survey: Survey
) -> Member | None:
    """Return the member when it is an image to bring in; note what it is otherwise."""
    key = _archive_key(path, info.name, links)
    if info.isdir() or not key:
        return None
    if info.issym() or info.islnk():
        links.add(key)
        survey.skip("LINK_IN_ARCHIVE", key)
    elif not info.isreg():
        survey.skip("SPECIAL_FILE", key)
    elif key == LABELS and info.size <= MAX_MEMBER_BYTES:
        survey.labels_csv = _content(archive, info)
        survey.clutter += 1
    elif is_wanted(key, info.size, survey):
        return Member(key, partial(_content, archive, info))
    return None


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    if file is None:  # a regular file always has content
        raise tarfile.ReadError(f"{info.name!a} has no content")
    return file.read()
