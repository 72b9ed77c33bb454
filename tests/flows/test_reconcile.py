"""What is left when processes die, and what `ganmill reconcile` makes of it, on real servers."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import uuid4

import pytest
from prefect import Flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.events import Event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import (
    Cancelling,
    Completed,
    Crashed,
    Pending,
    Running,
    Scheduled,
    Suspended,
)
from prefect.types.entrypoint import EntrypointType

from flows import ledger, minting, registry, tracking, watch
from flows.again import TAG, resubmit
from flows.generate import generate
from flows.half_done import sweep
from flows.held import held, holder
from flows.reconcile import close_what_died, reconcile
from flows.registry import Version
from flows.retrain import retrain
from flows.settings import Settings, quiet_environment
from gan.assets.batch import Minted, mint
from gan.assets.manifest import begun, verify
from gan.assets.request import Request
from gan.bundle import Bundle
from gan.durable import run_lock
from gan.errors import GanmillError
from gan.paths import Layout
from gan.screening.references import References
from gan.sections import CampaignSpec
from tests.faults.conftest import tree
from tests.faults.seam import failing_at
from tests.flows.conftest import RECIPES
from tests.gan.bundles import UNSCREENED, pack_untrained

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

# Untrained generators make what screens are there to set aside.
SPEC = CampaignSpec.model_validate({"count": 40, "size_px": 32, **UNSCREENED})
ROWS = [{"nimg": 1000, "seconds": 2.5, "loss_g": 0.5}, {"nimg": 2000, "seconds": 5, "loss_g": 0.4}]


class World(NamedTuple):
    """A workspace with one recipe, whose name no other test uses, and the servers."""

    api: SyncPrefectClient
    settings: Settings
    layout: Layout
    recipe: str

    def close(self, **limits: float) -> dict[str, list[str]]:
        """Do what `reconcile` does; what is silent is taken for dead at once by default."""
        quick = {"silence_seconds": 0.0, "look_again_seconds": 0.0}
        return close_what_died(self.layout, self.settings, **quick | limits)

    def run(self, flow: Flow[..., Any], *states: State[Any], **more: object) -> Any:
        """Return a flow run that went through states, with nobody at it."""
        parameters = {"recipe": self.recipe} | more
        made = self.api.create_flow_run(flow, parameters=parameters, state=Scheduled())
        return self.through(made, *states)

    def through(self, run: Any, *states: State[Any]) -> Any:
        """Return a flow run, moved through states."""
        for state in states:
            answer = self.api.set_flow_run_state(run.id, state)
            assert answer.status == SetStateStatus.ACCEPT, answer
        return run

    def state(self, run: Any) -> Any:
        """Return a flow run's state."""
        return self.api.read_flow_run(run.id).state

    def runs(self) -> list[Any]:
        """Return the flow runs of the recipe, oldest first."""
        found = self.api.read_flow_runs()
        mine = [run for run in found if run.parameters.get("recipe") == self.recipe]
        return sorted(mine, key=lambda run: run.created)

    def deploy(self) -> Any:
        """Register the retraining as the scheduler does, with nobody to run it."""
        made = retrain.to_deployment(
            name=self.recipe,
            parameters={"recipe": self.recipe, "fresh": True},
            concurrency_limit=1,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        return cast("RunnerDeployment", made).apply()


@pytest.fixture(scope="module")
def api(servers: Settings) -> Iterator[SyncPrefectClient]:
    """Return a client of the Prefect server that everything in this file talks to."""
    address = {PREFECT_API_URL: f"{servers.prefect_url}/api"}
    with temporary_settings(address), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def world(api: SyncPrefectClient, servers: Settings, tmp_path: Path) -> World:
    """Return an empty workspace with a recipe of its own."""
    recipe = f"r{uuid4().hex[:8]}"
    layout = Layout(tmp_path / "workspace")
    layout.root.mkdir()
    layout.params.write_text(RECIPES.replace("tiny:", f"{recipe}:"))
    return World(api, servers, layout, recipe)


def register(world: World, bundle: Bundle) -> Version:
    """Return the version of a bundle, as a training would have registered it."""
    run = tracking.open_run(world.layout, world.settings, world.recipe, "made", {}, {})
    tracking.close_run(run, "FINISHED")
    return registry.register(world.settings, world.recipe, bundle.folder, run, {})


@pytest.fixture
def killed(
    world: World, make_workspace: Callable[[str], Path]
) -> Iterator["tuple[World, subprocess.Popen[bytes], Any]"]:
    """Return a retraining in a process of its own, in the midst of it, and its flow run."""
    layout = Layout(make_workspace(world.layout.params.read_text()))
    child = subprocess.Popen(
        [sys.executable, "-c", f"from flows.retrain import retrain; retrain({world.recipe!r})"],
        cwd=layout.root,
        env={**quiet_environment(world.settings, layout), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while holder(layout.lock(f"retrain-{world.recipe}")) != str(child.pid):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (run,) = world.runs()
        yield world._replace(layout=layout), child, run
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_a_killed_retraining_is_closed_and_submitted_again_once(
    killed: "tuple[World, subprocess.Popen[bytes], Any]", caplog: pytest.LogCaptureFixture
) -> None:
    """While it lives nothing touches it; killed, it is crashed, and run again, but not forever.

    Without a scheduler the command to run is said instead. A second crash is for a person.
    """
    world, child, run = killed
    lock = f"lock retrain-{world.recipe} is held by process {child.pid}"

    assert lock in world.close()["the workspace"]
    assert world.state(run).is_running()

    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    found = world.close()
    assert found["the workspace"] == []
    assert [line.split(":")[0] for line in found["flow runs"]] == [
        f"retrain-{world.recipe}",
        f"retrain-{world.recipe} crashed (Its process is dead",
    ]
    assert f"Run: ganmill retrain {world.recipe}" in found["flow runs"][1]
    assert world.state(run).is_crashed()

    deployment = world.deploy()
    assert "submitted again, once" in resubmit(world.layout, {world.recipe})[0]
    assert resubmit(world.layout, {world.recipe}) == []
    _, again = world.runs()
    assert again.deployment_id == deployment
    assert again.parameters == {"recipe": world.recipe, "force": False, "fresh": False}
    assert TAG in again.tags

    world.through(again, Pending(), Running())
    assert len(world.close()["flow runs"]) == 2
    assert world.state(again).is_crashed()
    assert f"Mend the cause, then run: ganmill retrain {world.recipe}" in caplog.text
    assert len(world.runs()) == 2


def test_a_crashed_run_frees_the_slot_of_its_deployment(world: World) -> None:
    """The next run of a deployment that takes one at a time is not kept waiting by a dead one."""
    deployment = world.deploy()

    def slots() -> int:
        limit = world.api.read_deployment(deployment).global_concurrency_limit
        assert limit is not None
        return int(limit.active_slots)

    world.through(world.api.create_flow_run_from_deployment(deployment), Pending(), Running())
    assert slots() == 1

    world.close()
    assert slots() == 0


def test_a_task_of_a_dead_run_is_closed_with_it(world: World) -> None:
    """Prefect's page shows no step that goes on running in a crashed run."""

    @task
    def step() -> None:
        pass

    run = world.run(generate, Pending(), Running())
    made = world.api.create_task_run(step, run.id, "step-0", state=Running())
    world.close()

    assert world.state(run).is_crashed()
    (ended,) = world.api.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    )
    assert (ended.id, ended.state_name) == (made.id, "Crashed")


def test_who_shows_a_sign_of_life_between_two_looks_is_left_alone(world: World) -> None:
    """A run that was silent, because its machine slept, beats again and is not closed; others are.

    A run that a person is asked about (suspended) has no process and is waited for.
    """
    alive, dead = (world.run(generate, Pending(), Running()) for _ in range(2))
    asking = world.api.create_flow_run_from_deployment(world.deploy())
    suspended = world.through(asking, Pending(), Running(), Suspended())
    beat = Event.model_validate(
        {
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{alive.id}"},
        }
    )

    def wake() -> None:
        time.sleep(0.5)
        answer = world.api.request("POST", "/events", json=[beat.model_dump(mode="json")])
        answer.raise_for_status()

    waking = threading.Thread(target=wake)
    waking.start()
    found = world.close(look_again_seconds=8.0)["flow runs"]  # events take 5 s to be seen
    waking.join()

    assert len([line for line in found if line.startswith(dead.name)]) == 1
    assert world.state(dead).is_crashed()
    assert world.state(alive).is_running()
    assert world.state(suspended).is_paused()


def test_what_is_young_or_not_ours_is_left_alone(world: World) -> None:
    """Neither a run that just began, nor one for a recipe of another workspace, is looked at."""
    young = world.run(generate, Pending(), Running())
    pending = world.run(retrain, Pending())
    foreign = world.run(generate, Pending(), Running(), recipe="elsewhere")
    began = time.monotonic()
    found = world.close(silence_seconds=60.0, look_again_seconds=60.0)

    assert time.monotonic() - began < 20  # there was nothing to look at again
    assert found["flow runs"] == []
    assert world.state(young).is_running()
    assert world.state(pending).is_pending()
    world.close()
    assert world.state(foreign).is_running()


def test_a_run_that_was_to_be_cancelled_is_cancelled(world: World) -> None:
    """Whoever pressed Cancel gets that, and no second run."""
    world.deploy()
    run = world.run(retrain, Pending(), Running(), Cancelling())
    world.close()

    assert world.state(run).is_cancelled()
    assert resubmit(world.layout, {world.recipe}) == []


@pytest.mark.parametrize(
    ("message", "later", "wanted"),
    [
        ("Execution was aborted by an interrupt signal.", None, 0),
        ("Process exited with status code: -9", [Pending(), Running(), Completed()], 0),
        ("Process exited with status code: -9", [], 0),
        ("Process exited with status code: -9", None, 1),
    ],
)
def test_only_what_nobody_saw_to_is_submitted_again(
    world: World, message: str, later: list[State[Any]] | None, wanted: int
) -> None:
    """Not what a person stopped, nor what was run or asked for since."""
    world.deploy()
    world.run(retrain, Pending(), Running(), Crashed(message=message), force=True)
    if later is not None:
        world.run(retrain, *later)

    assert len(resubmit(world.layout, {world.recipe})) == wanted
    assert len([run for run in world.runs() if TAG in run.tags]) == wanted
    assert resubmit(world.layout, {world.recipe}) == []


def test_a_retraining_that_lives_is_not_submitted_again(world: World) -> None:
    """A server that did not hear of it for minutes calls it dead; its lock says that it lives."""
    world.deploy()
    dead = "Its process is dead: no heartbeat for 300 s."
    world.run(retrain, Pending(), Running(), Crashed(message=dead), force=True)
    with run_lock(world.layout.lock(f"retrain-{world.recipe}"), "retrain"):
        assert resubmit(world.layout, {world.recipe}) == []
    assert len(resubmit(world.layout, {world.recipe})) == 1


def test_an_open_training_run_is_closed_and_found_again(world: World) -> None:
    """While a process is at it, it stays; then it is KILLED; resumed, it is one run again."""
    layout, settings, recipe = world.layout, world.settings, world.recipe
    tags = {tracking.TRAINING_KEY: "abc"}
    run = tracking.open_run(layout, settings, recipe, "first", tags, {})
    tracking.log_stats(run, ROWS[:1])

    with run_lock(layout.lock(f"train-{recipe}"), "test"):
        assert world.close()[recipe] == []
    assert world.close(silence_seconds=120.0)[recipe] == []
    (line,) = world.close()[recipe]
    assert run.run_id in line
    assert tracking.unfinished_runs(layout, settings, recipe) == []

    resumed = tracking.open_run(layout, settings, recipe, "again", tags, {})
    tracking.log_stats(resumed, ROWS)
    assert resumed == run
    assert tracking.unfinished_runs(layout, settings, recipe) == [run]
    tracking.close_run(resumed, "FINISHED")
    assert world.close()[recipe] == []


def _mint(world: World, bundle: Bundle, slot: str, destination: Path) -> Minted:
    """Mint forty assets as a process did that is gone."""
    request = Request(world.recipe, SPEC, slot, lineage={"flow_run": "the first"})
    signs = minting.marks(world.layout, world.settings)
    against = References(None, None, world.layout.features)
    return mint(bundle, request, destination, signs, against, progress=lambda _: None)


def _half_done(world: World, bundle: Bundle, slot: str) -> Path:
    """Return the folder of a batch whose process died in the midst of it."""
    destination = world.layout.batches(world.recipe)
    before = set(begun(destination))
    with failing_at(60, errno.EIO, lasting=True), pytest.raises(GanmillError):
        _mint(world, bundle, slot, destination)
    (folder,) = set(begun(destination)) - before
    return folder


def test_a_half_done_batch_is_finished_to_the_same_bytes(world: World, tmp_path: Path) -> None:
    """From the version that it was begun with, also when another is champion, and not on hold."""
    bundle = pack_untrained(tmp_path / "old", ["a", "b"], seed=1, recipe=world.recipe)
    gone = pack_untrained(tmp_path / "gone", ["a", "b"], seed=2, recipe=world.recipe)
    wanted = tree(_mint(world, bundle, "slot", tmp_path / "calm").folder)
    version = register(world, bundle)
    folder, lost = (_half_done(world, each, "slot") for each in (bundle, gone))
    entry = ledger.Entry("hold-production", world.recipe, "Ada", "colours are off")

    with run_lock(folder / ".lock", "test"):
        assert f"process {os.getpid()} is at it" in "".join(world.close()[world.recipe])
    ledger.append(world.layout.ledger, entry)
    assert "on hold by Ada (colours are off)" in "".join(world.close()[world.recipe])
    assert not (folder / "batch.json").exists()

    ledger.append(world.layout.ledger, replace(entry, event="resume-production"))
    lines = world.close()[world.recipe]
    assert tree(folder) == wanted
    assert verify(folder) == []
    assert [line for line in lines if folder.name in line and "finished" in line]
    (named,) = [line for line in lines if lost.name in line]
    assert f"bundle {gone.digest[:12]} is gone from the registry" in named
    assert (lost / ".request.json").exists()
    (tagged,) = registry.versions(world.settings, world.recipe)
    assert tagged.number == version.number
    assert tagged.tags[f"batch.{folder.name}"] == str(folder)


def test_a_half_done_promotion_is_finished(world: World, tmp_path: Path) -> None:
    """The alias is where the ledger's last line says, and a half-done batch of it is watched."""
    bundle = pack_untrained(tmp_path / "b", ["a", "b"], recipe=world.recipe)
    version, folder = register(world, bundle), _half_done(world, bundle, "slot")
    intent = ledger.Entry(
        "intend",
        world.recipe,
        "Ada",
        "better",
        to_version=version.number,
        to_digest=version.digest,
        evidence_digest="e" * 64,
    )
    ledger.append(world.layout.ledger, intent)
    found = world.close()

    assert found[world.recipe][0] == "a half-done promotion was completed"
    assert f"{folder.name}: finished" in found[world.recipe][1]
    assert [row.batch for row in watch.read(world.layout.watch(world.recipe))] == [folder.name]
    champion = registry.by_alias(world.settings, world.recipe, "champion")
    assert champion is not None
    assert champion.number == version.number
    assert ledger.open_intent(ledger.read(world.layout.ledger), world.recipe) is None


def test_nothing_to_do_is_quick_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flow itself, by its real limits, is over in seconds and does not take itself for dead."""
    monkeypatch.chdir(world.layout.root)
    for name, value in quiet_environment(world.settings, world.layout).items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    found = reconcile()
    assert isinstance(found, dict)

    assert time.monotonic() - began < 15
    assert found[world.recipe] == []
    assert f"{world.recipe}: nothing to close" in capsys.readouterr().err


def test_a_part_that_fails_leaves_the_others_done(world: World) -> None:
    """With MLflow away what needs it is named, and dead flow runs are closed all the same."""
    run = world.run(generate, Pending(), Running())
    away = world.settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})

    with pytest.raises(GanmillError, match=r"trainings not done.*9 does not answer.*reconcile"):
        world._replace(settings=away).close()
    assert world.state(run).is_crashed()


def test_what_killed_fetches_and_decisions_left_is_removed_in_time(world: World) -> None:
    """What is temporary and of a day ago goes, in DVC's cache too; what is of now may be used."""
    rooms = (world.layout.bundle_store, world.layout.gate(world.recipe))
    old, young = ([room / f".{name}.partial" for room in rooms] for name in "ab")
    for folder in (*old, *young):
        (folder / "inner").mkdir(parents=True)
    cache = world.layout.root / ".dvc" / "cache" / "files" / "md5" / "0f"
    cache.mkdir(parents=True, exist_ok=True)
    old, young = [*old, cache / ".IW2LKqpp3z.tmp"], [*young, cache / ".x8T3qpp3z.tmp"]
    whole = cache / ("ab" * 15)
    for path in (old[-1], young[-1], whole):
        path.write_bytes(b"half")
    for path in (*old, whole):
        os.utime(path, (0, 0))

    assert sweep(world.layout, {world.recipe}) == [
        "3 temporary files and folders of killed processes removed"
    ]
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*young, whole))
    assert sweep(world.layout, {world.recipe}) == []


def test_a_lock_is_held_or_free(world: World) -> None:
    """Asking takes nothing from the holder, and a file that a dead process left is free."""
    path = world.layout.lock("some")
    assert holder(path) is None
    with run_lock(path, "test"):
        assert holder(path) == str(os.getpid())
        assert held(world.layout) == {"some": str(os.getpid())}
    assert path.exists()
    assert held(world.layout) == {}
