"""Flow runs whose process is dead: Prefect would show them as running for ever, in their slots.

A living flow sends a heartbeat every 30 s (`settings.quiet_environment`), and a living `retrain`
holds its lock. Who shows neither is looked at twice, with more than a beat between: a machine that
slept, or a server that was away, leaves every run silent for a while, and only the dead stay so.
"""

import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.runtime import flow_run
from prefect.states import Cancelled, Crashed

from flows.held import is_retraining
from flows.story import say
from gan.paths import Layout

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FLOWS = ("retrain", "generate", "drift", "promote", "approve", "reconcile")
_ALIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
_HEARTBEAT = "prefect.flow-run.heartbeat"


class _Silent(NamedTuple):
    """A run without a sign of life, and when it gave the last one."""

    run: Any  # Prefect's FlowRun
    seen: datetime


def close_orphans(flow: str, recipe: str) -> int:
    """Mark the runs of a flow for a recipe as crashed, except this one; return how many.

    The caller holds the lock that every such run holds while it works, so the others are dead.
    """
    closed = 0
    with get_client(sync_client=True) as client:
        for run in _runs(client, flow, StateType.RUNNING):
            if run.parameters.get("recipe") == recipe and not _is_this(run):
                said = "Its process was killed; a later run went on from there."
                closed += bool(_end(client, run, said))
    return closed


def close_silent(
    layout: Layout,
    recipes: Collection[str],
    *,
    silence_seconds: float,
    look_again_seconds: float,
) -> list[str]:
    """End the runs of our flows whose process is dead: crashed, or cancelled if that was asked for.

    Args:
        layout: The workspace.
        recipes: Those of the workspace; runs for others are none of ours.
        silence_seconds: How long a run may show nothing before it is looked at.
        look_again_seconds: How much longer it may then show nothing.

    Returns:
        A line for each run that was ended.
    """
    with get_client(sync_client=True) as client:
        first = dict(_silent(client, layout, recipes, silence_seconds))
        if not first:
            return []
        say(f"  flow runs: {len(first)} silent; looking again in {look_again_seconds:.0f} s")
        time.sleep(look_again_seconds)
        lines = []
        for run_id, (run, seen) in _silent(client, layout, recipes, silence_seconds):
            if run_id in first and first[run_id].seen == seen:
                since = f"since {seen.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
                ended = _end(client, run, f"Its process is dead: no sign of life {since}.")
                lines += [f"{run.name}: no sign of life {since}; {ended}"] if ended else []
    return lines


def end_cancelled(*, patience_seconds: float) -> list[str]:
    """End the runs of this machine that are to be cancelled, and do not hear of it; tell of each.

    A run hears by its worker. That one may have been killed, or have lost the server for so long
    that it listens no more.

    Args:
        patience_seconds: How long a run of this very worker is left to what Prefect does.
    """
    lines = []
    with get_client(sync_client=True) as client:
        for flow in FLOWS:
            for run in _runs(client, flow, StateType.CANCELLING):
                process = _process_of(run)
                if process and not _is_heard(run, process, patience_seconds):
                    _stop(process)
                    _end(client, run, "Flow run was cancelled.")
                    lines.append(f"{run.name}: cancelled")
    return lines


def _process_of(run: Any) -> psutil.Process | None:
    """Return the process of a run that a worker of this machine started, if it lives."""
    with suppress(ValueError, psutil.Error):
        process = psutil.Process(int(run.infrastructure_pid or ""))
        if process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id):
            return process
    return None


def _is_heard(run: Any, process: psutil.Process, patience_seconds: float) -> bool:
    """Return whether the worker of a run may be ending it now."""
    if process.ppid() != os.getpid():
        return False
    asked: datetime = run.state.timestamp
    return datetime.now(UTC) - asked < timedelta(seconds=patience_seconds)


def _stop(process: psutil.Process) -> None:
    """End a flow at once, and have what it started leave what it can be resumed from.

    Asked to end, a flow would tell the server that it crashed: so it is not asked.
    """
    with suppress(psutil.NoSuchProcess):
        started = process.children(recursive=True)
        process.kill()
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.terminate()


def _silent(
    client: "SyncPrefectClient", layout: Layout, recipes: Collection[str], seconds: float
) -> Iterator[tuple[UUID, _Silent]]:
    """Yield the runs that show no life now, by id."""
    long_ago = datetime.now(UTC) - timedelta(seconds=seconds)
    for flow in FLOWS:
        for run in _runs(client, flow, *_ALIVE):
            recipe = run.parameters.get("recipe")
            if _is_this(run) or (recipe not in recipes and flow != "reconcile"):
                continue
            seen = _last_sign(client, run)
            if flow == "retrain" and run.state_type != StateType.PENDING:
                # Its lock tells, from the first second and however long the server was away.
                is_silent = not is_retraining(layout, recipe)
            else:
                is_silent = seen <= long_ago
            if is_silent:
                yield run.id, _Silent(run, seen)


def _last_sign(client: "SyncPrefectClient", run: Any) -> datetime:
    """Return when a run last beat or changed its state."""
    newest = EventFilter(
        event=EventNameFilter(name=[_HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    beats = client.read_events(newest, limit=1).events
    changed: datetime = run.state.timestamp
    return max([changed, *(beat.occurred for beat in beats)])


def _end(client: "SyncPrefectClient", run: Any, message: str) -> str:
    """End a run, which frees its slot, and what it left running; return its state, "" if it ended.

    Not by force: a run that ended by itself just now stays as it ended.
    """
    make = Cancelled if run.state_type == StateType.CANCELLING else Crashed
    ended: State[Any] = make(message=message)
    if client.set_flow_run_state(run.id, ended).status != SetStateStatus.ACCEPT:
        return ""
    states = TaskRunFilterState(type=TaskRunFilterStateType(any_=list(_ALIVE)))
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
        task_run_filter=TaskRunFilter(state=states),
    )
    for task in tasks:
        client.set_task_run_state(task.id, make(message=message), force=True)
    return str(ended.name).lower()


def _runs(client: "SyncPrefectClient", flow: str, *states: StateType) -> list[Any]:
    rule = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
        flow_run_filter=FlowRunFilter(state=rule),
    )


def _is_this(run: Any) -> bool:
    return str(run.id) == str(flow_run.id)
