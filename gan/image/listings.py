"""What lies at an address, and the few words that pin it: `models/<recipe>/source.json`.

The pin is in git and DVC watches it: the number of files, their bytes, and a digest of names,
sizes and marks (the store's ETag, or the time of the last change).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gan.durable import read_json
from gan.errors import DamagedError, SourceError
from gan.image.addresses import Address, explained, open_store, parse
from gan.image.members import MAX_MEMBERS, MAX_TOTAL_BYTES

_FORMAT = 1


@dataclass(frozen=True)
class Pin:
    """Which files are meant, in a few words: the content of `models/<recipe>/source.json`.

    Attributes:
        source: The address without login and query, or `torchvision:NAME`.
        files: How many files.
        total_bytes: Their bytes together; what a server does not tell counts as 0.
        digest: SHA-256 of the sorted (name, bytes, mark) of each, as hex.
    """

    source: str
    files: int
    total_bytes: int
    digest: str

    def document(self) -> dict[str, str | int]:
        """Return it as JSON."""
        return {
            "format": _FORMAT,
            "source": self.source,
            "files": self.files,
            "bytes": self.total_bytes,
            "digest": self.digest,
        }


def pin_of(source: str, rows: Iterable[tuple[str, int, str]]) -> Pin:
    """Return the pin of some (name, bytes, mark) rows, whatever their order."""
    digest = hashlib.sha256()
    files = total_bytes = 0
    for row in sorted(rows):
        digest.update(json.dumps(row).encode() + b"\n")
        files, total_bytes = files + 1, total_bytes + row[1]
    return Pin(source, files, total_bytes, digest.hexdigest())


def read_pin(path: Path) -> Pin:
    """Return the pin that a file holds.

    Raises:
        DamagedError: It is missing, or is no such file.
    """
    found = read_json(path)
    kinds = {"format": int, "source": str, "files": int, "bytes": int, "digest": str}
    if not isinstance(found, dict) or {key: type(found[key]) for key in found} != kinds:
        raise DamagedError(f"{path}: does not say which images are meant. Delete it.")
    if found["format"] != _FORMAT:
        raise DamagedError(f"{path}: has format {found['format']}, wanted {_FORMAT}. Delete it.")
    return Pin(found["source"], found["files"], found["bytes"], found["digest"])


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at an address: its name there, its name below the address, bytes (None: not said)."""

    name: str
    key: str
    size_bytes: int | None
    mark: str


@dataclass(frozen=True)
class Listing:
    """What lies at an address now; `is_folder` tells a prefix of files from one file."""

    address: Address
    store: Any  # the fsspec file system that was asked; making another takes a third of a second
    files: tuple[RemoteFile, ...]
    is_folder: bool

    def pin(self) -> Pin:
        """Return what is kept of it."""
        rows = ((file.key, file.size_bytes or 0, file.mark) for file in self.files)
        return pin_of(self.address.shown, rows)


def look(url: str) -> Listing:
    """List what is at an address; about 340 bytes of memory a file, more for the folder in hand.

    Raises:
        SourceError: The address is not allowed, or nothing that may be read is there.
        ServiceError: Nobody answers.
    """
    address = parse(url)
    return look_again(address, open_store(address))


def look_again(address: Address, store: Any) -> Listing:
    """List what is at an address, by a store that is open; it remembers nothing from before.

    Raises:
        SourceError: Nothing that may be read is there.
        ServiceError: Nobody answers.
    """
    with explained(address):
        info = store.info(address.location)
        if info["type"] == "file":
            name = PurePosixPath(address.path).name
            file = RemoteFile(address.location, name, info["size"], _mark(info))
            return Listing(address, store, (file,), is_folder=False)
        files = tuple(sorted(_walk(store, info["name"], address), key=lambda file: file.key))
        return Listing(address, store, files, is_folder=True)


def _walk(store: Any, top: str, address: Address) -> Iterator[RemoteFile]:
    """Yield the files below a folder; links are left alone.

    fsspec's own walk leaves out what it may not list, without a word.
    """
    top = top.rstrip("/")
    pending, seen, count, total_bytes = [top], {top}, 0, 0
    while pending:
        for info in store.ls(pending.pop(), detail=True):
            name = info["name"]
            if info["type"] == "directory" and name.rstrip("/") not in seen:
                seen.add(name.rstrip("/"))
                pending.append(name.rstrip("/"))
            elif info["type"] == "file" and not name.endswith("/") and not info.get("islink"):
                count, total_bytes = count + 1, total_bytes + info["size"]
                if count > MAX_MEMBERS or total_bytes > MAX_TOTAL_BYTES:
                    raise SourceError(
                        f"{address.shown}: holds more than {MAX_MEMBERS:,} files or "
                        f"{MAX_TOTAL_BYTES >> 30} GiB. Split it into recipes."
                    )
                yield RemoteFile(name, name[len(top) + 1 :], info["size"], _mark(info))


def _mark(info: dict[str, Any]) -> str:
    """Return what changes when a file does, as its store tells it, or ``""``."""
    names = ("ETag", "Content-MD5", "Digest", "Last-Modified", "mtime")
    return next((str(info[name]) for name in names if info.get(name)), "")
