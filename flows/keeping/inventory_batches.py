"""The batches of a recipe: what they were made from, whether they went out, what they take."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flows import ledger
from flows.keeping.contents import RECORDS
from flows.keeping.facts import Batch
from flows.ledger import Entry
from flows.publish import published
from flows.review.review import find_review, reviewable, undecided
from gan.assets.manifest import BATCH, PUBLISHED, REQUEST, BatchCard, begun, read_batch
from gan.assets.regenerate import campaign
from gan.assets.request import read_request
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout


def batches(
    layout: Layout, entries: list[Entry], recipe: str, data_of: Mapping[str, str]
) -> list[Batch]:
    """Return the batches of a recipe, by name.

    Args:
        layout: The workspace.
        entries: The ledger.
        recipe: Its name.
        data_of: Digest of the data by that of the bundle.
    """
    home = layout.batches(recipe)
    held = ledger.production_hold(entries, recipe) is not None
    whole = [path.parent for path in home.glob(f"*/{BATCH}")]
    found = [_batch(folder, data_of, is_held=held) for folder in sorted(whole)]
    return [*found, *(_begun(folder, data_of) for folder in begun(home))]


def _batch(folder: Path, data_of: Mapping[str, str], *, is_held: bool) -> Batch:
    """Return a complete batch; one that cannot be read may be of any model, and stays."""
    made = datetime.fromtimestamp((folder / BATCH).stat().st_mtime, UTC)
    total, pictures = _bytes(folder)
    is_published = bool(published(folder)) or (folder / PUBLISHED).exists()
    try:
        card = read_batch(folder)
    except DamagedError:
        return Batch(folder.name, "", made, total, pinned="its card cannot be read")
    return Batch(
        name=folder.name,
        digest=card.bundle_digest,
        made=made,
        bytes=total,
        picture_bytes=pictures if is_published else 0,
        data=data_of.get(card.bundle_digest, ""),
        flow_run=card.lineage.get("flow_run", ""),
        is_published=is_published,
        pinned="" if is_published else _pinned(folder, card, is_held=is_held),
    )


def _pinned(folder: Path, card: BatchCard, *, is_held: bool) -> str:
    """Return why a batch that did not go out stays, or ""."""
    if is_held:
        return "production is on hold"
    try:
        if campaign(card).review and undecided(reviewable(folder), find_review(folder)):
            return "waits for a person to look at it"
    except GanmillError as error:
        return f"its review cannot be read: {error}"
    return ""


def _begun(folder: Path, data_of: Mapping[str, str]) -> Batch:
    """Return a batch in the making, which needs what it is being held against."""
    made = datetime.fromtimestamp((folder / REQUEST).stat().st_mtime, UTC)
    total, _ = _bytes(folder)
    pinned = "is in the making"
    try:
        asked = read_request(folder)
    except DamagedError:
        return Batch(folder.name, "", made, total, pinned=pinned)
    return Batch(
        name=folder.name,
        digest=asked.bundle_digest,
        made=made,
        bytes=total,
        data=data_of.get(asked.bundle_digest, ""),
        flow_run=asked.request.lineage.get("flow_run", ""),
        past=frozenset(past.batch for past in asked.past),
        pinned=pinned,
    )


def pictures(folder: Path) -> list[Path]:
    """Return what goes of a batch that went out: all but what says whose its files are."""
    return sorted(path for path in folder.iterdir() if path.name not in _stays())


def _stays() -> frozenset[str]:
    return RECORDS | {".lock"}


def _bytes(folder: Path) -> tuple[int, int]:
    """Return the bytes of a batch, and those of its pictures."""
    total = _sum(_files(folder))
    return total, sum(_sum(_files(path)) for path in pictures(folder))


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir() or path.is_symlink():
        return [path]
    return [Path(room) / name for room, _, files in os.walk(path) for name in files]


def _sum(paths: Iterable[Path]) -> int:
    return sum(path.lstat().st_size for path in paths)
