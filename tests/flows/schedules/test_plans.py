"""What is deployed to Prefect, as `params.yaml` says, and the same as a file."""

from pathlib import Path

import pytest

from flows.schedules import deploy_file
from flows.schedules.deploy import job_variables
from flows.schedules.plans import Plan, plans
from gan.durable import write_atomically
from gan.paths import Layout

ROOT = Path(__file__).parents[3]
RECIPES = """\
recipes:
  cards:
    data: {source: glyphs, path: gan/image/glyphs.py, glyphs: {count: 240}}
    assets: {campaigns: {chat: {count: 3}}}
    schedule: SCHEDULE
"""


@pytest.fixture
def planned(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Plan]:
    """Return the plans of a recipe `cards` with the schedule given as parameter, by full name."""
    layout = Layout(tmp_path)
    layout.params.write_text(RECIPES.replace("SCHEDULE", getattr(request, "param", "{}")))
    return {plan.full_name: plan for plan in plans(layout)}


def test_retrainings_have_a_pool_of_their_own(planned: dict[str, Plan]) -> None:
    """They take hours: nothing else waits for one, and they wait for each other alone."""
    pools = {name: plan.pool for name, plan in planned.items()}
    assert pools == {
        "retrain/cards": "ganmill-train",
        "drift/cards": "ganmill",
        "generate/cards": "ganmill",
        "approve/cards": "ganmill",
        "reconcile/ganmill": "ganmill",
    }


@pytest.mark.parametrize(
    ("planned", "started"),
    [
        ("{}", {"data.drifted", "model.promoted", "model.rolled_back"}),
        ("{on: []}", set()),
        ("{on: [drift]}", {"data.drifted"}),
        ("{on: [data.accepted]}", {"data.accepted"}),
        ("{on: [model.promoted]}", {"model.promoted", "model.rolled_back"}),
    ],
    indirect=["planned"],
)
def test_events_start_what_the_recipe_says(planned: dict[str, Plan], started: set[str]) -> None:
    """A drift or other images a retraining, another champion a batch; none where none is named."""
    follows = {
        name: {event for each in plan.follows for event in each.events}
        for name, plan in planned.items()
    }
    assert set().union(*follows.values()) == started
    assert follows["retrain/cards"] <= {"data.drifted", "data.accepted"}
    assert follows["generate/cards"] <= {"model.promoted", "model.rolled_back"}


@pytest.mark.parametrize(
    "planned",
    [
        """{retrain: {cron: 0 3 * * *, timezone: Europe/Berlin}, drift: 5 * * * *,
            timezone: Asia/Tokyo, campaigns: {chat: 0 9 * * 1}}"""
    ],
    indirect=True,
)
def test_each_cron_line_keeps_its_time_zone(planned: dict[str, Plan]) -> None:
    """Its own, else that of the schedule; a campaign with a time is a deployment of its own."""
    times = {name: (plan.cron, plan.timezone) for name, plan in planned.items() if plan.cron}
    assert times == {
        "retrain/cards": ("0 3 * * *", "Europe/Berlin"),
        "drift/cards": ("5 * * * *", "Asia/Tokyo"),
        "generate/cards:chat": ("0 9 * * 1", "Asia/Tokyo"),
        "reconcile/ganmill": ("*/10 * * * *", "UTC"),
    }
    assert planned["generate/cards:chat"].parameters == {"recipe": "cards", "campaign": "chat"}


def test_only_a_pool_of_processes_is_told_where_the_workspace_is(tmp_path: Path) -> None:
    """A pool of another type (containers) knows itself where its code is."""
    assert job_variables(Layout(tmp_path), "process")["working_dir"] == str(tmp_path)
    assert job_variables(Layout(tmp_path), "kubernetes") == {}


def test_the_shipped_prefect_yaml_is_that_of_the_shipped_recipes() -> None:
    """Whoever uses Prefect's own command on a fresh clone deploys what params.yaml has."""
    assert (ROOT / "prefect.yaml").read_text() == deploy_file.text_of(plans(Layout(ROOT)))


def test_prefect_yaml_is_written_over_an_older_one(tmp_path: Path) -> None:
    """`ganmill deploy --write` needs no server, and keeps nothing of what stood there."""
    layout = Layout(tmp_path)
    layout.params.write_text(RECIPES.replace("SCHEDULE", "{generate: 0 3 * * *}"))
    write_atomically(tmp_path / "prefect.yaml", b"older: true\n")
    written = deploy_file.write(layout).read_text()
    assert written.startswith("# Written by `ganmill deploy --write`")
    assert "cron: 0 3 * * *" in written
    assert "older: true" not in written
