"""What every batch of the workspace says of its files: by SHA-256, by asset, by how it looks.

Read from the manifests alone, a few columns of each, and only where `batch.json` holds them: its
signature must fit, and the manifest must have the digest that it says. Anybody can sign a batch and
put it there: only one that a known certificate signed makes anything ours.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from gan.assets.manifest import BATCH, PARQUET, SET_ASIDE, Verdict
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
_COLUMNS = ("asset", "verdict", "phash", "colour", f"{_FILE}.path", f"{_FILE}.sha256")
# A blank candidate is like any blank picture, a copy like the training image that is somebody's.
_LOOKS_COUNT = frozenset({"accepted", "spare"})


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


class ListedFile(BaseModel):
    """Of a row's files, what is asked about."""

    path: str
    sha256: str


class ListedRow(BaseModel):
    """Of a row, what every look needs; see `gan.assets.records.Row`."""

    asset: str
    verdict: Verdict
    phash: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    colour: Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]
    files: list[ListedFile]


class ListedCard(BaseModel):
    """Of `batch.json`, what every look needs."""

    recipe: str
    digests: dict[str, str]


class _Manifest(BaseModel):
    rows: list[ListedRow]


@dataclass
class Index:
    """All batches; see `build_index`.

    Attributes:
        files: By SHA-256; one that a batch of ours lists is found there.
        assets: Id to the first batch of ours that has a row of it.
        foreign: Id to a batch of somebody unknown that has a row of it.
        notes: Batches that could not be used, or do not count as ours, and why.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    assets: dict[str, Batch] = field(default_factory=dict)
    foreign: dict[str, Batch] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)  # of an asset in its batch's table
    _tables_of_rows: dict[Path, Any] = field(default_factory=dict)  # of Arrow, once asked for
    _names: list[str] = field(default_factory=list)  # of those whose looks count, as the next two
    _hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    _colours: list[NDArray[np.uint8]] = field(default_factory=list)

    def row(self, asset: str) -> "Row | None":
        """Return the row of an asset, or None if no batch of ours has one.

        Raises:
            DamagedError: It has another form, or its manifest is gone since the index was built.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from gan.assets.manifest import Row

        if asset not in self.assets:
            return None
        folder = self.assets[asset].folder
        try:
            table = self._tables_of_rows.get(folder)
            if table is None:
                with pq.ParquetFile(folder / PARQUET) as file:
                    table = self._tables_of_rows[folder] = file.read()
            return Row.model_validate(table.slice(self._places[asset], 1).to_pylist()[0])
        except (OSError, ValueError, LookupError, pa.ArrowException) as error:
            raise DamagedError(
                f"{folder / PARQUET}: the row of asset {asset} cannot be read ({_said(error)}). "
                "Delete batch.json and mint the same request again."
            ) from error

    def alike(self, measures: "Measures", told: Sequence[str] = ()) -> Alike | None:
        """Return the asset that looks most like one of some pictures, or None if none is near.

        Args:
            measures: Of n views of one picture: whole, cut to a square ...
            told: Assets that other layers name, the surest first: of two that are near, twins
                maybe, such a one is taken.
        """
        hashes, colours = self._tables()
        ranks = {asset: rank for rank, asset in reversed(list(enumerate(told)))}
        best, least = None, (len(told), NEAR_BITS + 1)
        for phash, colour in zip(measures.phash, measures.colour, strict=True):
            unlike = np.bitwise_count(hashes ^ phash.astype(np.int64).view(np.uint64))
            near = np.flatnonzero(unlike <= NEAR_BITS)
            apart = np.abs(colours[near].astype(np.int16) - colour)
            is_alike = (apart.mean(axis=1) <= _MEAN_LEVELS) & (apart.max(axis=1) <= _MOST_LEVELS)
            for place in near[is_alike]:
                asset, bits = self._names[place], int(unlike[place])
                rank = (ranks.get(asset, len(told)), bits)
                if rank < least:
                    best, least = Alike(self.assets[asset], asset, bits), rank
        return best

    def add(self, batch: Batch, card: ListedCard, rows: Sequence[ListedRow]) -> None:
        """Take up a batch, which is well-formed."""
        for path, digest in card.digests.items():
            is_aside = path.startswith(f"{SET_ASIDE}/")
            self._list(digest, Entry(batch, path, Path(path).stem if is_aside else ""))
        for row in rows:
            for file in row.files:
                self._list(file.sha256, Entry(batch, file.path, row.asset))
        if not batch.is_known:
            self.foreign |= {row.asset: batch for row in rows}
            return
        for place, row in enumerate(rows):
            if self.assets.setdefault(row.asset, batch) is batch:
                self._places[row.asset] = place
        seen = [row for row in rows if row.verdict in _LOOKS_COUNT]
        self._names += [row.asset for row in seen]
        self._hashes.append(np.array([row.phash for row in seen], np.int64).view(np.uint64))
        joined = bytes.fromhex("".join(row.colour for row in seen))
        self._colours.append(np.frombuffer(joined, np.uint8).reshape(len(seen), 48))

    def _list(self, digest: str, entry: Entry) -> None:
        """Take up a file; the first one stays, unless it is a stranger's and this one is ours."""
        held = self.files.get(digest)
        if held is None or (entry.batch.is_known and not held.batch.is_known):
            self.files[digest] = entry

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
    for path in sorted((layout.root / "assets").glob(f"*/*/{BATCH}")):
        folder = path.parent
        name = folder.relative_to(layout.root)
        try:
            batch, card, rows = _read(folder, known)
        except (DamagedError, RecursionError) as error:  # of JSON that is nested too deep
            index.notes.append(f"{name} is not used: {error}")
            continue
        index.add(batch, card, rows)
        if not batch.is_known:
            index.notes.append(
                f"{name} does not count as ours: {batch.signer} signed it, who never signed in "
                "this workspace (put the certificate into .ganmill/signing/known to change that)"
            )
    return index


def _read(folder: Path, known: "Known") -> tuple[Batch, ListedCard, list[ListedRow]]:
    """Return what is needed of a batch.

    Raises:
        DamagedError: Its card or manifest is malformed, or not as it was signed.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    said = read_json(folder / BATCH)
    if not isinstance(said, dict) or said.get("format") != 2:
        raise DamagedError(f"{BATCH} is of another format")
    try:
        signer = check_statement(said, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DamagedError(f"{BATCH} has a certificate that cannot be read ({error})") from error
    try:
        card = ListedCard.model_validate(said)
    except ValidationError as error:
        raise DamagedError(f"{BATCH} is malformed ({_said(error)})") from error
    rows = _rows(folder / PARQUET, card.digests.get(PARQUET))
    is_known = signer.fingerprint in known.certificates
    return Batch(card.recipe, folder, signer.subject, is_known), card, rows


def _rows(path: Path, digest: str | None) -> list[ListedRow]:
    """Return the rows of a manifest.

    Raises:
        DamagedError: It cannot be read, has another digest, or is malformed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        payload = path.read_bytes()
        if hashlib.sha256(payload).hexdigest() != digest:
            raise DamagedError(f"{path.name} was altered")
        with pq.ParquetFile(pa.BufferReader(payload)) as file:
            rows = file.read(columns=list(_COLUMNS)).to_pylist()
        return _Manifest.model_validate({"rows": rows}).rows
    except (OSError, ValueError, ArithmeticError, pa.ArrowException) as error:
        raise DamagedError(f"{path.name} cannot be read ({_said(error)})") from error


def _said(error: Exception) -> str:
    """Return what is wrong, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return " ".join(str(error).split())[:200]
