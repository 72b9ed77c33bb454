"""`ganmill schedule`: what runs next, as Prefect has it, and what is paused."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running, Scheduled
from typer.testing import CliRunner, Result

from flows import show
from flows.commands.schedule import commands
from flows.schedules import deploy, missed, slots
from flows.schedules.runs import runs_due
from flows.settings import Settings
from gan.errors import RecipeError, ServiceError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from tests.flows.conftest import ADDRESSES, RECIPES

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

SCHEDULE = """{retrain: {cron: "30 2 * * *", missed: all, stale_hours: 6},
               generate: "@daily", timezone: Europe/Berlin, on: [drift]}"""


@dataclass(frozen=True)
class Mill:
    """A workspace with a schedule, its deployments in Prefect, and the command.

    Attributes:
        api: A client of the server.
        layout: The workspace.
        recipe: Its recipe.
        deployments: The ids of its deployments, by `retrain` and `generate`.
    """

    api: SyncPrefectClient
    layout: Layout
    recipe: Recipe
    deployments: dict[str, Any]

    def schedule(self, *words: str) -> Result:
        """Return how the command went."""
        return CliRunner().invoke(commands, [self.recipe.name, *words])

    def rows(self, *words: str) -> dict[str, Any]:
        """Return what the command says as JSON, by what runs."""
        done = self.schedule("--json", *words)
        assert done.exit_code == 0, done.output
        return {row["what"]: row for row in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def api(servers: Settings) -> Iterator[SyncPrefectClient]:
    """Return a client of the Prefect server that everything in this file talks to."""
    address = {PREFECT_API_URL: f"{servers.prefect_url}/api"}
    with temporary_settings(address), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def mill(
    api: SyncPrefectClient, servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mill]:
    """Yield a workspace in which the command stands, deployed."""
    before = dict(os.environ)  # the command tells its process where the servers are
    name, layout = f"r{uuid4().hex[:8]}", Layout(tmp_path)
    text = RECIPES.replace("tiny:", f"{name}:").replace('{generate: "0 3 1 1 *"}', SCHEDULE)
    layout.params.write_text(text)
    monkeypatch.chdir(tmp_path)
    for variable in ADDRESSES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PREFECT_API_URL", f"{servers.prefect_url}/api")
    recipe = load_recipe(layout.params, name)
    deployed = {}
    for timing in slots.timings(recipe):
        line = CronSchedule(cron=timing.entry.cron, timezone=timing.timezone)
        flow = api.create_flow_from_name(timing.flow)
        schedules = [DeploymentScheduleCreate(schedule=line, active=True)]
        deployed[timing.flow] = api.create_deployment(flow, name, schedules=schedules)
    yield Mill(api, layout, recipe, deployed)
    os.environ.clear()
    os.environ.update(before)


def test_what_comes_is_what_prefect_will_start(mill: Mill) -> None:
    """The next times of each line, in its zone, are those of the runs that Prefect makes."""
    ahead = {"end_time": f"{datetime.now(UTC) + timedelta(days=400)}", "max_runs": 5}
    mill.api.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": mill.deployments["retrain"]},
        json=ahead,
    ).raise_for_status()
    now = datetime.now(UTC)
    theirs = runs_due(mill.api, mill.deployments["retrain"], now, now + timedelta(days=4))
    row = mill.rows("--count", "12")["retrain"]

    ours = [datetime.fromisoformat(text) for text in row["next"]]
    assert len(ours) == 12
    assert ours[: len(theirs)] == [run.expected_start_time for run in theirs]
    assert {f"{slot:%H:%M}" for slot in ours[:3]} == {"02:30"}
    assert (row["cron"], row["timezone"]) == ("30 2 * * *", "Europe/Berlin")
    assert (row["missed"], row["stale_hours"], row["state"]) == ("all", 6.0, "on")


def test_a_person_sees_times_policy_and_last_runs(mill: Mill) -> None:
    """Ten times of each with their offset, what becomes of missed runs, how the last ones went."""
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=30)
    why = "due at some time; too late"
    made = mill.api.create_flow_run_from_deployment(
        mill.deployments["retrain"], state=Scheduled(scheduled_time=due), tags=["auto-scheduled"]
    )
    skipped: State[None] = Completed(name="Skipped", message=why)
    for state in (Running(), skipped):
        mill.api.set_flow_run_state(made.id, state, force=True)
    done = mill.schedule()

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"{mill.recipe.name}: events that start something: drift"
    head = "retrain   30 2 * * *   Europe/Berlin   on   missed: all, up to 6 h late"
    assert f"  {head}" in lines
    assert sum(" 02:30 +0" in line for line in lines) == 10
    assert f"    last: {slots.shown(due, 'Europe/Berlin')}: Skipped: {why}" in lines
    assert "  generate   @daily   Europe/Berlin   on   missed: latest, up to 24 h late" in lines


def test_a_pause_stops_the_clock_and_its_end_owes_nothing(mill: Mill) -> None:
    """A paused line says so; resumed, it goes on with the next slot, and none before is owed."""
    now = datetime.now(UTC)
    assert "paused: retrain of" in mill.schedule("--pause", "retrain").stderr
    assert {what: row["state"] for what, row in mill.rows().items()} == {
        "retrain": "paused",
        "generate": "on",
    }
    assert "resumed: retrain of" in mill.schedule("--resume", "retrain").stderr
    assert mill.rows()["retrain"]["state"] == "on"
    timing = slots.timings(mill.recipe)[0]
    seen = missed.seen_until(mill.layout, timing)
    assert seen
    assert seen >= now
    mill.schedule("--pause", "all")
    assert {row["state"] for row in mill.rows().values()} == {"paused"}


def test_a_pause_outlasts_a_renewal(mill: Mill, servers: Settings) -> None:
    """Another line in params.yaml, or `ganmill up` once more, does not start a paused clock."""
    deploy.apply(mill.layout, servers)
    mill.schedule("--pause", "retrain")
    text = mill.layout.params.read_text()
    mill.layout.params.write_text(text.replace("30 2 * * *", "45 3 * * *"))
    deploy.apply(mill.layout, servers)

    row = mill.rows()["retrain"]
    assert (row["cron"], row["state"]) == ("45 3 * * *", "paused")
    mill.schedule("--resume", "retrain")
    assert mill.rows()["retrain"]["state"] == "on"


def test_what_was_switched_off_on_prefects_page_is_paused(mill: Mill) -> None:
    """A schedule that is not active counts as paused, and `--resume` switches it on."""
    (line,) = mill.api.read_deployment(mill.deployments["generate"]).schedules
    mill.api.update_deployment_schedule(mill.deployments["generate"], line.id, active=False)

    assert mill.rows()["generate"]["state"] == "paused"
    mill.schedule("--resume", "generate")
    assert mill.rows()["generate"]["state"] == "on"


def test_prefect_and_params_yaml_may_differ(mill: Mill) -> None:
    """A line that is not deployed yet, or is another one there, is told with the next command."""
    text = mill.layout.params.read_text()
    mill.layout.params.write_text(
        text.replace("@daily", "@hourly").replace("on: [", 'drift: "@daily", on: [')
    )
    states = {what: row["state"] for what, row in mill.rows().items()}

    assert states["generate"] == "another line is deployed"
    assert states["drift"] == "not deployed"
    assert "Renew them with: ganmill deploy" in mill.schedule().stdout
    failed = mill.schedule("--pause", "drift").exception
    assert isinstance(failed, ServiceError)
    assert "Run: ganmill up" in str(failed)


def test_without_servers_the_times_are_told(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times come from params.yaml alone; what only Prefect knows is said to be not known."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = mill.schedule("--count", "2")

    assert done.exit_code == 0
    assert "is not known. Start it with: ganmill up" in done.stderr
    assert "retrain   30 2 * * *   Europe/Berlin   not known" in done.stdout
    assert done.stdout.count(" 02:30 +0") == 2
    assert isinstance(mill.schedule("--pause", "retrain").exception, ServiceError)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pause", "drift"), "'drift' has no cron line in params.yaml. On the clock: retrain, g"),
        (("--pause", "retrain", "--resume", "generate"), "either --pause or --resume"),
    ],
)
def test_what_cannot_be_paused_is_told(mill: Mill, words: tuple[str, ...], says: str) -> None:
    """One line says what there is."""
    failed = mill.schedule(*words).exception

    assert isinstance(failed, UsageError)
    assert says in str(failed)


def test_a_recipe_is_asked_for_or_all_are_shown(mill: Mill) -> None:
    """An unknown recipe is one line; a recipe without a schedule says how to give it one."""
    assert isinstance(CliRunner().invoke(commands, ["nobody"]).exception, RecipeError)
    assert isinstance(CliRunner().invoke(commands, ["--pause", "all"]).exception, UsageError)
    mill.layout.params.write_text(RECIPES.replace('{generate: "0 3 1 1 *"}', "{on: []}"))
    found = CliRunner().invoke(commands, []).stdout
    assert found.startswith("tiny: events that start something: none\n  no cron line; add one")


def test_the_table_of_recipes_names_what_the_clock_starts(
    mill: Mill, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ganmill recipes` has the cron lines in a column."""
    show.recipes({mill.recipe.name: mill.recipe}, as_json=False)

    found = capsys.readouterr().out
    assert "retrain 30 2 * * *" in found
    assert "generate @daily" in found
