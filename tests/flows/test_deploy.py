"""The scheduler that `ganmill up` starts: deployments, cron lines, triggers, runs over HTTP."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flows import notices
from flows.drift import checks
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
    _until(lambda: "reconcile/ganmill" in _deployments(mill_settings), "no deployments")
    return _deployments(mill_settings)


def _automations(settings: Settings) -> list[str]:
    """Return the names of the automations that make one deployment follow what happened."""
    found = _ask(settings, "automations/filter", {})
    return sorted(each["name"] for each in found if "follows" in each["name"])


def _triggers(*recipes: str) -> list[str]:
    """Return the names of the automations that recipes have."""
    names = ("a retraining follows a drift", "generation follows the champion")
    return [f"{recipe}: {name}" for recipe in recipes for name in names]


def test_every_recipe_has_its_four_deployments(deployed: dict[str, dict[str, Any]]) -> None:
    """All flows of a recipe can be run from Prefect's page, described, with their recipe set."""
    assert {"retrain/tiny", "generate/tiny", "drift/tiny", "approve/tiny"} <= set(deployed)
    for flow in ("retrain", "generate", "drift", "approve"):
        each = deployed[f"{flow}/tiny"]
        assert each["parameters"]["recipe"] == each["name"]
        assert each["description"]
        assert each["tags"] == ["ganmill", "tiny"]
    assert deployed["approve/tiny"]["schedules"] == []


def test_what_died_is_looked_for_every_ten_minutes(deployed: dict[str, dict[str, Any]]) -> None:
    """Reconciling is one deployment for all recipes."""
    (schedule,) = deployed["reconcile/ganmill"]["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "*/10 * * * *"
    assert deployed["reconcile/ganmill"]["parameters"] == {}


def test_a_cron_line_of_the_recipe_is_a_schedule(deployed: dict[str, dict[str, Any]]) -> None:
    """What params.yaml schedules is registered with its time zone; the rest waits to be asked."""
    (schedule,) = deployed["generate/tiny"]["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "0 3 1 1 *"
    assert schedule["schedule"]["timezone"] == "UTC"
    assert deployed["retrain/tiny"]["schedules"] == []
    assert deployed["drift/tiny"]["schedules"] == []


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


def test_a_change_of_the_champion_starts_a_batch(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """One event is one run of the recipe's `generate`, with the parameters of its deployment."""
    generate = {"deployments": {"id": {"any_": [deployed["generate/tiny"]["id"]]}}}
    layout = Layout(mill_root)

    def runs(*states: str) -> list[dict[str, Any]]:
        found = _ask(mill_settings, "flow_runs/filter", generate)
        started = [run for run in found if (run["created_by"] or {}).get("type") == "AUTOMATION"]
        return [run for run in started if not states or run["state_type"] in states]

    before = len(runs())
    notices.announce(layout, mill_settings, "model.promoted", "other", "not this recipe", {})
    notices.announce(layout, mill_settings, "model.trained", "tiny", "not this event", {})
    minted = "whoever promoted mints"
    notices.announce(layout, mill_settings, "model.promoted", "tiny", minted, {}, wants_batch=False)
    notices.announce(layout, mill_settings, "model.promoted", "tiny", "v1 is champion", {"v": 1})
    ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    _until(lambda: len(runs(*ended)) > before, "no run ended")
    notices.announce(layout, mill_settings, "model.rolled_back", "tiny", "v1 is champion", {})
    _until(lambda: len(runs()) > before + 1, "no second run")

    assert len(runs()) == before + 2
    assert {run["state_type"] for run in runs(*ended)} == {"COMPLETED"}
    assert [run["parameters"] for run in runs()] == [{"recipe": "tiny"}] * len(runs())


def test_a_drift_that_wants_it_starts_a_retraining(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """One event is one run, that leaves a stopped training as it is; a mere report starts none."""
    retrain = {"deployments": {"id": {"any_": [deployed["retrain/tiny"]["id"]]}}}
    layout = Layout(mill_root)

    def runs() -> list[dict[str, Any]]:
        found = _ask(mill_settings, "flow_runs/filter", retrain)
        return [run for run in found if (run["created_by"] or {}).get("type") == "AUTOMATION"]

    notices.announce(layout, mill_settings, "data.drifted", "tiny", "a report", {})
    notices.announce(layout, mill_settings, "data.drifted", "tiny", "x", {}, wants_retrain=True)
    _until(runs, "no run")
    (run,) = runs()
    assert run["parameters"] == {"recipe": "tiny", "fresh": True}
    cancelled = {"state": {"type": "CANCELLED"}, "force": True}
    _ask(mill_settings, f"flow_runs/{run['id']}/set_state", cancelled)


def test_drift_is_looked_for_in_this_workspace(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """The images of now are those that the champion was trained on, or it has other ones."""
    path = f"deployments/{deployed['drift/tiny']['id']}/create_flow_run"
    asked = _ask(mill_settings, path, {})
    rule = {"flow_runs": {"id": {"any_": [asked["id"]]}}}

    def ended() -> str:
        (run,) = _ask(mill_settings, "flow_runs/filter", rule)
        return run["state_type"] if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} else ""

    assert _until(ended, "the run did not end") == "COMPLETED"
    (*_, row) = checks.read(Layout(mill_root).drift_checks("tiny"))
    assert row.outcome == "pass"
    assert row.data == row.baseline
    assert (Layout(mill_root).drift("tiny") / "index.html").is_file()


class _Relay(threading.Thread):
    """Passes bytes on to a port, as long as it is open; shut, a connection is refused."""

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self.target = target
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    def run(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)) as server:
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(1 << 16):
                sink.sendall(some)
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.faults
def test_the_scheduler_waits_for_prefect(
    deployed: dict[str, dict[str, Any]],
    mill_settings: Settings,
    mill_root: Path,
    mill_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """A server that is away does not end it; it says so, and serves once the server is there."""
    relay = _Relay(mill_settings.prefect_port)
    log = tmp_path / "scheduler.log"
    with log.open("wb") as words:
        scheduler = subprocess.Popen(
            [sys.executable, "-m", "flows.deploy"],
            cwd=mill_root,
            env={**mill_environment, "PREFECT_API_URL": f"http://127.0.0.1:{relay.port}/api"},
            stdout=words,
            stderr=words,
        )
        try:
            _until(lambda: "Prefect does not answer; trying again" in log.read_text(), "no word")
            relay.start()
            _until(lambda: "serving 5 deployments" in log.read_text(), "not served")
            assert scheduler.poll() is None
        finally:
            scheduler.terminate()
            scheduler.wait(timeout=30)
    assert "Traceback" not in log.read_text()


@pytest.mark.faults
def test_schedules_follow_params_yaml(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """A changed cron line, a new recipe and a removed one need no restart.

    Each recipe has its two triggers once, however often its deployments are renewed.
    """
    assert _automations(mill_settings) == _triggers("tiny")
    params = mill_root / "params.yaml"
    before = params.read_text()
    _, _, section = before.partition("  tiny:\n")
    changed = before.replace("0 3 1 1 *", "30 4 * * *")
    params.write_text(f"{changed}  other:\n{section}")
    try:
        _until(lambda: "retrain/other" in _deployments(mill_settings), "no new deployment")
        (schedule,) = _deployments(mill_settings)["generate/tiny"]["schedules"]
        assert schedule["schedule"]["cron"] == "30 4 * * *"
        both = _triggers("other", "tiny")
        _until(lambda: _automations(mill_settings) == both, "not one trigger each")
        params.write_text(before.replace("schedule: {", "# schedule: {"))
        _until(lambda: "retrain/other" not in _deployments(mill_settings), "it was not removed")
        assert _deployments(mill_settings)["generate/tiny"]["schedules"] == []
    finally:
        params.write_text(before)
    _until(lambda: _deployments(mill_settings)["generate/tiny"]["schedules"], "not restored")
    _until(lambda: _automations(mill_settings) == _triggers("tiny"), "a trigger too many")
