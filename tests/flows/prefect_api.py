"""What tests ask of a real Prefect server, by HTTP as its pages do."""

import json
import time
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

from flows.settings import Settings

WAIT_SECONDS = 120
_BUSY_SECONDS = 30
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


def ask(settings: Settings, path: str, body: dict[str, Any], method: str = "POST") -> Any:
    """Return what the server answers; it is asked again while its database is busy."""
    request = urllib.request.Request(
        f"{settings.prefect_url}/api/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with opener.open(request, timeout=30) as answer:
                words = answer.read()
            return json.loads(words) if words else None
        except HTTPError as error:  # as every client of Prefect's does
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def deployments(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the deployments by `flow/name`."""
    flows = {flow["id"]: flow["name"] for flow in ask(settings, "flows/filter", {})}
    found = ask(settings, "deployments/filter", {})
    return {f"{flows[each['flow_id']]}/{each['name']}": each for each in found}


def forget(settings: Settings, recipe: str) -> None:
    """Remove the deployments of a recipe, and what starts them."""
    for each in deployments(settings).values():
        if recipe in each["tags"]:
            owner = f"prefect.deployment.{each['id']}"
            ask(settings, f"automations/owned-by/{owner}", {}, "DELETE")
            ask(settings, f"deployments/{each['id']}", {}, "DELETE")


def start(settings: Settings, name: str, **parameters: object) -> str:
    """Press the Run button of a deployment; return the run's id."""
    path = f"deployments/{deployments(settings)[name]['id']}/create_flow_run"
    return str(ask(settings, path, {"parameters": parameters} if parameters else {})["id"])


def run_of(settings: Settings, run: str) -> dict[str, Any]:
    """Return what the server knows of a flow run."""
    rule = {"flow_runs": {"id": {"any_": [run]}}}
    (found,) = ask(settings, "flow_runs/filter", rule)
    return dict(found)


def ended(settings: Settings, run: str) -> str:
    """Wait until a run ended; return its state."""

    def state() -> str:
        found = str(run_of(settings, run)["state_type"])
        return found if found in ENDED else ""

    return str(until(state, "the run did not end"))


def until(found: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Return the first true answer within two minutes."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.3)
    return answer
