"""Each recipe as the workspace has it: the ledger, batches, drift checks and trainings, all files.

What did not change since the last round is not read again.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from flows import ledger
from flows.drift import checks
from flows.held import holder
from flows.ledger import Entry
from flows.monitor.snapshot import Batch, Champion, Product, Totals, Training, Waiting
from flows.monitor.told import NoticeReader
from gan.durable import read_json
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes

_Read = TypeVar("_Read")
_TAIL_BYTES = 1 << 18
# What a line of the ledger comes to; a promotion counts when it is done, not when it is begun.
_DECISIONS = {
    "done": "promoted",
    "rollback": "rolled_back",
    "reject": "rejected",
    "hold": "held",
    "ask": "asked",
}
DECISIONS = tuple(_DECISIONS.values())


class ProductReader:
    """Looks at the workspace again and again.

    Attributes:
        problems: What could not be read in the last round, and why. It is as it was when it could.
    """

    def __init__(self, layout: Layout) -> None:
        """Look at this workspace."""
        self.problems: dict[str, str] = {}
        self._layout = layout
        self._notices = NoticeReader(layout.notices)
        self._known: dict[str, tuple[object, Any]] = {}

    def read(self, watched: Callable[[str], datetime]) -> tuple[Product, ...] | None:
        """Return the recipes' state; None: they could never be read.

        Args:
            watched: Tells since when a recipe is looked after.
        """
        self.problems = {}
        recipes = self._look("params.yaml", self._layout.params, load_recipes)
        if recipes is None:
            return None
        told = self._notices.read()
        entries = self._look("ledger", self._layout.ledger, ledger.read) or []
        return tuple(
            self._product(recipe, entries, told.get(name, Totals()), watched(name))
            for name, recipe in recipes.items()
        )

    def _product(
        self, recipe: Recipe, entries: list[Entry], told: Totals, watched: datetime
    ) -> Product:
        name = recipe.name
        mine = [entry for entry in entries if entry.recipe == name]
        asked, held = ledger.waiting(mine, name), ledger.production_hold(mine, name)
        moves = [entry for entry in mine if entry.event in {"done", "rollback"}]
        last = moves[-1] if moves else None
        return Product(
            name=name,
            campaigns=tuple(recipe.assets.campaigns),
            alerts=recipe.alerts,
            watched=watched,
            champion=Champion(last.to_version or 0, _time(last.time_utc)) if last else None,
            waiting=Waiting(asked.to_version or 0, _time(asked.time_utc)) if asked else None,
            held=_time(held.time_utc) if held else None,
            decisions=Counter(_DECISIONS[each.event] for each in mine if each.event in _DECISIONS),
            batch=self._batch(name),
            totals=told,
            drift=self._drift(name),
            training=self._training(name),
        )

    def _batch(self, recipe: str) -> Batch | None:
        """Return the newest complete batch: its `batch.json` is written last."""
        newest = _newest(self._layout.batches(recipe).glob("*/batch.json"))
        return self._look(f"last batch of {recipe}", newest, _batch_of) if newest else None

    def _drift(self, recipe: str) -> tuple[str, datetime] | None:
        path = self._layout.drift_checks(recipe)
        rows = self._look(f"drift of {recipe}", path, checks.read)
        return (rows[-1].outcome, _time(rows[-1].time_utc)) if rows else None

    def _training(self, recipe: str) -> Training | None:
        newest = _newest(self._layout.run(recipe).glob("*/stats.jsonl"))
        if newest is None:
            return None
        is_running = holder(self._layout.lock(f"train-{recipe}")) is not None
        return training_of(_tail(newest), is_running=is_running)

    def _look(self, part: str, path: Path, read: Callable[[Path], _Read]) -> _Read | None:
        """Return what a file holds; one that is as it was is not read again."""
        known_stamp, known = self._known.get(part, (None, None))
        try:
            stamp = _stamp(path)
            if known_stamp != stamp:
                known = read(path)
                self._known[part] = (stamp, known)
        except (GanmillError, OSError) as error:
            self.problems[part] = str(error)
        found: _Read | None = known
        return found


def training_of(lines: bytes, *, is_running: bool) -> Training | None:
    """Return what the last rows of a training's statistics say; None: there is none yet.

    Args:
        lines: The end of a `stats.jsonl`; torn lines at both ends are left out.
        is_running: Whether a process is at it.
    """
    last: Mapping[str, Any] = {}
    distance = None
    for line in lines.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "images_per_second" in row:
            last, distance = row, row.get("fd", distance)
    if not last:
        return None
    return Training(
        is_running=is_running,
        images=int(last["nimg"]),
        images_per_second=float(last["images_per_second"]),
        distance=None if distance is None else float(distance),
        eta_seconds=float(last["eta_seconds"]),
        share=float(last["share"]),
    )


def _newest(paths: Iterable[Path]) -> Path | None:
    found = []
    for path in paths:
        with suppress(FileNotFoundError):  # a batch that was just removed
            found.append((path.stat().st_mtime, path))
    return max(found)[1] if found else None


def _stamp(path: Path) -> object:
    """Return what changes when a file does, or another takes its place."""
    if not path.exists():
        return path
    status = path.stat()
    return path, status.st_ino, status.st_mtime_ns, status.st_size


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read()


def _batch_of(path: Path) -> Batch:
    card = read_json(path)
    try:
        return Batch(
            name=str(card["batch"]),
            made=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            accepted=int(card["accepted"]),
            candidates=int(card["candidates"]),
            verdicts={str(name): int(count) for name, count in card["verdicts"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"{path}: is no card of a batch. Mint the batch again.") from error


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
