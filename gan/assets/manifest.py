"""What a batch is called, what its manifest says, and whether a folder still is what it says.

    <batch>/<asset id>.png ...  contact_sheet.png  index.html  manifest.jsonl  batch.json

`batch.json` is written last: a folder with it is complete. It holds the digests of the manifest and
the pages, the manifest holds those of the assets; `verify` follows them all. Until then the folder
has `.request.json`: all that it takes to finish a batch whose process was killed.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gan.durable import read_json, sha256
from gan.errors import DamagedError, UsageError
from gan.recipe import NAME_PATTERN
from gan.sections import AssetsSpec

MANIFEST, BATCH = "manifest.jsonl", "batch.json"
SHEET, INDEX = "contact_sheet.png", "index.html"
LOCK, REQUEST = ".lock", ".request.json"
_OWN = {BATCH, LOCK, REQUEST}  # a kill may leave the two hidden ones in a complete batch
_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = r"^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        recipe: The product line.
        count: How many assets.
        seed: Of their latents.
        slot: The occasion, say the scheduled time `2026-11-21T10-00`; one batch for each.
        lineage: What the assets came from: model_version, mlflow_run, flow_run, data_version, and
            web addresses of those under the same names with `_url` at the end.
    """

    recipe: str
    count: int
    seed: int
    slot: str
    lineage: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what could not be a folder.

        Raises:
            UsageError: The recipe, slot or count is not possible.
        """
        if not NAME_PATTERN.fullmatch(self.recipe) or ".." in self.recipe:
            raise UsageError(f"batch: {self.recipe!r} is no recipe name; see params.yaml.")
        if not _SLOT.fullmatch(self.slot):
            raise UsageError(
                f"batch: slot is {self.slot!r}; it must be 1 to 64 of A-Z a-z 0-9 . _ - and begin "
                "with a letter or a digit."
            )
        if self.count < 1:
            raise UsageError(f"batch: count is {self.count}; it must be at least 1.")


@dataclass(frozen=True)
class Names:
    """What a request is called; all of it follows from the request, the bundle and the size.

    Attributes:
        request_id: Of everything but the count, 64 hex digits: assets are named and drawn by it, so
            that the first 7 of a batch of 64 are the batch of 7.
        batch_id: `<slot>-<8 hex digits>`, the folder's name.
    """

    request_id: str
    batch_id: str

    def asset(self, ordinal: int) -> str:
        """Return the id of an asset, 16 hex digits."""
        return _hash(self.request_id, ordinal)[:16]


def names(request: Request, bundle_digest: str, spec: AssetsSpec) -> Names:
    """Return what a request for assets of a bundle is called."""
    made_of = (
        request.recipe,
        bundle_digest,
        request.seed,
        request.slot,
        spec.size_px,
        spec.upscale,
    )
    batch_id = f"{request.slot}-{_hash(*made_of, request.count)[:8]}"
    return Names(_hash(*made_of), batch_id)


class Asked(BaseModel):
    """What a batch in the making was begun with: the same of it all makes the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    request: Request
    assets: AssetsSpec
    bundle_digest: str = Field(pattern=_DIGEST)

    @property
    def names(self) -> Names:
        """What the batch and its assets are called."""
        return names(self.request, self.bundle_digest, self.assets)


class Row(BaseModel):
    """One asset in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    asset: str = Field(pattern=r"^[0-9a-f]{16}$")
    file: str = Field(pattern=r"^[0-9a-f]{16}\.png$")
    sha256: str = Field(pattern=_DIGEST)
    ordinal: int = Field(ge=0)
    class_: str = Field(alias="class")
    seed: int
    recipe: str
    bundle_digest: str = Field(pattern=_DIGEST)
    model_version: str
    mlflow_run: str
    flow_run: str
    data_version: str
    verdict: Literal["accepted", "blank"]

    def line(self) -> str:
        """Return the row as one line of JSON."""
        return json.dumps(self.model_dump(by_alias=True), ensure_ascii=False, sort_keys=True) + "\n"


class BatchCard(BaseModel):
    """What `batch.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    batch: str
    recipe: str
    slot: str
    seed: int
    count: int
    accepted: int
    blank: int
    classes: dict[str, int]
    size_px: int
    upscale: str
    bundle_digest: str = Field(pattern=_DIGEST)
    lineage: dict[str, str]
    digests: dict[str, str]  # of manifest, contact sheet and page


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a manifest.

    Raises:
        DamagedError: It is missing, or a line is not a row; the message has the line's number.
    """
    try:
        # Not splitlines: a class name may hold other line separators of Unicode.
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}). Mint the batch again.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(Row.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "line"
            raise DamagedError(
                f"{path}: line {number}: {place}: {first['msg']}. Mint the batch again."
            ) from error
    return rows


def begun(destination: Path) -> list[Path]:
    """Return the batches of a recipe that were begun and are not complete, by name."""
    return sorted(
        path.parent
        for path in destination.glob(f"*/{REQUEST}")
        if not (path.parent / BATCH).exists()
    )


def read_request(folder: Path) -> Asked:
    """Return what a batch in the making was begun with.

    Raises:
        DamagedError: `.request.json` is missing, malformed, or that of another batch.
    """
    path = folder / REQUEST
    try:
        asked = Asked.model_validate(read_json(path))
    except (ValidationError, UsageError) as error:
        raise DamagedError(f"{path}: is no request. Delete it and mint the batch again.") from error
    if asked.names.batch_id != folder.name:
        raise DamagedError(
            f"{path}: asks for batch {asked.names.batch_id}, not for this one. "
            "Delete it and mint the batch again."
        )
    return asked


def read_batch(folder: Path) -> BatchCard:
    """Return the card of a complete batch.

    Raises:
        DamagedError: `batch.json` is missing or malformed: the batch is not complete.
    """
    try:
        return BatchCard.model_validate(read_json(folder / BATCH))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedError(
            f"{folder / BATCH}: {place}: {first['msg']}. Delete it and mint the batch again."
        ) from error


def verify(folder: Path) -> list[str]:
    """Return what is wrong with a batch, a line for each missing, extra or altered file.

    An empty list means that every byte is what was minted. Deleting `batch.json` and minting again
    mends a batch: only what is missing or altered is made anew.
    """
    try:
        card = read_batch(folder)
    except DamagedError as error:
        return [str(error)]
    if sorted(card.digests) != sorted((MANIFEST, SHEET, INDEX)):
        return [f"{BATCH}: digests must be of {MANIFEST}, {SHEET} and {INDEX}"]
    wanted = dict(card.digests)
    is_listed = _state(folder / MANIFEST, wanted[MANIFEST]) is None
    if is_listed:
        wanted |= {row.file: row.sha256 for row in read_rows(folder / MANIFEST)}
    states = {name: _state(folder / name, digest) for name, digest in sorted(wanted.items())}
    problems = [f"{name}: {state}" for name, state in states.items() if state]
    if is_listed:  # without a manifest to trust, every asset would seem extra
        present = {path.name for path in folder.iterdir()}
        problems += [f"{name}: extra" for name in sorted(present - set(wanted) - _OWN)]
    return problems


def _state(path: Path, digest: str) -> str | None:
    """Return `missing` or `altered`, or None where the file has this SHA-256."""
    if path.is_symlink() or not path.is_file():
        return "altered" if path.is_symlink() or path.exists() else "missing"
    return None if sha256(path) == digest else "altered"


def _hash(*parts: Any) -> str:
    """Return the SHA-256 of some plain values."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()
