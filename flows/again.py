"""A retraining that crashed is submitted again, once: a killed process is no verdict on the data.

It goes on from its last checkpoint. What crashes a second time has a cause that a person must find.
"""

import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import MissingContextError, ObjectNotFound
from prefect.logging import get_run_logger

from flows.held import is_retraining
from gan.paths import Layout

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_log = logging.getLogger(__name__)
TAG = "resubmitted"
_WITHIN = timedelta(hours=24)
_BY_A_PERSON = "interrupt signal"  # Ctrl-C, which Prefect calls a crash, too


def resubmit(layout: Layout, recipes: Collection[str]) -> list[str]:
    """Submit the last retraining of each recipe again if it crashed within a day; tell of each.

    One that a person interrupted is not, nor one that had its second chance already, nor one that
    was run or asked for again since. One that lives is not either: a server that did not hear of it
    for minutes took it for dead, and it ends as it ends.
    """
    with get_client(sync_client=True) as client:
        since = FlowRunFilterEndTime.model_validate({"after_": datetime.now(UTC) - _WITHIN})
        crashed = _runs(client, FlowRunFilter(state=_in(StateType.CRASHED), end_time=since))
        newest = {run.parameters.get("recipe"): run for run in sorted(crashed, key=_begun)}
        return [
            _again(client, recipe, run)
            for recipe, run in newest.items()
            if recipe in recipes
            and _BY_A_PERSON not in (run.state.message or "")
            and not _followed(client, recipe, run)
            and not is_retraining(layout, recipe)
        ]


def _again(client: "SyncPrefectClient", recipe: str, run: Any) -> str:
    command = f"ganmill retrain {recipe}"
    why = " ".join((run.state.message or "no reason given").split())
    if TAG in run.tags:
        return _alarm(f"{run.name} crashed again ({why}). Mend the cause, then run: {command}")
    try:
        deployment = client.read_deployment_by_name(f"retrain/{recipe}")
    except ObjectNotFound:
        return _alarm(f"{run.name} crashed ({why}), and nothing schedules it. Run: {command}")
    made = client.create_flow_run_from_deployment(
        deployment.id,
        parameters=run.parameters,
        tags=[TAG],
        idempotency_key=f"again-{run.id}",
    )
    return f"{run.name} crashed ({why}); submitted again, once, as {made.name}"


def _alarm(line: str) -> str:
    """Log what a person has to look at to the present flow run, as an error."""
    try:
        get_run_logger().error(line)
    except MissingContextError:
        _log.error(line)
    return line


def _followed(client: "SyncPrefectClient", recipe: str, crashed: Any) -> bool:
    """Return whether the recipe was retrained since, or a person or we asked for it already."""
    since = FlowRunFilterStartTime.model_validate({"after_": _begun(crashed)})
    later = FlowRunFilter(start_time=since)
    asked = FlowRunFilter(state=_in(StateType.SCHEDULED, StateType.PENDING))
    return any(
        run.id != crashed.id and run.parameters.get("recipe") == recipe and not is_ahead
        for rule in (later, asked)
        for run in _runs(client, rule)
        # What a cron line is going to start one day is made beforehand.
        for is_ahead in [run.auto_scheduled and run.state_type == StateType.SCHEDULED]
    )


def _begun(run: Any) -> datetime:
    """Return when a run began; one whose process could not be started was due then."""
    began: datetime = run.start_time or run.expected_start_time
    return began


def _runs(client: "SyncPrefectClient", rule: FlowRunFilter) -> list[Any]:
    retrain = FlowFilter(name=FlowFilterName(any_=["retrain"]))
    return client.read_flow_runs(flow_filter=retrain, flow_run_filter=rule)


def _in(*states: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
