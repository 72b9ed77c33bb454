"""After an absence: late runs that nobody wants are ended, and slots that have no run get one.

Prefect makes runs some hours or days ahead, and none for what has passed. So each reconciling looks
at the slots since the last one; a line that is new, changed or paused owes nothing for before. A
late run would tell by itself that it is not wanted (`due`), but takes a process for that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Scheduled

from flows.schedules import slots
from flows.schedules.runs import (
    AUTO_SCHEDULED,
    NEIGHBOURHOOD,
    SKIPPED,
    is_on,
    runs_due,
    unwanted,
)
from gan.durable import read_json, write_json
from gan.errors import DamagedError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

    from flows.schedules.slots import Timing
    from gan.paths import Layout
    from gan.recipe import Recipe

_SETTLED = timedelta(minutes=2)  # Prefect looks for what it has to make every minute
_LONG_AGO = timedelta(days=400)


def catch_up(layout: "Layout", recipes: Mapping[str, "Recipe"]) -> list[str]:
    """End late runs that are not wanted, and make those that lack since the last call; tell of it.

    With `missed: latest` the last slot is made at most, with `all` each, with `skip` none; nothing
    that is older than `stale_hours`.

    Args:
        layout: The workspace; `schedules.json` in its state keeps how far each was looked at.
        recipes: All recipes of the workspace.

    Raises:
        PrefectException: Prefect refused, and `httpx.HTTPError`: it did not answer.
    """
    until, told = datetime.now(UTC) - _SETTLED, []
    marks = _read(layout)
    with get_client(sync_client=True) as client:
        all_timings = [each for recipe in recipes.values() for each in slots.timings(recipe)]
        for timing in (*all_timings, slots.RECONCILING):
            try:
                deployment = client.read_deployment_by_name(timing.deployment)
            except ObjectNotFound:  # not deployed yet
                continue
            if ended := _end_unwanted(client, deployment, timing):
                told.append(f"{timing.deployment}: {ended} late runs are not wanted: passed over")
            if is_on(deployment, timing) and timing is not slots.RECONCILING:
                since = _since(marks, timing) or until
                made = make_up(client, timing, deployment.id, since, until)
                told += [
                    f"{timing.deployment}: the slot of {slots.shown(slot, timing.timezone)} had no "
                    "run; made one" for slot in made
                ]  # fmt: skip
            marks[timing.deployment] = {"line": _line(timing), "seen": until.isoformat()}
    write_json(layout.schedule_marks, marks)
    return told


def _end_unwanted(client: "SyncPrefectClient", deployment: Any, timing: "Timing") -> int:
    """End the runs of a deployment that wait and are not wanted any more; return how many."""
    now, ended = datetime.now(UTC), 0
    for run in runs_due(client, deployment.id, now - _LONG_AGO, now, which="waiting"):
        if said := unwanted(deployment, timing, run.expected_start_time, now):
            skipped: State[None] = Completed(name=SKIPPED, message=said)
            client.set_flow_run_state(run.id, skipped)
            ended += 1
    return ended


def owe_nothing(layout: "Layout", timing: "Timing") -> None:
    """Note that no slot before this moment is owed, say as a pause ends."""
    mark = {"line": _line(timing), "seen": datetime.now(UTC).isoformat()}
    write_json(layout.schedule_marks, {**_read(layout), timing.deployment: mark})


def seen_until(layout: "Layout", timing: "Timing") -> datetime | None:
    """Return up to when the slots of a cron line were looked at; None for a new line."""
    return _since(_read(layout), timing)


def make_up(
    client: "SyncPrefectClient",
    timing: "Timing",
    deployment_id: UUID,
    since: datetime,
    until: datetime,
) -> list[datetime]:
    """Make the runs that slots after one moment, up to another, lack; return those slots."""
    if timing.entry.missed == "skip":
        return []
    oldest = datetime.now(UTC) - timedelta(hours=timing.entry.stale_hours)
    owed = slots.between(timing, max(since, oldest), until)
    owed = owed[-1:] if timing.entry.missed == "latest" else owed
    if not owed:
        return []
    known = runs_due(client, deployment_id, owed[0] - NEIGHBOURHOOD, until + NEIGHBOURHOOD)
    there = {slots.key(run.expected_start_time, timing.timezone) for run in known}
    lacking = [slot for slot in owed if slots.key(slot, timing.timezone) not in there]
    for slot in lacking:
        client.create_flow_run_from_deployment(
            deployment_id,
            state=Scheduled(scheduled_time=slot, message="Made late: Prefect was away"),
            tags=[AUTO_SCHEDULED],
            idempotency_key=f"slot {deployment_id} {slots.key(slot, timing.timezone)}",
        )
    return lacking


def _since(marks: Mapping[str, Mapping[str, str]], timing: "Timing") -> datetime | None:
    mark = marks.get(timing.deployment, {})
    is_same = mark.get("line") == _line(timing)
    return datetime.fromisoformat(mark["seen"]) if is_same else None


def _line(timing: "Timing") -> str:
    return f"{timing.entry.cron} {timing.timezone}"


def _read(layout: "Layout") -> dict[str, dict[str, str]]:
    """Return the marks; without readable ones, as of a new workspace, nothing is owed."""
    try:
        found: dict[str, dict[str, str]] = read_json(layout.schedule_marks)
    except DamagedError:  # or there is none yet
        return {}
    return found
