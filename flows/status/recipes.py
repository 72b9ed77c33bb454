"""How each recipe stands, as far as the workspace's own files tell: no server is asked."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from flows import ledger
from flows.held import holder, is_retraining
from flows.ledger import Entry
from flows.succession import last_move
from gan.assets.manifest import BATCH, LOCK, PUBLISHED, REQUEST
from gan.durable import read_json
from gan.errors import DamagedError
from gan.paths import Layout

BatchState = Literal["complete", "published", "in review", "being made", "unfinished", "damaged"]
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Batch:
    """A batch.

    Attributes:
        name: Its folder.
        state: `in review` waits for a person; `unfinished` was begun, and no process is at it.
        assets: Accepted ones; None where the card cannot be read, or is not there yet.
        made: When it was completed, or begun.
    """

    name: str
    state: BatchState
    assets: int | None
    made: datetime


@dataclass(frozen=True)
class Decided:
    """What the ledger says of a recipe.

    Attributes:
        champion: The version in production; None: there never was one.
        since: When it was promoted.
        waiting: The version that waits for a person's word.
        asked: Since when.
        hold: Who put production on hold, and why; "" where it runs.
    """

    champion: int | None
    since: datetime | None
    waiting: int | None
    asked: datetime | None
    hold: str


@dataclass(frozen=True)
class Training:
    """A training that a process is at.

    Attributes:
        share: Of its budget that is used, 0 to 1; None: it has not begun to count.
        eta_seconds: Until the budget ends, likewise.
    """

    share: float | None = None
    eta_seconds: float | None = None


def decided(entries: Sequence[Entry], recipe: str) -> Decided:
    """Return what the ledger's entries say of a recipe."""
    move = last_move(list(entries), recipe)
    asked = ledger.waiting(list(entries), recipe)
    hold = ledger.production_hold(list(entries), recipe)
    return Decided(
        champion=move.to_version if move else None,
        since=_moment(move),
        waiting=asked.to_version if asked else None,
        asked=_moment(asked),
        hold=f"{hold.actor}: {hold.reason}" if hold else "",
    )


def last_batches(layout: Layout, recipe: str, count: int) -> list[Batch]:
    """Return the newest batches of a recipe, the newest of them first; `batch.json` is last."""
    cards = [_dated(path) for path in layout.batches(recipe).glob(f"*/{BATCH}")]
    begun = [
        _dated(path)
        for path in layout.batches(recipe).glob(f"*/{REQUEST}")
        if not path.with_name(BATCH).exists()
    ]
    return [_batch(path, made) for made, path in _newest([*cards, *begun], count)]


def training(layout: Layout, recipe: str) -> Training | None:
    """Return how far the training is that a retraining is at now, None where none is."""
    if not is_retraining(layout, recipe):
        return None
    if holder(layout.lock(f"train-{recipe}")) is None:
        return Training()
    stats = [_dated(path) for path in layout.run(recipe).glob("*/stats.jsonl")]
    for _, path in _newest(stats, 1):
        rows = [row for row in _rows(path) if "share" in row]
        if rows:
            return Training(float(rows[-1]["share"]), float(rows[-1].get("eta_seconds", 0.0)))
    return Training()


def _newest(dated: Iterable[tuple[float, Path] | None], count: int) -> list[tuple[float, Path]]:
    return sorted((each for each in dated if each), reverse=True)[:count]


def _dated(path: Path) -> tuple[float, Path] | None:
    """Return when a file was written, with the file; None where it is gone meanwhile."""
    try:
        return path.stat().st_mtime, path
    except FileNotFoundError:
        return None


def _batch(path: Path, written: float) -> Batch:
    made, folder = datetime.fromtimestamp(written, UTC), path.parent
    if path.name == REQUEST:
        state: BatchState = "being made" if holder(folder / LOCK) else "unfinished"
        return Batch(folder.name, state, None, made)
    try:
        card = read_json(path)
        asks_for_review = bool(card["spec"].get("review"))
        assets = int(card["accepted"])
    except (DamagedError, KeyError, TypeError, ValueError, AttributeError):
        return Batch(folder.name, "damaged", None, made)
    if (folder / PUBLISHED).exists():
        return Batch(folder.name, "published", assets, made)
    return Batch(folder.name, "in review" if asks_for_review else "complete", assets, made)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the last rows of a log whose last line may be torn."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # the first of these may be half a line
            continue
    return [row for row in found if isinstance(row, dict)]


def _moment(entry: Entry | None) -> datetime | None:
    return datetime.fromisoformat(entry.time_utc) if entry else None
