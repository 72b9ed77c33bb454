"""The forms in Prefect that ask for a person's word: opened, found again, and closed.

A form is a suspended run of the `approve` flow: a row in Prefect's database, no process. Prefect
being away costs the form, never the decision, for which there is `ganmill approve`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows._prefect import brief_client
from flows.settings import Settings
from gan.errors import ServiceError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FLOW = "approve"
_SECONDS, _AGAIN = 5.0, 2  # a busy SQLite answers 503 now and then
_log = logging.getLogger(__name__)


def start(settings: Settings, recipe: str, evidence_digest: str) -> str:
    """Open a form for this evidence, unless there is one, and close those for other evidence.

    Returns:
        The address of its page; "" when Prefect did not take it, which is logged.
    """
    with _prefect(settings, f"{recipe}: no form in Prefect; use `ganmill approve`") as client:
        about = _runs(client, recipe)
        for run in about:
            if run.parameters.get("evidence") != evidence_digest and _is_open(run):
                _close(client, run, "Another version waits in its place.")
        same = [run for run in about if run.parameters.get("evidence") == evidence_digest]
        found = next((run for run in same if not run.state.is_final()), None)
        if found is None:
            deployment = client.read_deployment_by_name(f"{FLOW}/{recipe}")
            found = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"recipe": recipe, "evidence": evidence_digest},
                # Asked again after a hold, there is a new form; asked twice at once, one.
                idempotency_key=f"{evidence_digest}-{len(same)}",
            )
        return f"{settings.prefect_pages}/runs/flow-run/{found.id}"
    return ""


def close_waiting(settings: Settings, evidence_digest: str, says: str) -> None:
    """End the form for this evidence, if one is open: the decision was taken elsewhere.

    Args:
        settings: Where Prefect is; it being away is logged, and the form then refuses by itself.
        evidence_digest: In full.
        says: What the run's page shows, say "approve by Ada at a terminal".
    """
    with _prefect(settings, "a form in Prefect stays open; it will be refused") as client:
        for run in _runs(client):
            if run.parameters.get("evidence") == evidence_digest and _is_open(run):
                _close(client, run, says)


@contextmanager
def _prefect(settings: Settings, otherwise: str) -> Iterator["SyncPrefectClient"]:
    """Yield a client that gives up in seconds; what fails is one line of the log."""
    try:
        with brief_client(settings, seconds=_SECONDS, tries_again=_AGAIN) as client:
            yield client
    except ServiceError as error:
        _log.warning("%s (%s)", otherwise, error)


def _runs(client: "SyncPrefectClient", recipe: str | None = None) -> list[Any]:
    """Return the newest runs of the flow, of one recipe or of all."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowFilter,
        FlowFilterName,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
        deployment_filter=(
            DeploymentFilter(name=DeploymentFilterName(any_=[recipe])) if recipe else None
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
    return list(found)


def _is_open(run: Any) -> bool:  # Prefect's FlowRun
    """Return whether a form waits, or is about to be shown; one being acted on does not."""
    state = run.state
    return bool(state.is_paused() or state.is_scheduled() or state.is_pending())


def _close(client: "SyncPrefectClient", run: Any, says: str) -> None:
    from prefect.states import Completed

    client.set_flow_run_state(run.id, Completed(name="Decided", message=says), force=True)
