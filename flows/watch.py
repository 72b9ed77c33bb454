"""What production must keep to after a promotion: each batch leaves a row, and a rule reads them.

A gate judges a model once; what wears out later (a library, a machine, a damaged file, a filter)
shows in the batches. Each leaves its share of accepted assets and how far the canary assets that
the gate kept come out otherwise now. One bad batch is told; `violations` of the last `window`, the
latest among them, put production on hold or the champion before this one back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flows import ledger, notices, release, succession
from flows.gate import canary
from flows.gate.records import CANARY, find_record
from flows.ledger import Entry
from flows.registry import Version
from flows.story import Mill
from gan.durable import run_lock, write_atomically
from gan.errors import DamagedError, GanmillError, UsageError
from gan.sections import WatchSpec

if TYPE_CHECKING:
    from gan.assets.batch import Minted

Then = Literal["delivered", "held", "rolled back"]
_WAIT_SECONDS = 600.0


class Row(BaseModel):
    """How one batch fared.

    Attributes:
        batch: Its id.
        version: That it was minted from.
        bundle_digest: Of that version.
        since: The ledger line that these rows count from: the version became champion, or a person
            resumed production.
        time_utc: When the row was written.
        accepted_share: Candidates that passed every screen, of all, 0 to 1.
        canary_deviation: Mean difference from the kept canary assets, levels of 255; None where the
            gate decision is not on this machine.
        violated: Whether the batch breaks a bound.
        reasons: A sentence for each bound that it breaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    batch: str
    version: int
    bundle_digest: str
    since: int
    time_utc: str
    accepted_share: float
    canary_deviation: float | None
    violated: bool
    reasons: list[str]


@dataclass(frozen=True)
class Watched:
    """What the watch made of a batch.

    Attributes:
        row: Of the batch.
        is_new: False for a batch that had its row already.
        then: What was done about it: nothing, production held, or the champion rolled back.
        says: One sentence.
    """

    row: Row
    is_new: bool
    then: Then
    says: str


def verdict(rows: Sequence[Row], spec: WatchSpec) -> bool:
    """Tell whether the rows strike: enough violations in the window, the latest row among them.

    Args:
        rows: Those that count, oldest first: since the version became champion.
        spec: The rule.
    """
    recent = rows[-spec.window :]
    return bool(recent) and recent[-1].violated and _violations(recent) >= spec.violations


def observe(mill: Mill, version: Version, bundle: Path, minted: "Minted") -> Watched:
    """Write the row of a complete batch, once, and do what the rule asks for.

    A row that a kill left without its consequence is judged again; what was resumed since is not.

    Args:
        mill: The recipe, and where.
        version: The champion that the batch was minted from.
        bundle: Its files here.
        minted: The batch.

    Raises:
        BusyError: Another process was at the watch of this recipe for ten minutes.
        DamagedError: The rows or the ledger are not as they were written.
        GanmillError: The row cannot be written.
    """
    layout, name = mill.layout, mill.recipe.name
    with _alone(mill):
        rows = read(layout.watch(name))
        known = next((row for row in rows if row.batch == minted.batch_id), None)
        row = known or _row(mill, version, bundle, minted)
        if known is None:
            rows.append(row)
            lines = "".join(f"{each.model_dump_json()}\n" for each in rows)
            write_atomically(layout.watch(name), lines.encode())
        entries, spec = ledger.read(layout.ledger), mill.recipe.gate.watch
        counted = [each for each in rows if each.since == _since(entries, version)]
        last = succession.last_move(entries, name)
        is_champion = last is not None and last.to_version == version.number
        is_latest = bool(counted) and counted[-1].batch == row.batch
        then: Then = "delivered"
        says = _summary(row, counted, spec)
        if is_champion and is_latest and verdict(counted, spec):
            then, says = _strike(mill, version, row, counted)
    return Watched(row, known is None, then, says)


def read(path: Path) -> list[Row]:
    """Return the rows of a recipe, oldest first; no file means none.

    Raises:
        DamagedError: A line is no row: what it said of a batch would be missing from the rule.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            rows.append(Row.model_validate_json(line))
        except ValidationError as error:
            raise DamagedError(
                f"{path}: line {number} is no row of the watch. Move the file away to begin anew."
            ) from error
    return rows


def _row(mill: Mill, version: Version, bundle: Path, minted: "Minted") -> Row:
    spec = mill.recipe.gate.watch
    share = minted.passed / minted.candidates
    least = spec.min_accepted * (1 - minted.rejection)  # what a campaign is picky about is no fault
    reasons = []
    if share < least:
        reasons.append(
            f"{minted.passed} of {minted.candidates} candidates pass, wanted are at least "
            f"{least:.0%}"
        )
    try:
        deviation = _deviation(mill, version, bundle)
    except GanmillError as error:  # what cannot be told is no sign of health
        deviation = None
        reasons.append(f"the canary assets could not be compared: {error}")
    if deviation is not None and deviation > spec.max_deviation:
        reasons.append(
            f"the canary assets deviate by {deviation:.1f} levels of 255 from those of the gate, "
            f"allowed are {spec.max_deviation:g}"
        )
    return Row(
        batch=minted.batch_id,
        version=version.number,
        bundle_digest=version.digest,
        since=_since(ledger.read(mill.layout.ledger), version),
        time_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
        accepted_share=share,
        canary_deviation=deviation,
        violated=bool(reasons),
        reasons=reasons,
    )


def _deviation(mill: Mill, version: Version, bundle: Path) -> float | None:
    """Return how far the canary is off, None where the decision is not on this machine."""
    layout, name = mill.layout, mill.recipe.name
    became = _became(ledger.read(layout.ledger), version)
    try:
        record = find_record(layout, name, became.evidence_digest if became else "")
    except UsageError:
        return None
    return canary.deviation(layout, mill.recipe, bundle, record.parent / CANARY)


def _strike(mill: Mill, version: Version, row: Row, counted: Sequence[Row]) -> tuple[Then, str]:
    """Put the champion before this one back, or production on hold; say which, and why."""
    spec, name = mill.recipe.gate.watch, mill.recipe.name
    recent = counted[-spec.window :]
    why = (
        f"{_violations(recent)} of the last {len(recent)} batches of v{version.number} break a "
        f"bound; the latest, {row.batch}: {'; '.join(row.reasons)}"
    )
    if spec.then == "rollback":
        try:
            back = release.rollback(
                mill.layout, mill.settings, name, actor=succession.MACHINE, reason=why
            )
        except UsageError as error:
            why = f"{why}. {error}"
        else:
            says = f"v{version.number} is rolled back to v{back.version}: {why}"
            payload: dict[str, str | int] = {
                "version": back.version,
                "digest": back.digest,
                "from": version.number,
            }
            notices.announce(mill.layout, mill.settings, "model.rolled_back", name, says, payload)
            return "rolled back", says
    if ledger.production_hold(ledger.read(mill.layout.ledger), name) is None:
        release.hold(mill.layout, name, actor=succession.MACHINE, reason=why)
    return "held", f"production is on hold: {why}"


def _summary(row: Row, counted: Sequence[Row], spec: WatchSpec) -> str:
    if not row.violated:
        return f"watch: batch {row.batch} keeps every bound"
    recent = counted[-spec.window :]
    return (
        f"watch: batch {row.batch}: {'; '.join(row.reasons)} (violation {_violations(recent)} in "
        f"the last {len(recent)} batches; {spec.violations} of {spec.window} end in {spec.then})"
    )


def _violations(rows: Sequence[Row]) -> int:
    return sum(row.violated for row in rows)


def _since(entries: Sequence[Entry], version: Version) -> int:
    """Return the number of the ledger line from which on batches count."""
    became = _became(entries, version)
    resumed = [
        entry.seq
        for entry in entries
        if entry.recipe == version.recipe and entry.event == "resume-production"
    ]
    return max([became.seq if became else 0, *resumed])


def _became(entries: Sequence[Entry], version: Version) -> Entry | None:
    """Return the last line that made a version champion."""
    moves = (
        entry
        for entry in reversed(entries)
        if entry.recipe == version.recipe and entry.event in {"done", "rollback"}
    )
    return next((entry for entry in moves if entry.to_version == version.number), None)


@contextmanager
def _alone(mill: Mill) -> Iterator[None]:
    """Hold the lock of a recipe's watch, waiting for another process that is at it."""
    name = mill.recipe.name
    lock = mill.layout.lock(f"watch-{name}")
    with run_lock(lock, f"watching {name}", patience_seconds=_WAIT_SECONDS):
        yield
