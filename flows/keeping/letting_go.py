"""Lets go what a plan says, in its order; killed anywhere, the next call goes on.

A folder is first renamed into `.ganmill/going/`, so that nobody meets half of one; what a killed
call left there goes with the next. Every thing is a line of `.ganmill/retained.jsonl`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain

from flows import stores
from flows.keeping import flow_runs
from flows.keeping.contents import GOING, LOCK_NAME
from flows.keeping.disposing import STEPS, StaysError, Work, note
from flows.keeping.inventory_objects import expanded, referred
from flows.keeping.plan import Fate, Thing
from flows.settings import Settings
from gan.assets.sinks import remove_tree
from gan.durable import run_lock
from gan.errors import BusyError
from gan.paths import Layout

_AT_ONCE = 50
_OBJECTS = frozenset({"object", "remote object"})
Tell = Callable[[Thing], object]


@dataclass
class Done:
    """What a call let go.

    Attributes:
        gone: Things.
        skipped: A line for each thing that somebody was at, or that was needed by then.
    """

    gone: list[Thing] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """What the things took."""
        return sum(thing.bytes for thing in self.gone)


def let_go(
    layout: Layout,
    settings: Settings,
    fates: Sequence[Fate],
    *,
    actor: str,
    tell: Tell = lambda _: None,
) -> Done:
    """Let go what goes of a plan, in its order.

    Args:
        layout: The workspace.
        settings: Where the servers are.
        fates: The plan.
        actor: Who says so.
        tell: Is told of each thing that went.

    Raises:
        BusyError: A backup is being taken, or somebody else lets go.
        ServiceError: A server or store does not answer; the same call goes on.
        GanmillError: Something cannot be removed.
    """
    done = Done()
    with run_lock(layout.lock(LOCK_NAME), "letting go"), stores.opened(layout) as opened:
        remove_tree(layout.state / GOING)
        goes = {fate.thing.id: fate for fate in fates if fate.goes}
        work = Work(layout, settings, actor, goes, opened)
        own = [fate for fate in goes.values() if fate.thing.kind not in {"flow run", *_OBJECTS}]
        for thing in chain(_each(work, own, done), _flow_runs(work), _objects(work, done)):
            done.gone.append(thing)
            tell(thing)
        remove_tree(layout.state / GOING)
    return done


def _each(work: Work, fates: Sequence[Fate], done: Done) -> Iterator[Thing]:
    for fate in fates:
        try:
            STEPS[fate.thing.kind](work, fate)
        except (BusyError, StaysError) as error:
            done.skipped.append(f"{fate.thing.kind} {fate.thing.name}: {error}")
        else:
            yield fate.thing


def _flow_runs(work: Work) -> Iterator[Thing]:
    fates = [fate for fate in work.goes.values() if fate.thing.kind == "flow run"]
    for first in range(0, len(fates), _AT_ONCE):
        some = fates[first : first + _AT_ONCE]
        for fate in some:
            note(work, fate)
        flow_runs.delete(work.settings, [fate.thing.name for fate in some])
        yield from (fate.thing for fate in some)


def _objects(work: Work, done: Done) -> Iterator[Thing]:
    """Remove DVC's objects while no stage runs that might bring one back."""
    fates = [fate for fate in work.goes.values() if fate.thing.kind in _OBJECTS]
    recipes = sorted({recipe for fate in fates for recipe in fate.thing.recipes})
    with ExitStack() as held:
        try:
            for recipe in recipes:
                lock = work.layout.lock(f"stages-{recipe}")
                held.enter_context(run_lock(lock, f"letting go of DVC's objects of {recipe}"))
        except BusyError as error:
            done.skipped.append(f"{len(fates)} objects of DVC: {error}")
            return
        now = expanded(work.opened, referred(work.layout)) if fates else frozenset()
        done.skipped += [
            f"object {fate.thing.name}: dvc.lock, or git, refers to it by now"
            for fate in fates
            if fate.thing.name in now
        ]
        yield from _each(work, [each for each in fates if each.thing.name not in now], done)
