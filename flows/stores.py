"""DVC's cache and remote, object by object, with every byte hashed.

DVC names an object by its MD5 and then trusts the name: it takes a read-only cache file for proof
of its content, copies a damaged one to the remote and back, and where it sees a folder's list on
the remote it takes the folder's files for granted. So data versions leave and enter through here.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

from flows import _dvc, _dvc_remote
from flows._dvc_remote import RemoteFacts
from gan.changes import explained
from gan.durable import remove, replacing
from gan.errors import DamagedError, UsageError
from gan.paths import Layout

State = Literal["sound", "missing", "altered"]
_CHUNK_BYTES = 1 << 20
_LIST = ".dir"  # how DVC ends the name of the list of a folder's files


@dataclass(frozen=True)
class Digests:
    """What some bytes hash to: 32 hex that DVC names them by, 64 hex that we keep."""

    md5: str
    sha256: str


def digests(source: BinaryIO, sink: Callable[[bytes], object] | None = None) -> Digests:
    """Hash what is left of an open file, and hand its bytes on where they are wanted."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        md5.update(chunk)
        sha256.update(chunk)
        if sink:
            sink(chunk)
    return Digests(md5.hexdigest(), sha256.hexdigest())


class Store:
    """The cache or a remote: files named by the MD5 of their bytes."""

    def __init__(self, place: Literal["cache", "remote"], label: str, database: Any) -> None:
        """Read and write through DVC's `database`, which is called `label` in messages."""
        self.place, self.label, self._database = place, label, database

    def where(self, name: str) -> str:
        """Return an object's path or key."""
        return str(self._database.oid_to_path(name))

    def state(self, name: str) -> State:
        """Say how an object is, by reading all of its bytes.

        Raises:
            ServiceError: The store does not answer.
        """
        found = self.copy(name)
        return "missing" if found is None else "sound" if _fits(name, found) else "altered"

    def copy(self, name: str, sink: Callable[[bytes], object] | None = None) -> Digests | None:
        """Hand on the bytes of an object; return what they hash to, None if it is not there.

        Raises:
            ServiceError: The store does not answer.
        """
        with _dvc.answering(self.label):
            try:
                with self._files().open(self.where(name), "rb") as source:
                    return digests(source, sink)
            except FileNotFoundError:
                return None

    def size_bytes(self, name: str) -> int | None:
        """Return an object's size, None if it is not there.

        Raises:
            ServiceError: The store does not answer.
        """
        with _dvc.answering(self.label):
            try:
                return int(self._files().info(self.where(name))["size"])
            except FileNotFoundError:
                return None

    def put(self, name: str, source: BinaryIO) -> None:
        """Put an open file in the place of an object of a folder of this machine.

        Raises:
            GanmillError: There is no room for it; what was there is intact.
        """
        source.seek(0)
        path = Path(self.where(name))
        with replacing(path) as partial, partial.open("wb") as target:
            digests(source, target.write)
        path.chmod(0o444)  # as DVC leaves its own

    def upload(self, name: str, source: Path) -> None:
        """Put a file in the place of an object, wherever the store is.

        Raises:
            GanmillError: There is no room for it; what was there is intact.
            ServiceError: The store does not answer.
        """
        if self._database.fs.protocol == "local":
            with source.open("rb") as file:
                self.put(name, file)
            return
        with _dvc.answering(self.label):  # S3 shows an object when all of it is there
            self._files().put_file(str(source), self.where(name))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there.

        Raises:
            GanmillError: It cannot be removed.
            ServiceError: The store does not answer.
        """
        if self._database.fs.protocol == "local":
            remove(Path(self.where(name)))
            return
        with _dvc.answering(self.label), suppress(FileNotFoundError):
            self._files().fs.rm_file(self.where(name))

    def _files(self) -> Any:
        files = self._database.fs
        files.fs.invalidate_cache()  # what s3fs remembers of a folder hides what others did to it
        return files


class Stores:
    """The cache, and the remote that stands behind it."""

    def __init__(self, cache: Store, remote: Store | None) -> None:
        """Ask `cache` first; there may be no remote."""
        self.cache, self._remote = cache, remote

    @property
    def has_remote(self) -> bool:
        """Whether one is configured."""
        return self._remote is not None

    @property
    def remote(self) -> Store:
        """The remote.

        Raises:
            UsageError: None is configured.
        """
        if self._remote is None:
            raise UsageError(
                ".dvc/config: has no default remote. Add one with: dvc remote add -d NAME URL"
            )
        return self._remote

    def fetch(self, name: str, file: str, target: BinaryIO) -> Digests:
        """Write an object to a file, from whichever store has it sound; mend the cache with it.

        Args:
            name: The object.
            file: What it is, for messages.
            target: Open for reading and writing; what is in it is replaced.

        Raises:
            DamagedError: No store has it.
            ServiceError: The remote does not answer.
        """
        found, store = self._read(name, file, target)
        if store is self._remote:
            self.cache.put(name, target)
        return found

    def files(self, outs: Mapping[str, str]) -> dict[str, str]:
        """Return `{file: object}` of every file below DVC's outputs, given as `{path: object}`.

        Raises:
            DamagedError: The list of a folder's files is nowhere to be had.
            ServiceError: The remote does not answer.
        """
        found: dict[str, str] = {}
        for path, name in outs.items():
            if not name.endswith(_LIST):
                found[path] = name
                continue
            listing = BytesIO()
            self._read(name, f"{path} (the list of its files)", listing)
            rows = json.loads(listing.getvalue())  # its MD5 was right, so DVC wrote it
            found |= {f"{path}/{row['relpath']}": str(row["md5"]) for row in rows}
        return found

    def objects(self, outs: Mapping[str, str]) -> dict[str, str]:
        """Return `files` with the lists themselves, which come last, as `{path: object}`.

        Who finds the list of a folder on a remote may take its files for granted, as DVC does.

        Raises:
            DamagedError: The list of a folder's files is nowhere to be had.
            ServiceError: The remote does not answer.
        """
        return self.files(outs) | {p: name for p, name in outs.items() if name.endswith(_LIST)}

    def push(self, outs: Mapping[str, str], recipe: str) -> int:
        """Copy what the remote lacks, or has in another size, to it; return how many objects went.

        What is there in its size is not read again: `flows.datasets.verifying` does that.

        Raises:
            DamagedError: The remote lacks what the cache has damaged, or has lost.
            ServiceError: The remote does not answer, or has no room.
            UsageError: No remote is configured.
        """
        went = 0
        for file, name in self.objects(outs).items():
            here, there = self.cache.size_bytes(name), self.remote.size_bytes(name)
            if there is not None and here in {None, there}:
                continue
            path = Path(self.cache.where(name))
            if (state := self.cache.state(name)) != "sound":
                raise DamagedError(
                    f"{file}: {path} is {state}, and {self.remote.label} does not have it either. "
                    f"Run: ganmill data verify {recipe} --mend"
                )
            self.remote.upload(name, path)
            went += 1
        return went

    def _read(self, name: str, file: str, target: BinaryIO) -> tuple[Digests, Store]:
        """Write an object to a file; return which store had it sound."""

        def write(chunk: bytes) -> None:
            with explained(Path(file), "written"):
                target.write(chunk)

        seen = []
        for store in (self.cache, self._remote):
            if store is None:
                seen.append("no DVC remote is configured")
                continue
            target.seek(0)
            target.truncate()
            found = store.copy(name, write)
            if found and _fits(name, found):
                return found, store
            seen.append(f"{'altered' if found else 'missing'} in {store.label}")
        raise DamagedError(f"{file}: its DVC object {name} is {' and '.join(seen)}.")


@contextmanager
def opened(layout: Layout) -> Iterator[Stores]:
    """Open the workspace's cache and its default remote.

    Raises:
        UsageError: The folder is no DVC workspace, or its configuration is wrong.
        ServiceError: The remote is of a kind that is not installed.
    """
    with _dvc.opened(layout) as repo:
        cache = Store("cache", "the DVC cache", repo.cache.local)
        remote = _dvc.remote(repo)
        yield Stores(cache, Store("remote", *remote) if remote else None)


def describe_remote(layout: Layout, *, seconds: int) -> RemoteFacts | None:
    """Return what is known of the default remote, None without one; nothing is made or locked.

    Args:
        layout: The workspace.
        seconds: The longest that a store of the network is waited for.

    Raises:
        UsageError: The configuration is wrong.
    """
    return _dvc_remote.describe_remote(layout, seconds=seconds)


def _fits(name: str, found: Digests) -> bool:
    return found.md5 == name.removesuffix(_LIST)
