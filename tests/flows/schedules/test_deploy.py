"""What is deployed to Prefect: pools, deployments, cron lines, triggers, and runs by HTTP."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import notices
from flows.drift import checks
from flows.schedules.automations import ZOMBIES
from flows.schedules.deploy import apply
from flows.schedules.deploy_file import write
from flows.settings import Settings
from gan.paths import Layout
from tests.flows.prefect_api import ask, deployments, ended, forget, start, until

# What changes by itself on the server.
_MOVING = frozenset({"updated", "last_polled", "status"})


@pytest.fixture
def deployed(first_retrain: object, mill_settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the deployments of the workspace, which came with its servers."""
    return deployments(mill_settings)


def _automations(settings: Settings) -> list[str]:
    """Return the names of the automations that make one deployment follow what happened."""
    found = ask(settings, "automations/filter", {})
    return sorted(each["name"] for each in found if "follows" in each["name"])


def _triggers(*recipes: str) -> list[str]:
    """Return the names of the automations that recipes have."""
    names = ("a retraining follows a drift", "generation follows the champion")
    return [f"{recipe}: {name}" for recipe in recipes for name in names]


def _seen(settings: Settings) -> dict[str, Any]:
    """Return all that is deployed, with ids: what a second deploying must leave as it is."""
    found = {name: _still(each) for name, each in deployments(settings).items()}
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return {
        "deployments": found,
        "automations": {each["id"]: each for each in ask(settings, "automations/filter", {})},
        "pools": {each["name"]: each["id"] for each in ask(settings, "work_pools/filter", {})},
        "planned": {each["id"] for each in ask(settings, "flow_runs/filter", scheduled)},
    }


def _still(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in _MOVING}


def test_every_recipe_has_its_four_deployments(deployed: dict[str, dict[str, Any]]) -> None:
    """All flows of a recipe can be run from Prefect's page, described, with their recipe set."""
    assert {"retrain/tiny", "generate/tiny", "drift/tiny", "approve/tiny"} <= set(deployed)
    for flow in ("retrain", "generate", "drift", "approve"):
        each = deployed[f"{flow}/tiny"]
        assert each["parameters"]["recipe"] == each["name"]
        assert each["description"]
        assert each["tags"] == ["ganmill", "tiny"]
        assert each["work_pool_name"] == ("ganmill-train" if flow == "retrain" else "ganmill")
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


def test_deploying_again_changes_nothing(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """The same ids, planned runs and triggers, once each; and the watch for dead runs is there."""
    before = _seen(mill_settings)
    done = apply(Layout(mill_root), mill_settings)

    assert done.deployments == 5
    assert set(done.pools) <= set(before["pools"])
    assert _seen(mill_settings) == before
    assert _automations(mill_settings) == _triggers("tiny")
    names = [each["name"] for each in before["automations"].values()]
    assert names.count(ZOMBIES) == 1


def test_prefects_own_command_deploys_the_same(
    deployed: dict[str, dict[str, Any]],
    mill_settings: Settings,
    mill_root: Path,
    mill_environment: dict[str, str],
) -> None:
    """`prefect deploy --all` with the written file leaves `ganmill deploy` nothing to change."""
    layout, before = Layout(mill_root), _seen(mill_settings)
    file = write(layout)
    command = [str(Path(sys.executable).parent / "prefect"), "--no-prompt", "deploy", "--all"]
    url, state = f"{mill_settings.prefect_url}/api", str(layout.state / "prefect")
    place = {"PWD": str(mill_root), "PREFECT_API_URL": url, "PREFECT_HOME": state}
    try:
        done = subprocess.run(
            command,
            cwd=mill_root,
            env={**mill_environment, **place},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        file.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    after = _seen(mill_settings)
    apply(layout, mill_settings)

    assert _seen(mill_settings) == after
    assert {name: each["id"] for name, each in after["deployments"].items()} == {
        name: each["id"] for name, each in before["deployments"].items()
    }
    assert _automations(mill_settings) == _triggers("tiny")


def test_what_is_gone_goes_and_another_workspace_stays(
    deployed: dict[str, dict[str, Any]],
    mill_settings: Settings,
    mill_root: Path,
    tmp_path: Path,
) -> None:
    """A recipe that was removed takes its deployments and triggers along, and no others."""
    mill, other = Layout(mill_root), Layout(tmp_path)
    _, _, section = mill.params.read_text().partition("  tiny:\n")
    try:
        for recipe in ("elsewhere", "beyond"):
            other.params.write_text(f"recipes:\n  {recipe}:\n{section}")
            apply(other, mill_settings)
            assert {f"retrain/{recipe}", *deployed} <= set(deployments(mill_settings))
            assert _automations(mill_settings) == sorted(_triggers(recipe, "tiny"))
        assert "retrain/elsewhere" not in deployments(mill_settings)
    finally:
        forget(mill_settings, "beyond")
        apply(mill, mill_settings)  # the reconciling is this workspace's again
    assert set(deployments(mill_settings)) == set(deployed)


def test_a_run_asked_for_over_http_is_done_in_this_workspace(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """The button on Prefect's page does what the command does; what it printed is kept."""
    asked = start(mill_settings, "generate/tiny", recipe="tiny", count=3, slot="button")

    assert ended(mill_settings, asked) == "COMPLETED"
    layout = Layout(mill_root)
    (folder,) = layout.batches("tiny").glob("button-*")
    batch = json.loads((folder / "batch.json").read_text())
    assert batch["lineage"]["flow_run"] == asked
    log = layout.state / "logs" / "runs" / f"{asked}.log"
    assert "3 assets of tiny" in log.read_text()


def test_a_change_of_the_champion_starts_a_batch(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """One event is one run of the recipe's `generate`, with the parameters of its deployment."""
    generate = {"deployments": {"id": {"any_": [deployed["generate/tiny"]["id"]]}}}
    layout = Layout(mill_root)

    def runs(*states: str) -> list[dict[str, Any]]:
        found = ask(mill_settings, "flow_runs/filter", generate)
        started = [run for run in found if (run["created_by"] or {}).get("type") == "AUTOMATION"]
        return [run for run in started if not states or run["state_type"] in states]

    before = len(runs())
    notices.announce(layout, mill_settings, "model.promoted", "other", "not this recipe", {})
    notices.announce(layout, mill_settings, "model.trained", "tiny", "not this event", {})
    minted = "whoever promoted mints"
    notices.announce(layout, mill_settings, "model.promoted", "tiny", minted, {}, wants_batch=False)
    notices.announce(layout, mill_settings, "model.promoted", "tiny", "v1 is champion", {"v": 1})
    done = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    until(lambda: len(runs(*done)) > before, "no run ended")
    notices.announce(layout, mill_settings, "model.rolled_back", "tiny", "v1 is champion", {})
    until(lambda: len(runs()) > before + 1, "no second run")

    assert len(runs()) == before + 2
    assert {run["state_type"] for run in runs(*done)} == {"COMPLETED"}
    assert [run["parameters"] for run in runs()] == [{"recipe": "tiny"}] * len(runs())


def test_a_drift_that_wants_it_starts_a_retraining(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """One event is one run, that leaves a stopped training as it is; a mere report starts none."""
    retrain = {"deployments": {"id": {"any_": [deployed["retrain/tiny"]["id"]]}}}
    layout = Layout(mill_root)

    def runs() -> list[dict[str, Any]]:
        found = ask(mill_settings, "flow_runs/filter", retrain)
        return [run for run in found if (run["created_by"] or {}).get("type") == "AUTOMATION"]

    notices.announce(layout, mill_settings, "data.drifted", "tiny", "a report", {})
    notices.announce(layout, mill_settings, "data.drifted", "tiny", "x", {}, wants_retrain=True)
    until(runs, "no run")
    (run,) = runs()
    assert run["parameters"] == {"recipe": "tiny", "fresh": True}
    cancelled = {"state": {"type": "CANCELLED"}, "force": True}
    ask(mill_settings, f"flow_runs/{run['id']}/set_state", cancelled)


def test_drift_is_looked_for_in_this_workspace(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """The images of now are those that the champion was trained on, or it has other ones."""
    asked = start(mill_settings, "drift/tiny")

    assert ended(mill_settings, asked) == "COMPLETED"
    (*_, row) = checks.read(Layout(mill_root).drift_checks("tiny"))
    assert row.outcome == "pass"
    assert row.data == row.baseline
    assert (Layout(mill_root).drift("tiny") / "index.html").is_file()


@pytest.mark.faults
def test_schedules_follow_params_yaml(
    deployed: dict[str, dict[str, Any]], mill_settings: Settings, mill_root: Path
) -> None:
    """A changed cron line, a new recipe and a removed one need no restart; a pause outlasts them.

    Each recipe has its two triggers once, however often its deployments are renewed.
    """
    assert _automations(mill_settings) == _triggers("tiny")
    params = mill_root / "params.yaml"
    before = params.read_text()
    _, _, section = before.partition("  tiny:\n")
    changed = before.replace("0 3 1 1 *", "30 4 * * *")
    pausing = f"deployments/{deployed['generate/tiny']['id']}"
    ask(mill_settings, f"{pausing}/pause_deployment", {})
    params.write_text(f"{changed}  other:\n{section}")
    try:
        until(lambda: "retrain/other" in deployments(mill_settings), "no new deployment")
        generate = deployments(mill_settings)["generate/tiny"]
        (schedule,) = generate["schedules"]
        assert schedule["schedule"]["cron"] == "30 4 * * *"
        assert generate["paused"]
        both = _triggers("other", "tiny")
        until(lambda: _automations(mill_settings) == both, "not one trigger each")
        params.write_text(before.replace("schedule: {", "# schedule: {"))
        until(lambda: "retrain/other" not in deployments(mill_settings), "it was not removed")
        assert deployments(mill_settings)["generate/tiny"]["schedules"] == []
    finally:
        params.write_text(before)
        ask(mill_settings, f"{pausing}/resume_deployment", {})
    until(lambda: deployments(mill_settings)["generate/tiny"]["schedules"], "not restored")
    until(lambda: _automations(mill_settings) == _triggers("tiny"), "a trigger too many")
