"""Runs that a schedule started: passed over, put off, or done; and slots that nobody made."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import Pause
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Failed, Pending, Running, Scheduled
from prefect.types.entrypoint import EntrypointType

from flows.again import TAG
from flows.generate import generate
from flows.schedules import due, missed, slots
from flows.schedules.runs import runs_due
from flows.settings import Settings, quiet_environment
from gan.durable import read_json, write_json
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from gan.sections import DEFAULT_CAMPAIGN
from tests.flows.conftest import RECIPES

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Mill:
    """A workspace with one recipe, whose name no other test uses, its deployment, and Prefect.

    Attributes:
        api: A client of the server.
        layout: The workspace.
        recipe: Its recipe; `generate` is due every hour, and was ten minutes ago.
        deployment: The id of its deployment, which has that line, switched off.
        last: The last time at which it was due.
        patch: Undone after the test.
    """

    api: SyncPrefectClient
    layout: Layout
    recipe: Recipe
    deployment: Any
    last: datetime
    patch: pytest.MonkeyPatch

    def saying(self, **entry: object) -> "Mill":
        """Return the same with another entry in the recipe, and Prefect as it was."""
        document = self.recipe.model_dump(exclude={"schedule"})
        schedule = {"generate": {"cron": self.line, **entry}}
        return replace(self, recipe=Recipe.model_validate({**document, "schedule": schedule}))

    @property
    def line(self) -> str:
        """The cron line."""
        return f"{self.last.minute} * * * *"

    @property
    def timing(self) -> slots.Timing:
        """What the recipe says about `generate`."""
        return slots.timings(self.recipe)[0]

    def slot(self, hours_ago: int = 0) -> datetime:
        """Return the last time at which the line was due, or one before it."""
        return self.last - hours_ago * HOUR

    def run(self, at: datetime, *states: Any, tags: tuple[str, ...] = ("auto-scheduled",)) -> Any:
        """Return a run that was due at a moment, moved through states."""
        made = self.api.create_flow_run_from_deployment(
            self.deployment, state=Scheduled(scheduled_time=at), tags=tags
        )
        for state in states:
            self.api.set_flow_run_state(made.id, state, force=True)
        return made

    def begin(self, at: datetime, **more: Any) -> Any:
        """Return what becomes of a run that was due then and begins now."""
        return self.ask(self.run(at, Running(), **more))

    def ask(self, run: Any) -> Any:
        """Return what becomes of a run, asked in its process."""
        self.patch.setenv("PREFECT__FLOW_RUN_ID", str(run.id))
        return due.instead(self.layout, self.timing)

    def runs(self) -> list[Any]:
        """Return the runs for the last hundred hours, by the time at which they were due."""
        now = datetime.now(UTC)
        return runs_due(self.api, self.deployment, now - 100 * HOUR, now)

    def due(self) -> list[datetime]:
        """Return the slots that have a run."""
        return [run.expected_start_time.astimezone(UTC) for run in self.runs()]

    def switch_on(self, cron: str = "", timezone: str = "UTC") -> None:
        """Deploy it, with its line or another."""
        schedule = CronSchedule(cron=cron or self.line, timezone=timezone)
        line = DeploymentScheduleCreate(schedule=schedule, active=True)
        flow, name = self.api.create_flow_from_name("generate"), self.recipe.name
        self.api.create_deployment(
            flow, name, schedules=[line], parameters={"recipe": name}, paused=False
        )

    def catch_up(self, seen_hours_ago: float | None = None) -> list[datetime]:
        """Return the slots that get a run, when they were looked at so long ago."""
        if seen_hours_ago is not None:
            seen = datetime.now(UTC) - seen_hours_ago * HOUR
            missed.owe_nothing(self.layout, self.timing)
            mark = read_json(self.layout.schedule_marks)[self.timing.deployment]
            marks = {self.timing.deployment: {**mark, "seen": seen.isoformat()}}
            write_json(self.layout.schedule_marks, marks)
        before = self.due()
        told = missed.catch_up(self.layout, {self.recipe.name: self.recipe})
        made = [at for at in self.due() if at not in before]
        assert len([line for line in told if "had no run; made one" in line]) == len(made)
        return made


@pytest.fixture(scope="module")
def api(servers: Settings) -> Iterator[SyncPrefectClient]:
    """Return a client of the Prefect server that everything in this file talks to."""
    address = {PREFECT_API_URL: f"{servers.prefect_url}/api"}
    with temporary_settings(address), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def mill(
    api: SyncPrefectClient, servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mill:
    """Return a workspace whose `generate` is due every hour, with a deployment and no run."""
    name, layout = f"r{uuid4().hex[:8]}", Layout(tmp_path)
    last = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    text = RECIPES.replace("tiny:", f"{name}:").replace("0 3 1 1 *", f"{last.minute} * * * *")
    layout.params.write_text(text)
    for key, value in quiet_environment(servers, layout).items():
        monkeypatch.setenv(key, value)
    flow = api.create_flow_from_name("generate")
    made = api.create_deployment(flow, name, parameters={"recipe": name})
    return Mill(api, layout, load_recipe(layout.params, name), made, last, monkeypatch)


def test_what_somebody_asked_for_is_never_passed_over(mill: Mill) -> None:
    """A command, the Run button, an event, and a crashed run that is tried again: all work."""
    old = mill.slot(90)

    assert due.instead(mill.layout, mill.timing) is None
    assert mill.begin(old, tags=()) is None
    assert mill.begin(old, tags=("auto-scheduled", TAG)) is None
    said = mill.begin(old)
    assert said is not None
    assert (said.name, said.is_completed()) == ("Skipped", True)


def test_a_late_run_is_passed_over_by_the_recipes_word(mill: Mill) -> None:
    """`latest` does the last slot of an absence, `skip` none of it, nothing that is stale."""
    assert mill.saying(missed="latest").begin(mill.slot()) is None
    said = mill.saying(missed="latest").begin(mill.slot(2)).message
    assert f"is due as well (missed: latest), {mill.recipe.name}: schedule.generate" in said
    assert "(missed: skip)" in mill.saying(missed="skip").begin(mill.slot(3)).message
    now = datetime.now(UTC)
    assert mill.saying(missed="skip").begin(now) is None
    stale = mill.saying(missed="all", stale_hours=3).begin(mill.slot(5)).message
    assert "that is more than 3 h ago (stale_hours)" in stale


def test_a_stopped_clock_starts_nothing(mill: Mill) -> None:
    """A run that was made just before somebody paused its schedule is passed over."""
    mill.switch_on()
    assert mill.begin(mill.slot(), tags=("auto-scheduled",)) is None
    mill.api.pause_deployment(mill.deployment)

    word = f"Resume it with: ganmill schedule {mill.recipe.name} --resume generate"
    assert word in mill.begin(datetime.now(UTC)).message
    assert mill.begin(datetime.now(UTC), tags=()) is None


def test_a_slot_is_done_once(mill: Mill) -> None:
    """A second run of a slot is passed over, whether the first is at it, is done or failed."""
    first = mill.run(mill.slot(), Running())
    assert mill.begin(mill.slot()).message == (
        f"due at {slots.shown(mill.slot(), 'UTC')}, as was {first.name}, which began before"
    )
    assert mill.ask(first) is None
    mill.api.set_flow_run_state(first.id, Failed(), force=True)
    assert first.name in mill.begin(mill.slot()).message


def test_who_did_not_do_the_work_does_not_count(mill: Mill) -> None:
    """A run that crashed, that was passed over, or has not begun leaves the slot to others."""
    mill.run(mill.slot(), Running(), Crashed())
    mill.run(mill.slot(), Running(), Completed(name="Skipped"))
    mill.run(mill.slot(), Pending())
    mill.run(mill.slot())
    mill.run(mill.slot(), Running(), Completed(), tags=())
    mill.run(mill.slot(1), Running(), Completed())

    assert mill.begin(mill.slot()) is None


def test_a_run_that_somebody_starts_again_works(mill: Mill) -> None:
    """Retry on Prefect's page is a person's word, however late it is by then."""
    run = mill.run(mill.slot(40), Running(), Failed(), Scheduled(name="AwaitingRetry"), Running())

    assert mill.ask(run) is None


def test_prefect_away_means_work(mill: Mill, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that cannot ask whether it is wanted does its work, and says so."""
    run = mill.run(mill.slot(90), Running())
    mill.patch.setattr(due, "started_by_schedule", lambda: mill.slot(90))  # known from before
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert mill.ask(run) is None

    said = capsys.readouterr().err
    assert "Prefect does not say whether this run is still wanted, so it is" in said


def test_the_hour_that_autumn_repeats_is_one_slot(mill: Mill) -> None:
    """Deployed anew amid the night, Prefect makes some runs again; each slot is done once."""
    zone = "Europe/Berlin"
    berlin = mill.saying(cron="30 * * * *", timezone=zone, missed="all", stale_hours=10_000)
    night = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight there
    for hours in (0.0, 3.1):  # the second time from amid the repeated hour
        berlin.switch_on("30 * * * *", zone)
        body = {"start_time": f"{night + hours * HOUR}", "end_time": f"{night + 5 * HOUR}"}
        mill.api.request(
            "POST",
            "/deployments/{id}/schedule",
            path_params={"id": mill.deployment},
            json=body,
        ).raise_for_status()
    runs = runs_due(mill.api, mill.deployment, night - HOUR, night + 6 * HOUR)

    done = []
    for run in runs:
        mill.api.set_flow_run_state(run.id, Running(), force=True)
        said = berlin.ask(run)
        mill.api.set_flow_run_state(run.id, said or Completed(), force=True)
        done += [] if said else [slots.key(run.expected_start_time, zone)]
    assert len(runs) == 5
    assert done == [f"2026-10-25T0{hour}-30" for hour in range(4)]
    assert done.count("2026-10-25T02-30") == 1


def test_all_slots_are_done_in_order(mill: Mill) -> None:
    """With `missed: all` a run waits until those of earlier slots have ended, however they end."""
    ordered = mill.saying(missed="all", stale_hours=5)
    before = mill.run(mill.slot(1))
    mill.run(mill.slot(2), Running(), Failed())
    run = mill.run(mill.slot(), Running())

    with pytest.raises(Pause):
        ordered.ask(run)
    state = mill.api.read_flow_run(run.id).state
    assert state
    assert (state.name, state.is_scheduled()) == ("AwaitingRetry", True)
    assert f"first comes the slot of {slots.shown(mill.slot(1), 'UTC')}" in (state.message or "")
    assert state.state_details.scheduled_time
    assert state.state_details.scheduled_time > datetime.now(UTC) + timedelta(seconds=15)

    mill.api.set_flow_run_state(before.id, Running(), force=True)
    assert ordered.ask(before) is None
    mill.api.set_flow_run_state(before.id, Crashed(), force=True)
    mill.api.set_flow_run_state(run.id, Running(), force=True)
    assert ordered.ask(run) is None


def test_a_slot_that_nobody_made_comes_first(mill: Mill) -> None:
    """A run that is there after an absence has those of the absence made, and waits for them."""
    ordered = mill.saying(missed="all", stale_hours=5)
    ordered.switch_on()
    ordered.catch_up(seen_hours_ago=3.5)
    for run in mill.runs():
        mill.api.delete_flow_run(run.id)
    run = mill.run(mill.slot(), Running())
    seen = datetime.now(UTC) - 3.5 * HOUR
    mark = {"line": f"{mill.line} UTC", "seen": seen.isoformat()}
    write_json(mill.layout.schedule_marks, {ordered.timing.deployment: mark})

    with pytest.raises(Pause):
        ordered.ask(run)
    assert mill.due() == [mill.slot(hours) for hours in (3, 2, 1, 0)]


def test_what_nobody_made_a_run_for_is_made_late_once(mill: Mill) -> None:
    """`all` makes each slot since the last look that has none, `latest` the last, `skip` none."""
    mill.switch_on()
    mill.run(mill.slot(2), Running(), Completed())

    assert mill.saying(missed="all").catch_up() == []  # a new line owes nothing
    assert mill.saying(missed="skip").catch_up(seen_hours_ago=4.5) == []
    assert mill.saying(missed="latest").catch_up(seen_hours_ago=4.5) == [mill.slot()]
    assert mill.saying(missed="latest").catch_up(seen_hours_ago=4.5) == []
    every = mill.saying(missed="all", stale_hours=3.7)
    assert every.catch_up(seen_hours_ago=9) == [mill.slot(3), mill.slot(1)]
    assert every.catch_up(seen_hours_ago=9) == []
    assert every.catch_up() == []
    (late,) = [run for run in mill.runs() if run.expected_start_time == mill.slot(3)]
    assert (late.tags[0], late.parameters) == ("auto-scheduled", {"recipe": mill.recipe.name})
    assert "Prefect was away" in late.state.message


def test_late_runs_that_nobody_wants_take_no_process(mill: Mill) -> None:
    """After an absence the runs that would only tell that they are too late are ended at once."""
    mill.switch_on()
    for hours in range(4):
        mill.run(mill.slot(hours))
    put_off = mill.run(mill.slot(4), Running(), Scheduled(name="AwaitingRetry"))
    asked = mill.run(mill.slot(5), tags=())
    told = missed.catch_up(mill.layout, {mill.recipe.name: mill.recipe})

    assert f"{mill.timing.deployment}: 3 late runs are not wanted: passed over" in told
    names = [run.state_name for run in mill.runs()]
    assert names == ["AwaitingRetry", "Skipped", "Skipped", "Skipped", "Scheduled"]
    for run in (put_off, asked):
        assert mill.api.read_flow_run(run.id).state_type == StateType.SCHEDULED
    late = mill.runs()[1]
    assert "is due as well (missed: latest)" in late.state.message
    mill.api.set_flow_run_state(late.id, Running(), force=True)  # by a worker, at that moment
    assert mill.ask(late).name == "Skipped"


def test_a_pause_or_another_line_owes_nothing(mill: Mill) -> None:
    """What was not due by Prefect's own word is not made up for, nor is it when that ends."""
    every = mill.saying(missed="all")
    assert every.catch_up(seen_hours_ago=4) == []  # not switched on
    mill.switch_on()
    assert every.catch_up() == []
    mill.api.pause_deployment(mill.deployment)
    assert every.catch_up(seen_hours_ago=4) == []
    mill.api.resume_deployment(mill.deployment)
    assert every.catch_up() == []
    mill.switch_on("0 5 * * *")
    assert every.catch_up(seen_hours_ago=4) == []
    mill.switch_on()
    mill.layout.schedule_marks.write_text("{")
    assert every.catch_up() == []
    assert len(every.catch_up(seen_hours_ago=4)) == 4


def test_the_flow_itself_ends_as_told(mill: Mill, servers: Settings) -> None:
    """Its process ends well; Prefect shows `Skipped` with the reason, or starts it again later."""
    name = mill.recipe.name
    params = mill.layout.params.read_text()
    entry = f'{{cron: "{mill.line}", missed: all, stale_hours: 3}}'
    mill.layout.params.write_text(params.replace(f'"{mill.line}"', entry))
    made = generate.to_deployment(
        name=name, parameters={"recipe": name}, entrypoint_type=EntrypointType.MODULE_PATH
    )
    assert cast("RunnerDeployment", made).apply() == mill.deployment
    environment = {**os.environ, **quiet_environment(servers, mill.layout)}

    mill.run(mill.slot(1))
    runs = [mill.run(mill.slot(40)), mill.run(mill.slot(2)), mill.run(mill.slot())]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "prefect.engine", str(run.id)],
            cwd=mill.layout.root,
            env={**environment, "PREFECT__FLOW_RUN_ID": str(run.id)},
            stdout=subprocess.DEVNULL,
        )
        for run in runs
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    old, early, waiting = [mill.api.read_flow_run(run.id).state for run in runs]
    assert early
    assert (early.name, early.is_completed()) == ("Skipped", True)
    assert "no champion yet" in (early.message or "")
    assert old
    assert (old.name, old.is_completed()) == ("Skipped", True)
    assert "more than 3 h ago" in (old.message or "")
    assert waiting
    assert (waiting.name, waiting.is_scheduled()) == ("AwaitingRetry", True)


def test_a_batch_is_named_by_the_slot_of_its_run(mill: Mill) -> None:
    """The same slot is the same batch: late, repeated, or the same hour once more in autumn."""
    berlin = mill.saying(timezone="Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    for at in (first, first + HOUR):
        mill.patch.setenv("PREFECT__FLOW_RUN_ID", str(mill.run(at).id))
        assert due.slot_name(berlin.recipe, DEFAULT_CAMPAIGN) == "2026-10-25T02-30"
    mill.patch.setenv("PREFECT__FLOW_RUN_ID", str(mill.run(first, tags=()).id))
    assert due.slot_name(berlin.recipe, DEFAULT_CAMPAIGN) == "2026-10-25"
    mill.patch.delenv("PREFECT__FLOW_RUN_ID")
    assert due.slot_name(berlin.recipe, DEFAULT_CAMPAIGN) == f"{datetime.now(UTC):%Y-%m-%d}"
