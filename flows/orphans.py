"""Flow runs whose process was killed: Prefect would show them as running for ever."""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Crashed


def close_orphans(flow: str, recipe: str) -> int:
    """Mark the runs of a flow for a recipe as crashed, except this one; return how many.

    The caller holds the lock that every such run holds while it works, so the others are dead.
    """
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
    closed = 0
    with get_client(sync_client=True) as client:
        found: list[Any] = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(state=running),
        )
        for run in found:
            if run.parameters.get("recipe") == recipe and run.id != UUID(str(flow_run.id)):
                ended: State[Any] = Crashed(
                    message="Its process was killed; a later run went on from there."
                )
                client.set_flow_run_state(run.id, ended, force=True)
                closed += 1
    return closed
