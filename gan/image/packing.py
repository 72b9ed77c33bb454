"""Fill the shards of a raw folder, beside those of an earlier ingest.

A shard is a plain tar; its bytes depend only on the images' bytes and their order: names are
ordinals, times are 0. Equal bytes are stored once. A second ingest keeps the shards whose images
are all wanted still, writes what is new into new ones, and rewrites a shard without what went: the
bytes of a taken-down image are in no shard afterwards. The old shards stay until the new index
stands, so a killed ingest leaves a whole folder and the same call finishes the work.
"""

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pandas as pd

from gan.durable import drop_partials, remove, replacing
from gan.errors import DamagedError
from gan.image.members import suffix_of
from gan.image.shards import INDEX, Place, Shards, places, read_index, shard_path

_SHARD_FILES = 10_000
_SHARD_BYTES = 1 << 30
_BLANK_HEADER = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)

Payload = tuple[str, bytes]  # SHA-256 as hex, and the bytes it is of


class Packer:
    """Packs images into a raw folder. Call `pack`, then `settle`, write the index, then `sweep`."""

    def __init__(self, raw: Path) -> None:
        """Take over what an earlier ingest left in `raw`, as far as it is sound."""
        self._raw = raw
        self.before = _index_of(raw)
        self.places = _sound_places(raw, self.before)
        taken = set(self.before["shard"].tolist())
        self._numbers = (number for number in count() if number not in taken)
        self._inherited = {place.shard for place in self.places.values()}

    def pack(self, images: Iterable[Payload]) -> None:
        """Write the images that no shard holds yet into new shards, in the order given.

        Raises:
            GanmillError: The folder cannot be written.
        """
        # Asked anew for each image: one may be the twin of one that this loop has just written.
        new = ((digest, payload) for digest, payload in images if digest not in self.places)
        for first in new:
            number = next(self._numbers)
            with replacing(shard_path(self._raw, number)) as partial:
                self._fill(partial, number, first, new)

    def _fill(self, path: Path, shard: int, first: Payload, more: Iterator[Payload]) -> None:
        """Fill one shard from `first` and as many more as fit."""
        current: Payload | None = first
        offset = ordinal = 0
        with path.open("wb", buffering=1 << 20) as file:
            while current is not None:
                digest, payload = current
                name = f"{shard * _SHARD_FILES + ordinal:08d}{suffix_of(payload)}"
                file.write(_header(name, len(payload)))
                file.write(payload)
                file.write(bytes(-len(payload) % tarfile.BLOCKSIZE))
                start = offset + tarfile.BLOCKSIZE
                self.places[digest] = Place(shard, start, len(payload), digest)
                offset, ordinal = file.tell(), ordinal + 1
                full = ordinal == _SHARD_FILES or offset >= _SHARD_BYTES
                current = None if full else next(more, None)
            file.write(bytes(2 * tarfile.BLOCKSIZE))  # the end; records are filled up as by GNU tar
            file.write(bytes(-file.tell() % tarfile.RECORDSIZE))

    def settle(self, wanted: set[str]) -> None:
        """Write anew what stands beside bytes that are not `wanted`, and small shards that grew.

        Afterwards `places` holds the wanted digests alone, and no shard that it names holds others.

        Raises:
            DamagedError: A shard changed since it was read.
        """
        leaving = [digest for digest in self.places if digest not in wanted]
        spoilt = {self.places.pop(digest).shard for digest in leaving}
        moving = spoilt | self._small(spoilt)
        survivors = [place for place in self.places.values() if place.shard in moving]
        for place in survivors:
            del self.places[place.sha256]
        with Shards(self._raw) as shards:
            self.pack((place.sha256, shards.read(place)) for place in survivors)

    def _small(self, spoilt: set[int]) -> set[int]:
        """Return the shards to merge, so that a thousand small ingests leave no thousand shards.

        The smallest are merged as long as they hold as many images as the next one: each image
        moves a logarithmic number of times, and large shards stay as they are.
        """
        files = Counter(place.shard for place in self.places.values())
        if not spoilt and set(files) <= self._inherited:
            return set()  # nothing is written, so nothing grew
        sizes: Counter[int] = Counter()
        for place in self.places.values():
            sizes[place.shard] += place.size_bytes
        small = [n for n in files if files[n] < _SHARD_FILES and sizes[n] < _SHARD_BYTES]
        ordered = sorted(small, key=lambda shard: (files[shard], shard))
        together, merged = 0, 0
        for position, shard in enumerate(ordered):
            if position and files[shard] <= together:
                merged = position + 1
            together += files[shard]
        return set(ordered[:merged])

    def sweep(self, *, keep_before: bool = False) -> None:
        """Remove every shard that the index does not name, and what killed writers left.

        Args:
            keep_before: The index in the folder is the earlier one still.

        Raises:
            GanmillError: A file cannot be removed.
        """
        if keep_before:
            named = set(self.before["shard"].tolist())
        else:
            named = {place.shard for place in self.places.values()}
        stay = {shard_path(self._raw, number).name for number in named}
        for path in sorted(self._raw.glob("shard-*.tar")):
            if path.name not in stay:
                remove(path)
        drop_partials(self._raw)


def _header(name: str, size: int) -> bytes:
    """Return the header block of a tar member; `tarfile` needs ten times as long for it."""
    block = bytearray(_BLANK_HEADER)
    block[: len(name)] = name.encode()
    block[124:135] = b"%011o" % size
    block[148:156] = b" " * 8  # the check sum is taken with blanks in its own place
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def _index_of(raw: Path) -> pd.DataFrame:
    """Return the earlier index; one of no rows when it is missing, damaged or of another format."""
    try:
        return read_index(raw)
    except DamagedError:
        (raw / INDEX).unlink(missing_ok=True)
        return pd.DataFrame(columns=["key", "label", "sha256", "group", "conditions", "shard"])


def _sound_places(raw: Path, index: pd.DataFrame) -> dict[str, Place]:
    """Return the places of the earlier shards of which every image is as it was packed."""
    if index.empty:
        return {}
    ordered = index.sort_values(["shard", "offset"])
    found: dict[str, Place] = {}
    for _, part in ordered.groupby("shard", sort=True):
        here = {place.sha256: place for place in places(part)}
        with Shards(raw) as shards:
            try:
                for place in here.values():
                    shards.read(place)
            except DamagedError:
                continue  # its images come from the source again
        found.update(here)
    return found
