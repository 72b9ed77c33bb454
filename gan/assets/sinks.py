"""Where publications go: a folder of this machine, or a store that speaks S3.

A folder appears under its name whole, by a rename. In a store there is no such thing, so its
`index.json` goes last: what it lists is there.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from gan.changes import explained, make_folder, rename, sync
from gan.durable import remove, remove_folder
from gan.errors import ServiceError, UsageError
from gan.image.addresses import Address, open_store

PUBLICATION = "index.json"
_AT_ONCE_FILES, _AT_ONCE_BYTES = 64, 64 << 20


class Sink(Protocol):
    """A place for one publication."""

    @property
    def shown(self) -> str:
        """How messages name it."""

    def index(self) -> dict[str, Any] | None:
        """Return the `index.json` that is there, None where there is none."""

    def put(self, staged: Path) -> None:
        """Put a folder of files there in the place of what was, `index.json` among them."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield an empty folder to make the files in."""


def open_sink(target: str) -> Sink:
    """Return the place that a path or an address names.

    Args:
        target: A path, `file:///path` or `s3://bucket/key`.

    Raises:
        UsageError: It is another kind of address, holds a login, or its library is not installed.
    """
    if "://" not in target:
        return FolderSink(Path(target))
    try:
        parts = urlsplit(target)
    except ValueError:  # whose words would quote the address
        raise UsageError("assets.sink: is no address. Write it as s3://bucket/folder.") from None
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown}: assets.sink holds a login, which would be in git with the recipe. Give it "
            "by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return FolderSink(Path(unquote(parts.path)))
    key = target.partition("://")[2].rstrip("/")
    if parts.scheme != "s3" or "::" in target or not parts.netloc:
        raise UsageError(
            f"{shown}: assets.sink cannot be that. Write a folder, file:///folder or "
            "s3://bucket/folder."
        )
    address = Address("s3", key, key.partition("/")[2], f"s3://{key}")
    return StoreSink(address.shown, address, open_store(address))


@dataclass(frozen=True)
class FolderSink:
    """A folder, replaced as a whole.

    Attributes:
        folder: Its path.
    """

    folder: Path

    @property
    def shown(self) -> str:
        """How messages name it."""
        return str(self.folder)

    def index(self) -> dict[str, Any] | None:
        """Return what is there, once what a killed publisher left between two renames is settled.

        Raises:
            UsageError: Something is there that is no publication; it is not ours to replace.
        """
        if self._old.is_dir() and not self.folder.exists():
            with explained(self.folder, "written"):
                rename(self._old, self.folder)
        remove_tree(self._old)
        if not self.folder.exists() and not self.folder.is_symlink():
            return None
        found = _parsed(_bytes_of(self.folder / PUBLICATION))
        if found is None or self.folder.is_symlink():
            raise UsageError(
                f"{self.folder}: is there and was not published by ganmill. Remove it, or name "
                "another assets.sink."
            )
        return found

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty folder beside it; what a killed publisher left there goes first."""
        staged = self.folder.with_name(f".{self.folder.name}.partial")
        remove_tree(staged)
        with explained(staged, "written"):
            make_folder(staged)
        try:
            yield staged
        finally:
            remove_tree(staged)

    def put(self, staged: Path) -> None:
        """Rename it into its place."""
        with explained(self.folder, "written"):
            if self.folder.exists():
                rename(self.folder, self._old)
            rename(staged, self.folder)
            sync(self.folder.parent)
        remove_tree(self._old)

    @property
    def _old(self) -> Path:
        """What was there, for the moment between two renames."""
        return self.folder.with_name(f".{self.folder.name}.old")


@dataclass(frozen=True)
class StoreSink:
    """Keys below a prefix of a bucket.

    Attributes:
        shown: How messages name it.
        address: Where.
        store: The fsspec file system.
    """

    shown: str
    address: Address
    store: Any

    def index(self) -> dict[str, Any] | None:
        """Return what is there; an index that is none counts as missing.

        Raises:
            UsageError, ServiceError: It may not be read, or nobody answers.
        """
        with self._explained():
            try:
                return _parsed(self.store.cat_file(f"{self.address.location}/{PUBLICATION}"))
            except FileNotFoundError:
                return None

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield a private folder of this machine."""
        with tempfile.TemporaryDirectory(prefix="ganmill-") as folder:
            yield Path(folder)

    def put(self, staged: Path) -> None:
        """Remove what the old index lists and the new one does not, then upload, the index last.

        Raises:
            UsageError, ServiceError: It may not be written, or nobody answers.
        """
        names = [path.relative_to(staged).as_posix() for path in _files(staged)]
        before = (self.index() or {}).get("files", {})
        with self._explained():
            gone = [self._key(name) for name in sorted(set(before) - set(names))]
            for key in gone:
                if self.store.exists(key):
                    self.store.rm_file(key)
            for some in _batches(staged, [name for name in names if name != PUBLICATION]):
                self.store.put([str(staged / n) for n in some], [self._key(n) for n in some])
            self.store.put_file(str(staged / PUBLICATION), self._key(PUBLICATION))

    def _key(self, name: str) -> str:
        return f"{self.address.location}/{name}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the store says into one line; none of its words holds a secret."""
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )

        try:
            yield
        except (OSError, BotoCoreError, ClientError) as error:
            raise self._in_words(error) from error

    def _in_words(self, error: Exception) -> UsageError | ServiceError:
        name = type(error).__name__
        if isinstance(error, FileNotFoundError):
            return UsageError(f"{self.shown}: there is no such bucket. Make it, or name another.")
        no_login = name in {"NoCredentialsError", "PartialCredentialsError"}
        if no_login or isinstance(error, PermissionError):
            return UsageError(
                f"{self.shown}: may not be written. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            )
        return ServiceError(
            f"{self.shown}: does not answer ({name}). Is AWS_ENDPOINT_URL right? Publish again: "
            "what is there stays."
        )


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there; a link is removed, not followed.

    Raises:
        GanmillError: Something in it cannot be removed.
    """
    if not folder.is_dir() or folder.is_symlink():
        remove(folder)
        return
    for room, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            if (Path(room) / name).is_symlink():
                remove(Path(room) / name)
        remove_folder(Path(room))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _batches(folder: Path, names: list[str]) -> Iterator[list[str]]:
    """Yield neighbours of at most 64 files, and of at most 64 MiB when they are several."""
    batch: list[str] = []
    size = 0
    for name in names:
        own = (folder / name).stat().st_size
        if batch and (len(batch) == _AT_ONCE_FILES or size + own > _AT_ONCE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += own
    if batch:
        yield batch


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parsed(payload: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(payload)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("files"), dict) else None
