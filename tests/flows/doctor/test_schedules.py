"""Tests of what the doctor says of Prefect's pools, deployments, limits and automations."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

import pytest

from flows.doctor import schedules
from flows.doctor.finding import Finding
from flows.schedules import deploy
from flows.schedules.automations import ZOMBIES
from flows.schedules.plans import POOL, TRAIN_POOL
from flows.settings import Settings
from gan.paths import Layout


@dataclass(frozen=True)
class Prefect:
    """The session's real Prefect server."""

    url: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return what it answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/api{path}", data, {"Content-Type": "application/json"}, method=method
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    payload = answer.read()
                    return json.loads(payload) if payload else None
            except HTTPError as error:
                if error.code != 503:  # its SQLite is busy now and then, as for every client
                    raise
                time.sleep(0.2)

    def beat(self, pool: str) -> None:
        """Give the sign of life of a worker of a pool."""
        sign = {"name": "a worker", "heartbeat_interval_seconds": 30}
        self.ask("POST", f"/work_pools/{pool}/workers/heartbeat", sign)

    def deployment(self, name: str) -> dict[str, Any]:
        """Return a deployment by its full name."""
        found: dict[str, Any] = self.ask("GET", f"/deployments/name/{name}")
        return found


@pytest.fixture
def prefect(servers: Settings) -> Iterator[Prefect]:
    """Return the server with nothing of ours on it, and leave it so."""
    found = Prefect(servers.prefect_url)
    _clear(found)
    yield found
    _clear(found)


def _clear(prefect: Prefect) -> None:
    """Take away what `ganmill deploy` makes for the workspace of these tests."""
    for each in prefect.ask("POST", "/deployments/filter", {}):
        if each["name"] in {"tiny", "ganmill"}:
            prefect.ask("DELETE", f"/deployments/{each['id']}")
    for each in prefect.ask("POST", "/automations/filter", {}):
        if each["name"] == ZOMBIES or each["name"].startswith("tiny: "):
            prefect.ask("DELETE", f"/automations/{each['id']}")
    for each in prefect.ask("POST", "/work_pools/filter", {}):
        if each["name"] in {TRAIN_POOL, POOL}:
            prefect.ask("DELETE", f"/work_pools/{each['name']}")


@pytest.fixture
def judge(workspace: Layout, servers: Settings) -> Callable[[], dict[str, Finding]]:
    """Return a function that says what the doctor says, by name."""
    return lambda: {line.name: line for line in schedules.schedules(workspace, servers)}


def test_a_server_without_anything_of_ours(
    prefect: Prefect, judge: Callable[[], dict[str, Finding]]
) -> None:
    """Absent deployments and pools are bad, an absent watch a warning; one command mends all."""
    found = judge()
    states = {name: line.state for name, line in found.items()}
    assert states == {
        "deployments": "bad",
        f"pool {TRAIN_POOL}": "bad",
        f"pool {POOL}": "bad",
        "limits": "ok",
        "dead-run watch": "warn",
    }
    assert {line.mend for line in found.values() if line.state != "ok"} == {"ganmill deploy"}


def test_everything_in_place_and_each_thing_broken(
    prefect: Prefect,
    judge: Callable[[], dict[str, Finding]],
    workspace: Layout,
    servers: Settings,
) -> None:
    """After `ganmill deploy` with a worker all is well; what is broken then is named, alone."""
    deploy.apply(workspace, servers)
    found = judge()
    assert found[f"pool {TRAIN_POOL}"].state == "warn"  # no cron line waits for it
    assert (found[f"pool {POOL}"].state, "no worker" in found[f"pool {POOL}"].says) == ("bad", True)
    for pool in (TRAIN_POOL, POOL):
        prefect.beat(pool)
    assert {line.state for line in judge().values()} == {"ok"}

    prefect.ask("PATCH", f"/work_pools/{POOL}", {"is_paused": True})
    line = judge()[f"pool {POOL}"]
    assert (line.state, line.mend) == ("warn", f"prefect work-pool resume {POOL}")
    prefect.ask("PATCH", f"/work_pools/{POOL}", {"is_paused": False, "concurrency_limit": 0})
    assert "its limit is 0" in judge()[f"pool {POOL}"].says
    prefect.ask("PATCH", f"/work_pools/{POOL}", {"concurrency_limit": None})

    named = {"automations": {"name": {"any_": [ZOMBIES]}}}
    (watch,) = prefect.ask("POST", "/automations/filter", named)
    prefect.ask("PATCH", f"/automations/{watch['id']}", {"enabled": False})
    assert "switched off" in judge()["dead-run watch"].says
    prefect.ask("DELETE", f"/automations/{watch['id']}")
    assert judge()["dead-run watch"].mend == "ganmill deploy"

    drift = prefect.deployment("drift/tiny")
    prefect.ask("PATCH", f"/deployments/{drift['id']}", {"concurrency_limit": 5})
    line = judge()["limits"]
    assert (line.state, "drift/tiny" in line.says) == ("warn", True)

    generate = prefect.deployment("generate/tiny")
    prefect.ask("POST", f"/deployments/{generate['id']}/pause_deployment")
    line = judge()["deployments"]
    assert (line.state, line.mend) == ("warn", "ganmill schedule tiny --resume generate")
    text = workspace.params.read_text()
    workspace.params.write_text(text.replace("0 3 1 1 *", "0 4 1 1 *"))
    line = judge()["deployments"]
    assert (line.state, "generate/tiny" in line.says) == ("bad", True)
    prefect.ask("DELETE", f"/deployments/{drift['id']}")
    assert "1 of 5 are not there: drift/tiny" in judge()["deployments"].says


def test_a_server_that_is_away(workspace: Layout, servers: Settings) -> None:
    """Nobody can tell then, and that is what the line says."""
    away = servers.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"})
    (line,) = schedules.schedules(workspace, away)
    assert (line.state, "does not answer" in line.says) == ("unknown", True)
