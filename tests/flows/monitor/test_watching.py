"""The monitor beside a real Prefect and a real MLflow server, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows import brief_http
from flows.monitor import servers as monitor_servers
from flows.monitor.schedules import ScheduleReader
from flows.settings import Settings
from gan.durable import append_line
from gan.paths import Layout

PARAMS = """\
recipes:
  seen:
    data: {source: files, path: pictures, resolution: 32}
    alerts: {no_batch_hours: 24}
"""
POOL = "ganmill-seen"
_WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def prefect(servers: Settings) -> Iterator[httpx.Client]:
    """Yield a client of the server's REST API."""
    base = f"{servers.prefect_url}/api"
    with httpx.Client(base_url=base, trust_env=False, timeout=60.0) as client:
        yield client


def _post(prefect: httpx.Client, path: str, **body: Any) -> Any:
    deadline = time.monotonic() + _WAIT_SECONDS
    while (answer := prefect.post(path, json=body)).status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        assert time.monotonic() < deadline, answer.text  # its database is busy
        time.sleep(0.5)
    answer.raise_for_status()
    return answer.json() if answer.content else None


@pytest.fixture
def deployment(prefect: httpx.Client) -> Iterator[str]:
    """Yield the id of a scheduled deployment of ours, on a pool that has no worker."""
    _post(prefect, "/work_pools/", name=POOL, type="process")
    flow = _post(prefect, "/flows/", name="generate")["id"]
    made = _post(
        prefect,
        "/deployments/",
        name="seen",
        flow_id=flow,
        tags=["ganmill", "seen"],
        work_pool_name=POOL,
        parameters={"recipe": "seen"},
        enforce_parameter_schema=False,
        schedules=[{"schedule": {"cron": "0 0 1 1 *", "timezone": "UTC"}, "active": True}],
    )
    yield made["id"]
    prefect.delete(f"/deployments/{made['id']}").raise_for_status()
    prefect.delete(f"/work_pools/{POOL}").raise_for_status()


def _run(prefect: httpx.Client, deployment: str, kind: str, **state: Any) -> None:
    """Make a run that was due two hours ago, in a state."""
    due = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
    path = f"/deployments/{deployment}/create_flow_run"
    made = _post(prefect, path, state=scheduled, parameters={"recipe": "seen"})["id"]
    for each in ("PENDING", "RUNNING", kind) if kind != "SCHEDULED" else ():
        words = state if each == kind else {}
        _post(prefect, f"/flow_runs/{made}/set_state", state={"type": each, **words}, force=True)


def test_prefect_tells_of_pools_queues_and_ends(
    servers: Settings, prefect: httpx.Client, deployment: str
) -> None:
    """A pool's queue, its oldest run and its workers; how runs ended; what is late."""
    reader = ScheduleReader(servers)
    known = [("seen", "")]
    _run(prefect, deployment, "SCHEDULED")
    _run(prefect, deployment, "COMPLETED")
    _run(prefect, deployment, "FAILED", message="it broke")
    _run(prefect, deployment, "COMPLETED", name="Skipped")

    found = reader.read(known, datetime.now(UTC))

    pool = next(each for each in found.pools if each.name == POOL)
    assert (pool.has_schedules, pool.workers, pool.waiting, pool.running) == (True, 0, 1, 0)
    assert pool.oldest_due is not None
    assert timedelta(hours=2) <= datetime.now(UTC) - pool.oldest_due < timedelta(hours=3)
    key = ("generate", "seen", "")
    assert (found.last[key].state, found.last[key].message) == ("failed", "it broke")
    assert not found.last[key].is_by_hand
    assert found.succeeded[key] < found.last[key].ended
    assert [(late.key, late.is_queued) for late in found.late] == [(key, False)]

    _post(prefect, f"/work_pools/{POOL}/workers/heartbeat", name="w", heartbeat_interval_seconds=30)
    _run(prefect, deployment, "RUNNING")
    _run(prefect, deployment, "COMPLETED")
    found = reader.read(known, datetime.now(UTC))

    pool = next(each for each in found.pools if each.name == POOL)
    assert (pool.workers, pool.waiting, pool.running) == (1, 1, 1)
    assert found.last[key].state == "completed"
    assert [late.is_queued for late in found.late] == [True]  # it waits for its turn
    assert reader.read([], datetime.now(UTC)).last.keys() <= {("reconcile", "", "")}


def test_mlflow_tells_of_the_challenger(servers: Settings) -> None:
    """The version behind the alias, 0 without one or without the model."""
    assert monitor_servers.challenger(servers, "never-heard-of") == 0
    mlflow = brief_http.mlflow(servers)
    for path, body in (
        ("registered-models/create", {"name": "seen"}),
        ("model-versions/create", {"name": "seen", "source": "s3://nowhere/model"}),
    ):
        assert mlflow.answer(f"/api/2.0/mlflow/{path}", body).status == 200
    assert monitor_servers.challenger(servers, "seen") == 0

    alias = {"name": "seen", "alias": "challenger", "version": "1"}
    assert mlflow.answer("/api/2.0/mlflow/registered-models/alias", alias).status == 200

    assert monitor_servers.challenger(servers, "seen") == 1


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace whose recipe wants a batch a day, and had one a year ago."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    found = Layout(tmp_path)
    found.state.mkdir()
    _deliver(found, "old", datetime.now(UTC) - timedelta(days=365))
    return found


@pytest.fixture
def monitor(layout: Layout, servers: Settings) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Return a function that starts the monitor's process in the workspace."""
    repository = Path(__file__).parents[3]
    addresses = {
        "PYTHONPATH": str(repository),
        "PREFECT_API_URL": f"{servers.prefect_url}/api",
        "MLFLOW_TRACKING_URI": servers.mlflow_url,
        "GANMILL_METRICS_PORT": str(servers.metrics_port),
    }
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.monitor"],
            cwd=layout.root,
            env={**os.environ, **addresses},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def _metrics(settings: Settings) -> str:
    try:
        answer = httpx.get(f"http://127.0.0.1:{settings.metrics_port}/metrics", trust_env=False)
    except httpx.HTTPError:
        return ""
    return answer.text if answer.status_code == httpx.codes.OK else ""


def _told(layout: Layout) -> list[str]:
    told = [json.loads(line) for line in layout.notices.read_text().splitlines()]
    return [
        f"{each['event']} {each['payload']['alert']}"
        for each in told
        if each["event"].startswith("alert")
    ]


def _deliver(layout: Layout, batch: str, time: datetime) -> None:
    """Tell of a batch."""
    payload = {"batch": batch, "accepted": 8, "candidates": 9}
    notice = {"event": "batch.delivered", "recipe": "seen", "says": "", "time_utc": str(time)}
    append_line(layout.notices, json.dumps({**notice, "payload": payload}))


def test_the_process_serves_metrics_and_tells_of_alerts_once(
    layout: Layout,
    servers: Settings,
    prefect: httpx.Client,
    monitor: Callable[[], "subprocess.Popen[str]"],
) -> None:
    """An alert goes to the file and to Prefect; killed and started again, it is not told twice.

    It is over when the batch is there; SIGTERM ends the process at once; it is a small one.
    """
    first = monitor()
    text = _until(lambda: _metrics(servers))
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"ganmill_server_up", "ganmill_champion_version", "ganmill_queue_runs"} <= names
    assert 'ganmill_server_up{server="prefect"} 1.0' in text
    _until(lambda: _told(layout))
    memory = psutil.Process(first.pid).memory_info().rss
    first.kill()

    second = monitor()
    _until(lambda: "no-batch" in _metrics(servers))
    assert _told(layout) == ["alert.raised no-batch/seen"]
    began = time.monotonic()
    second.terminate()
    assert second.wait(timeout=5) in {0, -signal.SIGTERM}
    assert time.monotonic() - began < 3

    _deliver(layout, "new", datetime.now(UTC))
    monitor()
    _until(lambda: len(_told(layout)) == 2)
    assert _told(layout)[-1] == "alert.cleared no-batch/seen"
    asked = {"filter": {"event": {"name": ["alert.raised", "alert.cleared"]}}}
    events = _until(lambda: _post(prefect, "/events/filter", **asked)["events"])
    about = {event["resource"]["prefect.resource.id"] for event in events}
    assert about == {"ganmill.recipe.seen"}
    assert memory < 150e6


def test_a_second_monitor_of_a_workspace_is_refused(
    layout: Layout, servers: Settings, monitor: Callable[[], "subprocess.Popen[str]"]
) -> None:
    """Two would tell everything twice."""
    monitor()
    _until(lambda: _metrics(servers))
    second = monitor()

    _, said = second.communicate(timeout=_WAIT_SECONDS)

    assert second.returncode == 1
    assert "looking after this workspace" in said
