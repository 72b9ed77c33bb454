"""What Prefect knows of the runs that a schedule starts, and of their deployments."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from flows.schedules import slots

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.schedules.slots import Timing

AUTO_SCHEDULED = "auto-scheduled"  # Prefect's own tag of what a cron line starts
SKIPPED = "Skipped"  # the name on Prefect's pages of the state of a run that was passed over
NEIGHBOURHOOD = timedelta(hours=3)  # no clock is changed by more
_PAGE = 200

Which = Literal["all", "begun", "waiting"]


def is_on(deployment: Any, timing: "Timing") -> bool:
    """Return whether Prefect makes the runs of this very line by itself."""
    return not is_paused(deployment) and any(
        each.active
        and getattr(each.schedule, "cron", None) == timing.entry.cron
        and (each.schedule.timezone or "UTC") == timing.timezone
        for each in deployment.schedules
    )


def is_paused(deployment: Any) -> bool:
    """Return whether somebody stopped the clock of a deployment, by command or on its page."""
    lines = deployment.schedules
    return bool(deployment.paused or (lines and not any(each.active for each in lines)))


def unwanted(deployment: Any, timing: "Timing", due: datetime, now: datetime) -> str:
    """Return why a run is no longer wanted, by its clock and the recipe; empty if it is."""
    if is_paused(deployment):  # the run was made before that
        at = slots.shown(due, timing.timezone)
        word = f"ganmill schedule {timing.recipe} --resume {timing.label}"
        how = "on Prefect's page" if timing is slots.RECONCILING else f"with: {word}"
        return f"due at {at}; its clock is stopped. Resume it {how}"
    return slots.overdue(timing, due, now)


def runs_due(
    client: "SyncPrefectClient",
    deployment_id: UUID,
    after: datetime,
    before: datetime,
    *,
    which: Which = "all",
) -> list[Any]:
    """Return the scheduled runs of a deployment that were due between two moments, in that order.

    Args:
        client: Of the server.
        deployment_id: Whose runs.
        after: The first moment.
        before: The last.
        which: Those that began at some time, or wait for that, or all.
    """
    rule = _rule(deployment_id, {"after_": after, "before_": before}, which=which)
    found: list[Any] = []
    while page := client.read_flow_runs(
        flow_run_filter=rule,
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_PAGE,
        offset=len(found),
    ):
        found += page
        if len(page) < _PAGE:
            break
    return found


def last_runs(client: "SyncPrefectClient", deployment_id: UUID, count: int) -> list[Any]:
    """Return the scheduled runs of a deployment that were due last, newest first."""
    return client.read_flow_runs(
        flow_run_filter=_rule(deployment_id, {"before_": datetime.now(UTC)}),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=count,
    )


def _rule(
    deployment_id: UUID, due: Mapping[str, datetime], *, which: Which = "all"
) -> FlowRunFilter:
    """Return Prefect's filter for the scheduled runs of a deployment that were due in a while."""
    waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate(due),
        tags=FlowRunFilterTags(all_=[AUTO_SCHEDULED]),
        start_time=None if which == "all" else FlowRunFilterStartTime(is_null_=which == "waiting"),
        state=waiting if which == "waiting" else None,
    )
