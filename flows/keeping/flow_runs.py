"""The runs in Prefect that have ended, and taking them away with their artifacts and logs."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows._prefect import brief_client
from flows.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_SECONDS, _AGAIN, _PAGE = 30.0, 3, 200


def ended(
    settings: Settings, recipes: Collection[str], before: datetime
) -> dict[str, list[tuple[str, datetime]]]:
    """Return the runs of our flows that ended before a time, by recipe; "" has those of none.

    Args:
        settings: Where Prefect is.
        recipes: Those of the workspace; runs for others are none of ours.
        before: With its time zone.

    Raises:
        ServiceError: Prefect does not answer.
    """
    found: dict[str, list[tuple[str, datetime]]] = {}
    with brief_client(settings, seconds=_SECONDS, tries_again=_AGAIN) as client:
        for run in _runs(client, before):
            recipe = str(run.parameters.get("recipe", ""))
            if recipe in recipes or not recipe:
                found.setdefault(recipe, []).append((str(run.id), run.end_time.astimezone(UTC)))
    return found


def delete(settings: Settings, run_ids: Collection[str]) -> None:
    """Delete runs with what their pages show; those that are gone already are none to delete.

    Their logs go a little later, by Prefect's own hand.

    Raises:
        ServiceError: Prefect does not answer; the same call again completes.
    """
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
    )
    from prefect.exceptions import ObjectNotFound

    with brief_client(settings, seconds=_SECONDS, tries_again=_AGAIN) as client:
        for run_id in run_ids:
            about = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run_id)]))
            while artifacts := client.read_artifacts(artifact_filter=about, limit=_PAGE):
                for artifact in artifacts:
                    if artifact.id:
                        client.delete_artifact(artifact.id)
            try:
                client.delete_flow_run(UUID(run_id))
            except ObjectNotFound:
                continue


def _runs(client: "SyncPrefectClient", before: datetime) -> Iterator[Any]:
    """Yield the runs, the newest first."""
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterEndTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES
    from prefect.client.schemas.sorting import FlowRunSort

    from flows.orphans import FLOWS

    ended: Any = before  # Prefect's own class of times is the standard one
    rule = FlowRunFilter(
        end_time=FlowRunFilterEndTime(before_=ended),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
    )
    offset = 0
    while page := client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=rule,
        sort=FlowRunSort.END_TIME_DESC,
        limit=_PAGE,
        offset=offset,
    ):
        yield from page
        offset += len(page)
