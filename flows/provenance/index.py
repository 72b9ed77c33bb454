"""What every batch of the workspace says of its files: by SHA-256, by asset, by how it looks.

Read from the manifests alone, a few columns of each, and only where `batch.json` holds them: its
signature must fit, and the manifest must have the digest that it says.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gan.assets.manifest import BATCH, PARQUET, SET_ASIDE
from gan.durable import read_json
from gan.errors import DamagedError
from gan.marking.statement import check_statement
from gan.paths import Layout

if TYPE_CHECKING:
    from gan.assets.manifest import Row
    from gan.image.statistics import Measures
    from gan.marking.identity import Known

# Of 64 bits. Of 300 generated stickers, packed for six platforms, as JPEG or at 75 %, 99 of 100 are
# within 4 of themselves; of 1,500 drawings of the same glyphs that no model was trained on none is
# within 4 of any of 4,000 generated ones, but 6 are within 6.
NEAR_BITS = 4
_MEAN_LEVELS, _MOST_LEVELS = 6, 24  # of 255 over 4 x 4 cells: a grey hash takes red for blue
_FILE = "files.list.element"
_COLUMNS = ("asset", "phash", "colour", f"{_FILE}.path", f"{_FILE}.sha256")


@dataclass(frozen=True)
class Batch:
    """A batch whose card and manifest are as they were signed.

    Attributes:
        recipe: The product line.
        folder: Where it lies.
        signer: Whom the certificate names that signed it.
        is_known: It counts as ours.
    """

    recipe: str
    folder: Path
    signer: str
    is_known: bool


class Entry(NamedTuple):
    """A file that a batch lists; `asset` is "" for pages and pictures of many assets."""

    batch: Batch
    path: str
    asset: str


class Alike(NamedTuple):
    """An asset that a picture looks like, and by how many of 64 bits their hashes differ."""

    batch: Batch
    asset: str
    bits: int


@dataclass
class Index:
    """All batches; see `build_index`.

    Attributes:
        files: By SHA-256.
        assets: Id to the first batch that has a row of it.
        notes: Batches that could not be used, and why.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    assets: dict[str, Batch] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)  # of an asset in its batch's table
    _tables_of_rows: dict[Path, Any] = field(default_factory=dict)  # of Arrow, once asked for
    _names: list[str] = field(default_factory=list)
    _hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    _colours: list[NDArray[np.uint8]] = field(default_factory=list)

    def row(self, asset: str) -> "Row | None":
        """Return the row of an asset, or None if no batch has one."""
        from gan.assets.manifest import Row

        if asset not in self.assets:
            return None
        folder = self.assets[asset].folder
        table = self._tables_of_rows.get(folder)
        if table is None:
            import pyarrow.parquet as pq

            with pq.ParquetFile(folder / PARQUET) as file:
                table = self._tables_of_rows[folder] = file.read()
        return Row.model_validate(table.slice(self._places[asset], 1).to_pylist()[0])

    def alike(self, measures: "Measures") -> Alike | None:
        """Return the asset that looks most like one of some pictures, or None if none is near.

        Args:
            measures: Of n views of one picture: whole, cut to a square ...
        """
        hashes, colours = self._tables()
        best: Alike | None = None
        for phash, colour in zip(measures.phash, measures.colour, strict=True):
            unlike = np.bitwise_count(hashes ^ phash.astype(np.int64).view(np.uint64))
            near = np.flatnonzero(unlike <= NEAR_BITS)
            apart = np.abs(colours[near].astype(np.int16) - colour)
            is_alike = (apart.mean(axis=1) <= _MEAN_LEVELS) & (apart.max(axis=1) <= _MOST_LEVELS)
            near = near[is_alike]
            if len(near):
                first = int(near[unlike[near].argmin()])
                bits, asset = int(unlike[first]), self._names[first]
                if best is None or bits < best.bits:
                    best = Alike(self.assets[asset], asset, bits)
        return best

    def add(self, batch: Batch, digests: Mapping[str, str], rows: Any) -> None:
        """Take up a batch: the digests of its card, and its rows as a table of Arrow."""
        assets = rows.column("asset").to_pylist()
        for path, digest in digests.items():
            is_aside = path.startswith(f"{SET_ASIDE}/")
            self.files.setdefault(digest, Entry(batch, path, Path(path).stem if is_aside else ""))
        files_of = zip(assets, rows.column("files").to_pylist(), strict=True)
        for row, (asset, files) in enumerate(files_of):
            if self.assets.setdefault(asset, batch) is batch:
                self._places[asset] = row
            for file in files:
                self.files.setdefault(file["sha256"], Entry(batch, file["path"], asset))
        self._names += assets
        hashes = np.array(rows.column("phash").to_pylist(), np.int64)  # to_numpy imports pandas
        self._hashes.append(hashes.view(np.uint64))
        joined = bytes.fromhex("".join(rows.column("colour").to_pylist()))
        self._colours.append(np.frombuffer(joined, np.uint8).reshape(len(assets), 48))

    def _tables(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """Return the hashes [N] and colours [N, 48] of all rows, joined when first asked for."""
        if len(self._hashes) != 1:
            self._hashes = [np.concatenate([np.empty(0, np.uint64), *self._hashes])]
            self._colours = [np.concatenate([np.empty((0, 48), np.uint8), *self._colours])]
        return self._hashes[0], self._colours[0]


def build_index(layout: Layout, known: "Known") -> Index:
    """Return the index of every complete batch of every recipe.

    Args:
        layout: The workspace.
        known: Whose signatures count as ours.
    """
    index = Index()
    for card in sorted((layout.root / "assets").glob(f"*/*/{BATCH}")):
        try:
            _take_up(index, card.parent, known)
        except DamagedError as error:
            index.notes.append(f"{card.parent.relative_to(layout.root)} is not used: {error}")
    return index


def _take_up(index: Index, folder: Path, known: "Known") -> None:
    """Add a batch to the index.

    Raises:
        DamagedError: Its card or manifest is not as it was signed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    card = read_json(folder / BATCH)
    if not isinstance(card, dict) or card.get("format") != 2:
        raise DamagedError(f"{BATCH} is of another format")
    signer = check_statement(card, None)
    digests = card.get("digests", {})
    try:
        payload = (folder / PARQUET).read_bytes()
        if hashlib.sha256(payload).hexdigest() != digests.get(PARQUET):
            raise DamagedError(f"{PARQUET} was altered")
        with pq.ParquetFile(pa.BufferReader(payload)) as file:
            rows = file.read(columns=list(_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(f"{PARQUET} cannot be read ({reason})") from error
    is_known = signer.fingerprint in known.certificates
    batch = Batch(str(card.get("recipe")), folder, signer.subject, is_known)
    index.add(batch, digests, rows)
