"""What stays and what goes, by the ages that recipes give and by who needs whom. Pure.

First stays whatever must, is young enough, or has no limit; then all that these need, and what that
needs in turn; then of the models that nothing needs the newest ones, with all that they need.
Everything else goes. So nothing that goes is needed by anything that stays.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gan.sections import KeepSpec

Kind = Literal[
    "pictures", "batch", "flow run", "decision", "report", "model", "training run", "bundle",
    "checkpoints", "data", "object", "remote object",
]  # fmt: skip
# In this order things go: each before what it needs, so that a kill leaves nothing that needs
# something which is gone.
ORDER: tuple[Kind, ...] = (
    "pictures", "batch", "checkpoints", "model", "flow run", "decision", "report", "training run",
    "bundle", "data", "object", "remote object",
)  # fmt: skip
_AGES: Mapping[Kind, str] = {
    "pictures": "batches_days",
    "batch": "batches_days",
    "flow run": "flow_runs_days",
    "training run": "training_runs_days",
    "checkpoints": "training_runs_days",
}
_SECONDS_OF_DAY = 86400.0


@dataclass(frozen=True)
class Thing:
    """One thing that may be kept.

    Attributes:
        kind: What it is.
        name: How people and scripts call it.
        recipes: Whose it is; none: everybody's.
        bytes: What it takes; 0 also where nobody can tell.
        made: When it was made, or ended; None: without an age.
        needs: Ids of things without which it is worth less.
        must_stay: Why it stays whatever its age; "".
        must_go: Why it goes unless it is needed, whatever its age; "".
        rank: Among models: its number.
        follows: Whether it stays for as long as a model needs it, and has no age of its own.
    """

    kind: Kind
    name: str
    recipes: tuple[str, ...]
    bytes: int = 0
    made: datetime | None = None
    needs: frozenset[str] = frozenset()
    must_stay: str = ""
    must_go: str = ""
    rank: int = 0
    follows: bool = False

    @property
    def id(self) -> str:
        """How others that need it call it."""
        return id_of(self.kind, self.name)


@dataclass(frozen=True)
class Fate:
    """Whether a thing goes, and why or why not."""

    thing: Thing
    goes: bool
    why: str


def id_of(kind: Kind, name: str) -> str:
    """Return how a thing is called by those that need it."""
    return f"{kind}:{name}"


def plan(things: Sequence[Thing], keeps: Mapping[str, KeepSpec], now: datetime) -> list[Fate]:
    """Return what becomes of each thing, in the order in which things are to go.

    Args:
        things: All that there is.
        keeps: How long each recipe keeps what.
        now: With its time zone, as the things' times are.
    """
    by_id = {thing.id: thing for thing in things}
    stays: dict[str, str] = {}
    goes: dict[str, str] = {}
    for thing in by_id.values():
        is_kept, why = _first_word(thing, [keeps[name] for name in _recipes(thing, keeps)], now)
        (stays if is_kept else goes)[thing.id] = why
    _spread(by_id, stays)
    for recipe, keep in keeps.items():
        spare = [t for t in by_id.values() if t.kind == "model" and recipe in t.recipes]
        spare = sorted((t for t in spare if t.id not in stays), key=lambda t: -t.rank)
        for thing in spare[: keep.versions or 0]:
            stays[thing.id] = f"among the newest {keep.versions} besides those that are needed"
        _spread(by_id, stays)
    fates = [
        Fate(thing, thing.id not in stays, stays.get(thing.id) or goes[thing.id])
        for thing in by_id.values()
    ]
    return sorted(fates, key=lambda fate: ORDER.index(fate.thing.kind))


def _recipes(thing: Thing, keeps: Mapping[str, KeepSpec]) -> Collection[str]:
    """Return the recipes whose rules a thing is under: its own, or all."""
    return [name for name in thing.recipes if name in keeps] if thing.recipes else keeps


def _first_word(thing: Thing, keeps: Collection[KeepSpec], now: datetime) -> tuple[bool, str]:
    """Return whether a thing stays by itself, whoever needs it, and why or why not."""
    if thing.must_stay:
        return True, thing.must_stay
    if not keeps:
        return True, "belongs to no recipe of params.yaml"
    if thing.must_go:
        return False, thing.must_go
    if thing.kind not in _AGES or thing.follows:
        is_kept = any(keep.versions is None for keep in keeps)
        return is_kept, "keep.versions sets no limit" if is_kept else _unneeded(thing)
    key = _AGES[thing.kind]
    limits = [getattr(keep, key) for keep in keeps]
    if None in limits or thing.made is None:
        return True, f"keep.{key} sets no limit"
    days = (now - thing.made).total_seconds() / _SECONDS_OF_DAY
    age = f"{days:.1f} days old, keep.{key} is {max(limits):g}"
    return days <= max(limits), age


def _unneeded(thing: Thing) -> str:
    if thing.kind == "model":
        return "not champion, nothing kept was made from it, and newer ones are enough"
    return "nothing that stays needs it"


def _spread(by_id: Mapping[str, Thing], stays: dict[str, str]) -> None:
    """Let everything stay that what stays needs."""
    waiting = list(stays)
    while waiting:
        thing = by_id[waiting.pop()]
        for need in _there(thing.needs, by_id):
            if need not in stays:
                stays[need] = f"needed by {thing.kind} {thing.name}"
                waiting.append(need)


def _there(needs: Iterable[str], by_id: Mapping[str, Thing]) -> list[str]:
    return sorted(need for need in needs if need in by_id)
