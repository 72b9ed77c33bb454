"""The scheduler that `ganmill up` starts: deployments, cron lines, runs asked for over HTTP."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.settings import Settings
from gan.paths import Layout

WAIT_SECONDS = 120


def _ask(settings: Settings, path: str, body: dict[str, Any]) -> Any:
    """Return what the Prefect server answers to a POST."""
    request = urllib.request.Request(
        f"{settings.prefect_url}/api/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def _deployments(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the deployments by `flow/recipe`."""
    flows = {flow["id"]: flow["name"] for flow in _ask(settings, "flows/filter", {})}
    found = _ask(settings, "deployments/filter", {})
    return {f"{flows[each['flow_id']]}/{each['name']}": each for each in found}


def _until(found: Callable[[], Any], what: str) -> Any:
    """Return the first true answer within two minutes."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return answer


@pytest.fixture
def deployed(first_retrain: object, mill_settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the deployments of the workspace, whose scheduler came up with its servers."""
    found = _until(lambda: _deployments(mill_settings), "no deployments")
    assert isinstance(found, dict)
    return found


def test_every_recipe_has_its_two_deployments(deployed: dict[str, dict[str, Any]]) -> None:
    """Both flows of a recipe can be run from Prefect's page, described, with their recipe set."""
    assert {"retrain/tiny", "generate/tiny"} <= set(deployed)
    for each in deployed.values():
        assert each["parameters"]["recipe"] == each["name"]
        assert each["description"]


def test_a_cron_line_of_the_recipe_is_a_schedule(deployed: dict[str, dict[str, Any]]) -> None:
    """What params.yaml schedules is registered with its time zone; the rest waits to be asked."""
    (schedule,) = deployed["generate/tiny"]["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "0 3 1 1 *"
    assert schedule["schedule"]["timezone"] == "UTC"
    assert deployed["retrain/tiny"]["schedules"] == []


def test_a_run_asked_for_over_http_is_done_in_this_workspace(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """The button on Prefect's page does what the command does."""
    asked = _ask(
        mill_settings,
        f"deployments/{deployed['generate/tiny']['id']}/create_flow_run",
        {"parameters": {"recipe": "tiny", "count": 3, "slot": "button"}},
    )
    rule = {"flow_runs": {"id": {"any_": [asked["id"]]}}}

    def ended() -> str:
        (run,) = _ask(mill_settings, "flow_runs/filter", rule)
        return run["state_type"] if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} else ""

    assert _until(ended, "the run did not end") == "COMPLETED"
    (folder,) = Layout(mill_root).batches("tiny").glob("button-*")
    batch = json.loads((folder / "batch.json").read_text())
    assert batch["lineage"]["flow_run"] == asked["id"]


def test_schedules_follow_params_yaml(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """A changed cron line, a new recipe and a removed one need no restart."""
    params = mill_root / "params.yaml"
    before = params.read_text()
    _, _, section = before.partition("  tiny:\n")
    changed = before.replace("0 3 1 1 *", "30 4 * * *")
    params.write_text(f"{changed}  other:\n{section}")
    try:
        _until(lambda: "retrain/other" in _deployments(mill_settings), "no new deployment")
        (schedule,) = _deployments(mill_settings)["generate/tiny"]["schedules"]
        assert schedule["schedule"]["cron"] == "30 4 * * *"
        params.write_text(before.replace("schedule: {", "# schedule: {"))
        _until(lambda: "retrain/other" not in _deployments(mill_settings), "it was not removed")
        assert _deployments(mill_settings)["generate/tiny"]["schedules"] == []
    finally:
        params.write_text(before)
    _until(lambda: _deployments(mill_settings)["generate/tiny"]["schedules"], "not restored")
