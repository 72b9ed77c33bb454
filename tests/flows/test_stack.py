"""The local stack: up and down as often as you like, and nobody else's process is touched."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from pydantic import SecretStr

from flows import stack
from flows.servers import processes
from flows.settings import Settings
from gan.durable import run_lock
from gan.errors import ServiceError, UsageError
from gan.paths import Layout
from tests.flows.conftest import ADDRESSES

Make = Callable[..., Settings]
REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return an empty workspace with a space in its name."""
    root = tmp_path / "my work"
    root.mkdir()
    return Layout(root)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # our own server
        return str(answer.read().decode())


def _is_gone(pid: int | None) -> bool:
    # A zombie is gone too: in a container nobody may collect it.
    try:
        return pid is None or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _only_mlflow(settings: Settings) -> Settings:
    return settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})


def test_up_twice_down_twice(layout: Layout, settings_on: Make) -> None:
    """Both answer; `up` again keeps the very processes, or starts what was killed; `down` ends."""
    settings = settings_on()
    assert stack.status(layout, settings).prefect.state == "down"
    try:
        first = stack.up(layout, settings)
        started = time.monotonic()
        again = stack.up(layout, settings)

        assert time.monotonic() - started < 3.0
        assert (first.prefect.pid, first.mlflow.pid) == (again.prefect.pid, again.mlflow.pid)
        assert (again.prefect.state, again.mlflow.state) == ("up", "up")
        assert (again.mlflow.uptime_seconds or 0) > 0
        assert _get(f"{settings.prefect_url}/api/health") == "true"
        ui = json.loads(_get(f"{settings.prefect_url}/ui-settings"))
        assert ui["api_url"] == "/api"  # the pages call the place that they came from
        pids = [first.prefect.pid, first.mlflow.pid]
        assert all(os.getsid(pid) == pid for pid in pids if pid)

        _kill(first.prefect.pid)
        mended = stack.up(layout, settings)
        assert (mended.prefect.state, mended.prefect.pid in pids) == ("up", False)
        assert mended.mlflow.pid == first.mlflow.pid
        pids.append(mended.prefect.pid)

        _kill(first.mlflow.pid)  # the one that started it; the one that answers lives on
        found = stack.up(layout, settings).mlflow
        assert (found.state, found.pid in pids) == ("up", False)
        pids.append(found.pid)
    finally:
        stopped = stack.down(layout)
    assert sorted(stopped) == ["mlflow", "prefect"]
    assert stack.down(layout) == []
    assert all(_is_gone(pid) for pid in pids)
    assert stack.status(layout, settings).mlflow.state == "down"


def test_servers_outlive_the_command_that_started_them(layout: Layout, settings_on: Make) -> None:
    """A server stays when the starter and its terminal are gone, and any later `down` ends it."""
    settings = settings_on()
    code = (
        "import sys, pathlib; from flows import stack; from flows.settings import load_settings; "
        "from gan.paths import Layout; "
        "stack.up(Layout(pathlib.Path(sys.argv[1])), load_settings())"
    )
    # Without addresses that another test's libraries left in this process.
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ADDRESSES},
        "PYTHONPATH": str(REPO),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "GANMILL_MLFLOW_PORT": str(settings.mlflow_port),
    }
    command = [sys.executable, "-c", code, str(layout.root)]
    subprocess.run(["setsid", "-w", *command], env=environment, check=True)

    found = stack.status(layout, _only_mlflow(settings))
    lost = layout.state / "stack.json"
    lost.write_text("{half a fi")
    unwritten = stack.status(layout, _only_mlflow(settings))
    adopted = stack.up(layout, _only_mlflow(settings))

    assert found.mlflow.state == "up"
    assert (unwritten.mlflow.state, unwritten.mlflow.pid) == ("up", found.mlflow.pid)
    assert found.prefect.state == "given"
    assert adopted.mlflow.pid == found.mlflow.pid
    assert stack.down(layout) == ["mlflow"]
    assert _is_gone(found.mlflow.pid)


def test_a_server_with_other_settings_is_started_again(layout: Layout, settings_on: Make) -> None:
    """`up` with another port or login starts the server again with it; nothing else dares to."""
    settings = _only_mlflow(settings_on())
    moved = _only_mlflow(settings_on())
    try:
        first = stack.up(layout, settings).mlflow
        login = {"login": SecretStr("mill:a-long-password")}
        for other, named in ((moved, "MLFLOW_PORT"), (settings.model_copy(update=login), "LOGIN")):
            with pytest.raises(UsageError, match=rf"another GANMILL_{named} than is set here"):
                stack.up(layout, other, renew=False)
        assert stack.status(layout, settings).mlflow.pid == first.pid

        second = stack.up(layout, moved).mlflow
        assert (second.state, second.url) == ("up", moved.mlflow_url)
        assert second.pid != first.pid
        assert _is_gone(first.pid)
    finally:
        stack.down(layout)


def test_a_taken_port_names_its_setting(layout: Layout, settings_on: Make) -> None:
    """One line says which port, who has it, and which variable to set; nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_on(None, taken.getsockname()[1])
        with pytest.raises(UsageError, match=rf"process {os.getpid()} .*GANMILL_MLFLOW_PORT"):
            stack.up(layout, settings)

    assert not (layout.state / "stack.json").exists()
    with pytest.raises(UsageError, match="are both 4321"):
        stack.up(layout, settings_on(4321, 4321))


def test_a_server_that_dies_shows_its_last_words(layout: Layout, settings_on: Make) -> None:
    """The error names the log file and ends with its last line."""
    (layout.state / "mlflow").mkdir(parents=True)
    (layout.state / "mlflow" / "mlflow.db").write_text("this is no database, not at all" * 99)

    with pytest.raises(ServiceError, match=r"mlflow ended while starting; .*mlflow\.log ends with"):
        stack.up(layout, _only_mlflow(settings_on()))


def test_a_stale_record_stops_nobody(layout: Layout, settings_on: Make) -> None:
    """After a reboot the process id may be somebody else's: it is neither shown nor stopped."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    settings = _only_mlflow(settings_on())
    created = psutil.Process(stranger.pid).create_time() - 3600
    record = {"pid": stranger.pid, "created": created, "log": "x", "url": settings.mlflow_url}
    layout.state.mkdir()
    (layout.state / "stack.json").write_text(json.dumps({"mlflow": record}))

    assert stack.status(layout, settings).mlflow.state == "down"
    assert stack.down(layout) == []
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_clock_that_is_set_loses_nobody(layout: Layout) -> None:
    """The clock moved by an hour since the start: `down` still knows its own, and ends it."""
    pid = stack.spawn(layout, "worker", [sys.executable, "-c", "import time; time.sleep(99)"], {})
    path = layout.state / "stack.json"
    records = json.loads(path.read_text())
    records["worker"]["created"] -= 3600  # so it was read before
    path.write_text(json.dumps(records))
    stranger = psutil.Process()  # who has the same times, and not this workspace's mark
    times = {"created": 0.0, "after_boot": stranger.create_time() - psutil.boot_time()}
    other = Layout(layout.root / "other")
    other.state.mkdir(parents=True)
    (other.state / "stack.json").write_text(json.dumps({"worker": {"pid": stranger.pid, **times}}))

    assert stack.down(other) == []
    assert stack.down(layout) == ["worker"]
    assert _is_gone(pid)


def test_a_server_that_was_dying_is_started_again(layout: Layout, settings_on: Make) -> None:
    """A killed server takes its time to end; the same command does not take it for a living one."""
    dying = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)"])
    settings = _only_mlflow(settings_on())
    created = psutil.Process(dying.pid).create_time()
    record = {"pid": dying.pid, "created": created, "log": "x", "url": settings.mlflow_url}
    layout.state.mkdir()
    (layout.state / "stack.json").write_text(json.dumps({"mlflow": record}))
    try:
        found = stack.up(layout, settings).mlflow
        assert (found.state, found.pid == dying.pid) == ("up", False)
        assert dying.wait() == 0
    finally:
        stack.down(layout)


def test_a_stubborn_worker_is_ended(
    layout: Layout, settings_on: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `spawn` started is stopped by `down`, with its children, also if it ignores SIGTERM."""
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); "
        "print('ready', child.pid, flush=True); time.sleep(99)"
    )
    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.5)  # the test need not wait 20 s
    pid = stack.spawn(layout, "worker", [sys.executable, "-c", code], dict(os.environ))
    child = _ready(layout)
    (shown,) = stack.status(layout, settings_on(1, 2)).others

    assert (shown.name, shown.pid, shown.state) == ("worker", pid, "up")
    assert stack.down(layout) == ["worker"]
    assert _is_gone(pid)
    assert _is_gone(child)


def test_what_a_killed_worker_left_behind_is_ended(layout: Layout, tmp_path: Path) -> None:
    """`down` ends the runs of a worker that was killed, wherever they are; no other workspace's."""
    code = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'], "
        "start_new_session=True); print('ready', child.pid, flush=True); time.sleep(99)"
    )
    other = Layout(tmp_path / "another")
    other.root.mkdir()
    pids = [
        stack.spawn(each, "worker", [sys.executable, "-c", code], dict(os.environ))
        for each in (layout, other)
    ]
    runs = [_ready(each) for each in (layout, other)]
    _kill(pids[0])
    try:
        assert stack.down(layout) == []
        assert _is_gone(runs[0])
        assert not _is_gone(runs[1])
    finally:
        assert stack.down(other) == ["worker"]
    assert _is_gone(runs[1])


def test_what_runs_beside_is_kept(layout: Layout) -> None:
    """A worker is started once, again after it died, and again when it would ask other servers."""
    command = [sys.executable, "-c", "import time; time.sleep(99)"]

    def kept(url: str) -> bool:
        told = {**os.environ, "PREFECT_API_URL": url, "PATH": f"/{url}"}
        return stack.keep(layout, "worker", command, told, ["PREFECT_API_URL"])

    def pid() -> int:
        return int(processes.running(layout)["worker"]["pid"])

    try:
        assert kept("a")
        first = pid()
        _settle(first)
        assert not kept("a")
        assert pid() == first
        _kill(first)
        assert kept("a")
        second = pid()
        _settle(second)
        assert kept("b")
        assert _is_gone(second)
    finally:
        assert stack.down(layout) == ["worker"]


def test_who_comes_second_waits(layout: Layout, settings_on: Make) -> None:
    """Two commands that want the servers at once both get them: the second waits for the first."""
    given = {"prefect_api_url": "http://127.0.0.1:9/api", "mlflow_tracking_uri": "http://x:9"}
    settings = settings_on().model_copy(update=given)
    inside, waited = Event(), []

    def holds() -> None:
        with run_lock(layout.lock("stack"), "starting"):
            inside.set()
            time.sleep(0.5)
            waited.append("first")

    first = Thread(target=holds)
    first.start()
    inside.wait()
    assert stack.up(layout, settings).mlflow.state == "given"
    assert waited == ["first"]
    first.join()


def _ready(layout: Layout) -> int:
    """Return the process id that a worker of ours printed."""
    log = layout.state / "logs" / "worker.log"
    while "ready" not in log.read_text():
        time.sleep(0.05)
    return int(log.read_text().split()[1])


def _kill(pid: int | None) -> None:
    """Kill a process, and return when it is gone."""
    process = psutil.Process(pid)
    process.kill()
    while not _is_gone(pid):
        time.sleep(0.01)


def _settle(pid: int) -> None:
    """Wait until a process runs its program: before that it has its parent's environment."""
    while psutil.Process(pid).cmdline()[-1:] != ["import time; time.sleep(99)"]:
        time.sleep(0.01)
