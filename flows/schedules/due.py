"""Whether what a schedule started is still wanted: asked at its start, of Prefect.

A run is passed over when it is too late by the recipe's `missed` and `stale_hours`, when somebody
stopped its clock, or when another run of the same slot began before: the hour that autumn repeats,
a schedule that was deployed anew, two schedulers. With `missed: all` a run waits, outside of any
process, until those of earlier slots have ended. What somebody asked for is never passed over, nor
what crashed and is tried again. Where Prefect does not answer, the work is done.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause, PrefectException
from prefect.runtime import flow_run
from prefect.states import Completed, Scheduled

from flows.again import TAG as RESUBMITTED
from flows.schedules import slots
from flows.schedules.missed import make_up, seen_until
from flows.schedules.runs import AUTO_SCHEDULED, NEIGHBOURHOOD, SKIPPED, runs_due, unwanted
from flows.story import log_to_run, say

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

    from flows.schedules.slots import Timing
    from gan.paths import Layout
    from gan.recipe import Recipe

_WAITS = "AwaitingRetry"  # Prefect's name for what goes on later: nobody misses its heartbeat
_EACH, _AT_MOST = timedelta(seconds=30), timedelta(minutes=10)


def instead(layout: "Layout", timing: "Timing | None") -> "State[None] | None":
    """Return the state that the present flow run ends in instead of working; None lets it work.

    Args:
        layout: The workspace.
        timing: What the recipe says about such runs; None where it has no cron line for them.

    Raises:
        Pause: The run has to wait; Prefect knows when to start it again, and the process ends.
    """
    if started_by_schedule() is None or timing is None:
        return None
    try:
        with get_client(sync_client=True) as client:
            reason = _reason(client, layout, timing)
    except (HTTPError, PrefectException, OSError) as error:
        # The class alone: the text of such an error may name an address with a password in it.
        said = type(error).__name__
        say(f"  Prefect does not say whether this run is still wanted, so it is: {said}")
        return None
    return pass_over(reason) if reason else None


def pass_over(reason: str) -> "State[None]":
    """Return the state of a run that does no work, and tell why."""
    say(f"  passed over: {reason}")
    log_to_run(f"passed over: {reason}")
    return Completed(name=SKIPPED, message=reason)


def started_by_schedule() -> datetime | None:
    """Return when the present flow run was due, if a schedule started it; else None."""
    if not os.environ.get("PREFECT__FLOW_RUN_ID"):  # called, by a command or a test
        return None
    if AUTO_SCHEDULED not in flow_run.tags or RESUBMITTED in flow_run.tags:
        return None
    due: datetime | None = flow_run.scheduled_start_time
    return due.astimezone(UTC) if due else None


def slot_name(recipe: "Recipe", campaign: str) -> str:
    """Return the occasion of the present run: its slot, or the day of what nobody scheduled.

    So a late run, or a repeated one, or the same hour once more in autumn, has the same name.
    """
    due = started_by_schedule()
    if due is None:
        is_run = bool(os.environ.get("PREFECT__FLOW_RUN_ID"))
        asked = (flow_run.scheduled_start_time if is_run else None) or datetime.now(UTC)
        return f"{asked:%Y-%m-%d}"
    timing = slots.timing_of(recipe, flow_run.flow_name or "", campaign)
    return slots.key(due, timing.timezone if timing else recipe.schedule.timezone)


def _reason(client: "SyncPrefectClient", layout: "Layout", timing: "Timing") -> str:
    """Return why the present run is passed over; empty if it is not.

    Raises:
        Pause: It has to wait for earlier ones.
    """
    run = client.read_flow_run(UUID(os.environ["PREFECT__FLOW_RUN_ID"]))
    due, now = run.expected_start_time, datetime.now(UTC)
    if due is None or run.deployment_id is None:
        return ""
    if _is_tried_again(client.read_flow_run_states(run.id)):
        return ""
    deployment = client.read_deployment(run.deployment_id)
    if said := unwanted(deployment, timing, due, now) or _begun_before(client, timing, run):
        return said
    if timing.entry.missed == "all":
        _wait_for_earlier(client, layout, timing, run, now)
    return ""


def _is_tried_again(states: "Sequence[State[Any]]") -> bool:
    """Return whether a run had ended, and somebody had it start again."""
    in_order = sorted(states, key=lambda state: state.timestamp)
    ended = [state.is_final() for state in in_order]
    since = in_order[ended.index(True) :] if True in ended else []
    return any(state.is_scheduled() for state in since)


def _begun_before(client: "SyncPrefectClient", timing: "Timing", run: Any) -> str:
    """Return which other run of the same slot began before this one; empty if none did.

    One that crashed, or was passed over itself, did not do the work.
    """
    due, zone = run.expected_start_time, timing.timezone
    near = runs_due(
        client, run.deployment_id, due - NEIGHBOURHOOD, due + NEIGHBOURHOOD, which="begun"
    )
    here = (run.start_time or datetime.now(UTC), run.id)
    for other in near:
        is_same = slots.key(other.expected_start_time, zone) == slots.key(due, zone)
        is_void = other.state_name == SKIPPED or (other.state and other.state.is_crashed())
        if is_same and not is_void and (other.start_time, other.id) < here:
            return f"due at {slots.shown(due, zone)}, as was {other.name}, which began before"
    return ""


def _wait_for_earlier(
    client: "SyncPrefectClient", layout: "Layout", timing: "Timing", run: Any, now: datetime
) -> None:
    """Put the present run off while runs of earlier slots have not ended, or were never made.

    Raises:
        Pause: It is put off.
    """
    due = run.expected_start_time
    since = max(seen_until(layout, timing) or due, now - timedelta(hours=timing.entry.stale_hours))
    before = due - timedelta(minutes=1)
    make_up(client, timing, run.deployment_id, since, before)
    oldest = due - timedelta(hours=timing.entry.stale_hours)
    found = runs_due(client, run.deployment_id, oldest, before)
    earlier = [each for each in found if each.state and not each.state.is_final()]
    if earlier:
        _put_off(client, timing, run, earlier, now)


def _put_off(
    client: "SyncPrefectClient", timing: "Timing", run: Any, earlier: Sequence[Any], now: datetime
) -> None:
    """Give the present run back to Prefect, for later.

    Raises:
        Pause: Always; Prefect's own signal for a run whose process ends and that goes on later.
    """
    first = min(each.expected_start_time for each in earlier)
    said = (
        f"due at {slots.shown(run.expected_start_time, timing.timezone)}; first comes the slot of "
        f"{slots.shown(first, timing.timezone)} (missed: all)"
    )
    later = now + min(len(earlier) * _EACH, _AT_MOST)
    state: State[None] = Scheduled(name=_WAITS, message=said, scheduled_time=later)
    given = client.set_flow_run_state(run.id, state)
    say(f"  waits: {said}")
    raise Pause(said, state=given.state)
