"""Images at an address: a prefix of an S3-compatible store, or one archive on a web server.

    file:///data/pets   s3://bucket/pets/   s3://bucket/pets.tar   https://host/pets.zip

What differs from what is pinned is not brought in (see `listings`). Who may read comes from the
environment alone, as the libraries know it (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
`AWS_ENDPOINT_URL`, `FSSPEC_S3_ANON`, `~/.netrc`), and is never written anywhere.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gan.errors import GanmillError, SourceError
from gan.image.addresses import Address, explained
from gan.image.listings import Listing, Pin, RemoteFile, look, look_again, read_pin
from gan.image.members import (
    LABELS,
    MAX_MEMBER_BYTES,
    MAX_TOTAL_BYTES,
    Member,
    Survey,
    is_wanted,
)
from gan.image.reading import read_members

_PARTS = (".parquet", ".tar")
_AHEAD_FILES = 64  # asked for at once: a store answers in 10 to 100 ms whatever is asked
_AHEAD_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


def members(url: str, listing: Path, survey: Survey) -> Iterator[Member]:
    """Yield the images at an address, when they are the ones that were pinned.

    Args:
        url: The recipe's `data.url`.
        listing: The file that pins them, the recipe's `data.path`.
        survey: Filled with what was left out, complete when the iteration ends.

    Raises:
        SourceError: There is something else now, before or after it was read; or what
            `reading.read_members` raises.
        DamagedError: The file that pins them is missing or damaged.
        ServiceError: Nobody answers.
    """
    pinned = read_pin(listing)
    found = look(url)
    _require(pinned, found, listing)
    with opened(found) as read:
        yield from read(survey)
    again = look_again(found.address, found.store)
    _require(pinned, again, listing)  # what changed meanwhile may be half of each


def _require(pinned: Pin, found: Listing, listing: Path) -> None:
    """Refuse what is not what was pinned."""
    now = found.pin()
    if now != pinned:
        raise SourceError(
            f"{now.source}: holds {now.files:,} files of {now.total_bytes:,} bytes "
            f"({now.digest[:12]}), but {listing.name} pins {pinned.files:,} of "
            f"{pinned.total_bytes:,} ({pinned.digest[:12]}) of {pinned.source}. "
            f"Take what is there now: ganmill retrain {listing.parent.name}"
        )


@contextmanager
def opened(listing: Listing) -> Iterator[Callable[[Survey], Iterator[Member]]]:
    """Yield what reads the images of a listing, in the order of their keys, as often as called.

    One file, or a folder of parquet files or tars alone, is fetched whole into a private folder.

    Raises:
        SourceError: As `reading.read_members` does, or a file is not as it was listed.
        GanmillError: The private folder is too small.
        ServiceError: Nobody answers.
    """
    if listing.address.scheme == "file":
        yield partial(read_members, Path(listing.address.path))
    elif parts := _parts(listing):
        with _fetched(listing, parts) as path:
            yield partial(_read_fetched, listing, parts, path)
    else:
        yield partial(_read_prefix, listing)


def _parts(listing: Listing) -> list[RemoteFile]:
    """Return the files to be fetched whole: the only one, or a folder's tables, or its tars."""
    if not listing.is_folder:
        return list(listing.files)
    for suffix in _PARTS:
        parts = [file for file in listing.files if file.key.endswith(suffix)]
        others = (file for file in listing.files if not file.key.endswith(suffix))
        if parts and not any(_is_wanted(file, Survey()) for file in others):
            return parts
    return []


def _is_wanted(file: RemoteFile, survey: Survey) -> bool:
    return is_wanted(file.key, file.size_bytes or 0, survey)


def _read_fetched(
    listing: Listing, parts: Sequence[RemoteFile], path: Path, survey: Survey
) -> Iterator[Member]:
    """Yield the images of what was fetched, with the keys that they have at their source."""
    fetched = set(parts)
    for file in listing.files:
        if file not in fetched:
            _is_wanted(file, survey)  # which counts it as left out
    stems = [file.key.removesuffix(_suffix(file.key)) for file in parts]
    with _naming(listing.address, path):
        for member in read_members(path, survey):
            number, _, rest = member.key.partition("/")
            key = f"{stems[int(number)]}/{rest}" if listing.is_folder else member.key
            read = partial(_read_named, member.read, listing.address, path)
            yield replace(member, key=key, read=read)


def _read_prefix(listing: Listing, survey: Survey) -> Iterator[Member]:
    """Yield the images of a prefix; they come many at a time, when the first is asked for."""
    address, store, wanted = listing.address, listing.store, []
    for file in listing.files:
        size = file.size_bytes or 0
        if file.key == LABELS and size <= MAX_MEMBER_BYTES:
            survey.labels_csv = _read_explained(_Ahead(store, [file]), file, address)
        if {"", ".", ".."} & set(file.key.split("/")):  # an object's name may be anything
            survey.skip("UNSAFE_NAME", file.key)
        elif _is_wanted(file, survey):
            wanted.append(file)
    for batch in _batches(wanted):
        ahead = _Ahead(store, batch)
        for file in batch:
            yield Member(file.key, partial(_read_explained, ahead, file, address))


def _read_explained(ahead: "_Ahead", file: RemoteFile, address: Address) -> bytes:
    """Read a member; the reader calls this outside of the iteration."""
    with explained(address):
        return ahead.read(file)


def _batches(files: Sequence[RemoteFile]) -> Iterator[list[RemoteFile]]:
    """Yield neighbours of at most 64 files, and of at most 64 MiB when they are several."""
    batch: list[RemoteFile] = []
    size = 0
    for file in files:
        size += file.size_bytes or 0
        if batch and (len(batch) == _AHEAD_FILES or size > _AHEAD_BYTES):
            yield batch
            batch, size = [], file.size_bytes or 0
        batch.append(file)
    if batch:
        yield batch


class _Ahead:
    """Some files that are fetched together when the first one is wanted, and given once."""

    def __init__(self, store: Any, files: Sequence[RemoteFile]) -> None:
        self._store, self._files = store, files
        self._payloads: dict[str, bytes] | None = None

    def read(self, file: RemoteFile) -> bytes:
        """Return the bytes of one of the files.

        Raises:
            SourceError: It is shorter than it was listed.
        """
        if self._payloads is None:
            full = [file for file in self._files if file.size_bytes]  # none may be asked of nothing
            names, ends = [file.name for file in full], [file.size_bytes for file in full]
            found = self._store.cat_ranges(names, [0] * len(full), ends, on_error="raise")
            self._payloads = dict(zip(names, found, strict=True))
        payload = self._payloads.pop(file.name, b"")
        if len(payload) != file.size_bytes:
            raise SourceError(f"{file.key}: changed while it was read. Run it again.")
        return payload


@contextmanager
def _fetched(listing: Listing, parts: Sequence[RemoteFile]) -> Iterator[Path]:
    """Fetch some files; yield the private file, or the folder where each is named by its number.

    Nothing is written under a name that the source chose. `TMPDIR` says where the room is.

    Raises:
        SourceError: A file is larger than allowed, or not as it was listed.
        GanmillError: There is no room.
        ServiceError: Nobody answers.
    """
    address = listing.address
    with tempfile.TemporaryDirectory(prefix="ganmill-") as folder:
        needed = sum(file.size_bytes or 0 for file in parts)
        if needed > shutil.disk_usage(folder).free:
            raise GanmillError(
                f"{folder}: {needed >> 20:,} MiB of {address.shown} do not fit there. "
                "Name a larger folder in TMPDIR."
            )
        for number, file in enumerate(parts):
            path = Path(folder) / f"{number:05d}{_suffix(file.key)}"
            with explained(address):
                _fetch(listing.store, file, path, address)
        yield Path(folder) if listing.is_folder else path


def _suffix(key: str) -> str:
    suffix = PurePosixPath(key).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _fetch(store: Any, file: RemoteFile, path: Path, address: Address) -> None:
    """Copy one file here, and no more of it than allowed."""
    # A web server is asked for one stream: not every one knows how to give ranges.
    options = {"block_size": 0} if address.scheme in {"http", "https"} else {}
    with store.open(file.name, "rb", **options) as source, path.open("xb") as target:
        size = _copy(source, target, address)
    if file.size_bytes is not None and size != file.size_bytes:
        raise SourceError(f"{address.shown}: {file.key} changed while it was read. Run it again.")


def _copy(source: IO[bytes], target: IO[bytes], address: Address) -> int:
    size = 0
    while chunk := source.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_TOTAL_BYTES:
            raise SourceError(
                f"{address.shown}: more than {MAX_TOTAL_BYTES >> 30} GiB. Split it into recipes."
            )
        target.write(chunk)
    return size


@contextmanager
def _naming(address: Address, path: Path) -> Iterator[None]:
    """Name the address in messages about the private copy, which is gone when they are read."""
    try:
        yield
    except SourceError as error:
        raise SourceError(str(error).replace(str(path), address.shown)) from error


def _read_named(read: Callable[[], bytes], address: Address, path: Path) -> bytes:
    with _naming(address, path):
        return read()
