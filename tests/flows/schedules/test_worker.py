"""The worker: what it starts, and what becomes of it when it is cancelled, stopped or killed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from flows.schedules.deploy import apply
from flows.schedules.plans import POOL, TRAIN_POOL
from flows.settings import Settings
from gan.durable import read_json
from gan.paths import Layout
from tests.flows.prefect_api import ENDED, ask, ended, forget, run_of, start, until

_SERVERS = (".ganmill", "runs", "assets", "reports", "__pycache__")


@dataclass(frozen=True)
class Long:
    """A training that would go on for hours, in a workspace whose data are prepared.

    Attributes:
        layout: The workspace.
        settings: Where the mill's servers are.
    """

    layout: Layout
    settings: Settings

    def begin(self) -> str:
        """Ask for a retraining, and return its run once its training has taken steps."""
        run = start(self.settings, "retrain/long", recipe="long", force=True)
        before = self.seen()

        def steps() -> bool:
            found = run_of(self.settings, run)
            assert found["state_type"] not in ENDED, found["state"]
            return self.training() is not None and self.seen() > before

        try:
            until(steps, "no training took a step", 240)
        except AssertionError as error:
            error.add_note(f"{run_of(self.settings, run)['state']}\n{self.running()}")
            raise
        return run

    def running(self) -> str:
        """Return the runs that are not at their end, a line each."""
        rule = {"state": {"type": {"any_": ["PENDING", "RUNNING", "SCHEDULED"]}}}
        found = ask(self.settings, "flow_runs/filter", {"flow_runs": rule})
        keys = ("name", "state_name", "tags", "expected_start_time", "work_queue_name")
        return "\n".join(str([each[key] for key in keys]) for each in found)

    def seen(self) -> float:
        """Return when a training last wrote statistics, in seconds since 1970; 0 never."""
        files = self.layout.root.glob("runs/long/*/stats.jsonl")
        return max((path.stat().st_mtime for path in files), default=0.0)

    def saved(self) -> float:
        """Return when a checkpoint was last written, in seconds since 1970; 0 never."""
        files = self.layout.root.glob("runs/long/*/checkpoint-*.ckpt")
        return max((path.stat().st_mtime for path in files), default=0.0)

    def training(self) -> psutil.Process | None:
        """Return the process of the training, if there is one."""
        return _process(lambda words: words[-3:] == ["gan", "train", "long"])

    def flow(self, run: str) -> psutil.Process:
        """Return the process of a flow run."""
        return psutil.Process(int(run_of(self.settings, run)["infrastructure_pid"]))

    def cancel(self, run: str) -> None:
        """Press Cancel on Prefect's page."""
        ask(self.settings, f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})


def _process(is_it: Callable[[list[str]], bool]) -> psutil.Process | None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if is_it(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


@pytest.fixture
def long(
    first_retrain: object,
    mill_settings: Settings,
    mill_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Long]:
    """Return a copy of the mill's workspace, its recipe renamed to `long`, deployed beside it."""
    layout = Layout(tmp_path_factory.mktemp("long") / "workspace")
    shutil.copytree(mill_root, layout.root, ignore=shutil.ignore_patterns(*_SERVERS))
    for place in ("data", "models"):
        (layout.root / place / "tiny").rename(layout.root / place / "long")
    for name in ("params.yaml", "dvc.lock"):
        file = layout.root / name
        file.write_text(re.sub(r"(?<!preset: )\btiny\b", "long", file.read_text()))
    params = layout.params.read_text()
    layout.params.write_text(params.replace("{kimg: 1}", "{kimg: 100000}"))
    apply(layout, mill_settings)
    yield Long(layout, mill_settings)
    forget(mill_settings, "long")
    apply(Layout(mill_root), mill_settings)  # the reconciling is the mill's again


def _worker(root: Path) -> psutil.Process:
    """Return the worker that `ganmill up` started in a workspace."""
    return psutil.Process(int(read_json(Layout(root).state / "stack.json")["worker"]["pid"]))


def _gone(process: psutil.Process) -> bool:
    """Tell whether a process ended, though its parent may not have asked for it yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_cancelling_ends_flow_and_training_within_ten_seconds(long: Long) -> None:
    """What Prefect's Cancel button stops leaves a checkpoint, and no process."""
    run = long.begin()
    flow, training, asked = long.flow(run), long.training(), time.time()
    assert training is not None
    long.cancel(run)
    until(lambda: _gone(flow) and _gone(training), "they go on", 60)
    seconds = time.time() - asked

    assert seconds < 10
    assert long.saved() > asked
    assert ended(long.settings, run) == "CANCELLED"


def test_up_returns_when_its_worker_is_at_work(
    first_retrain: object,
    mill_settings: Settings,
    mill_root: Path,
    ganmill: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    """Prefect has heard of the new worker by then, in both pools; nobody looks at an idle mill."""
    worker, ended_at = _worker(mill_root), datetime.now(UTC)
    worker.terminate()
    until(lambda: _gone(worker), "the worker lives")
    assert ganmill("up").returncode == 0
    for pool in (POOL, TRAIN_POOL):
        found = ask(mill_settings, f"work_pools/{pool}/workers/filter", {})
        signs = [datetime.fromisoformat(each["last_heartbeat_time"]) for each in found]
        assert max(signs) > ended_at


@pytest.mark.faults
def test_a_worker_that_is_asked_once_ends_with_what_it_runs(
    long: Long,
    mill_root: Path,
    ganmill: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    """A training leaves its checkpoint, and its run counts as crashed: it is submitted again."""
    run = long.begin()
    worker, flow, training, asked = _worker(mill_root), long.flow(run), long.training(), time.time()
    assert training is not None
    worker.terminate()
    try:
        until(lambda: _gone(worker) and _gone(flow) and _gone(training), "they go on", 60)
        assert time.time() - asked < 20  # `ganmill down` kills then
        assert long.saved() > asked
        assert ended(long.settings, run) == "CRASHED"
    finally:
        assert ganmill("up").returncode == 0


@pytest.mark.faults
def test_a_flow_that_is_killed_counts_as_crashed_at_once(long: Long) -> None:
    """Its worker tells; the training notices, and leaves a checkpoint."""
    run = long.begin()
    flow, training, killed = long.flow(run), long.training(), time.time()
    assert training is not None
    flow.kill()

    assert ended(long.settings, run) == "CRASHED"
    assert time.time() - killed < 10
    until(lambda: _gone(training), "the training goes on", 60)
    assert long.saved() > killed


@pytest.mark.faults
def test_what_a_killed_worker_ran_goes_on_and_can_be_cancelled(
    long: Long,
    mill_root: Path,
    ganmill: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    """Nothing is lost with it; the next worker of the machine hears the Cancel button for it."""
    run = long.begin()
    worker, flow, training = _worker(mill_root), long.flow(run), long.training()
    assert training is not None
    worker.kill()
    until(lambda: _gone(worker), "the worker lives")
    assert ganmill("up").returncode == 0
    before = long.seen()
    until(lambda: long.seen() > before, "the training stands still")
    assert run_of(long.settings, run)["state_type"] == "RUNNING"

    asked = time.time()
    long.cancel(run)
    assert ended(long.settings, run) == "CANCELLED"
    until(lambda: _gone(flow) and _gone(training), "they go on", 60)
    assert long.saved() > asked


@pytest.mark.faults
def test_a_retraining_waits_for_its_turn_and_holds_nothing(long: Long) -> None:
    """With one training at once, a second one is a row in the queue: no process, no lock."""
    run = long.begin()
    second = start(long.settings, "retrain/tiny", recipe="tiny")
    time.sleep(20)  # three times what a free worker takes to begin
    waiting = run_of(long.settings, second)
    assert waiting["state_type"] == "SCHEDULED"
    assert waiting["infrastructure_pid"] is None
    long.cancel(run)

    assert ended(long.settings, second) == "COMPLETED"


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
def test_a_worker_waits_for_prefect_and_one_signal_ends_it(
    first_retrain: object,
    mill_settings: Settings,
    mill_root: Path,
    mill_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """A server that is away does not end it; it says so, and works once the server is there."""
    relay = _Relay(mill_settings.prefect_port)
    log, command = tmp_path / "worker.log", [sys.executable, "-m", "flows.schedules.worker"]
    with log.open("wb") as words:
        worker = subprocess.Popen(
            [*command, "--pool", "train", "--name", "relayed"],
            cwd=mill_root,
            env={**mill_environment, "PREFECT_API_URL": f"http://127.0.0.1:{relay.port}/api"},
            stdout=words,
            stderr=words,
        )
        try:
            until(lambda: "Prefect does not answer; trying again" in log.read_text(), "no word")
            relay.start()
            until(lambda: "works for ganmill-train" in log.read_text(), "it does not work")
            assert worker.poll() is None
        finally:
            os.kill(worker.pid, signal.SIGINT)
            status = worker.wait(timeout=30)
    assert status == 0
    assert log.read_text().endswith("stopped\n")
    assert "Traceback" not in log.read_text()


_HOST = """
import asyncio
from flows.schedules.hosting import Host
from flows.settings import load_settings, workspace

asyncio.run(Host(workspace(), load_settings(), ("containers",), "other", False).serve())
"""


def test_a_worker_leaves_a_pool_of_another_type_alone(
    first_retrain: object,
    mill_settings: Settings,
    mill_root: Path,
    mill_environment: dict[str, str],
) -> None:
    """A pool that somebody made for containers stays one: its runs are not done as processes."""
    ask(mill_settings, "work_pools/", {"name": "containers", "type": "kubernetes"})
    url = f"{mill_settings.prefect_url}/api"
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST],
        cwd=mill_root,
        env={**mill_environment, "PREFECT_API_URL": url, "PREFECT_HOME": str(mill_root / ".p")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert host.stderr is not None
    line = host.stderr.readline()
    host.terminate()
    assert host.wait(30) == 0
    assert line == "work pool containers is of type kubernetes: its own workers run it, not this\n"
    (pool,) = [
        each for each in ask(mill_settings, "work_pools/filter", {}) if each["name"] == "containers"
    ]
    assert pool["type"] == "kubernetes"
    assert ask(mill_settings, "work_pools/containers/workers/filter", {}) == []
