"""Fault drills beyond one machine: the database dies in mid-run, and two machines share a pool.

Each prints what became of it (`make drills`).
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.drilling import Drills
from tests.faults.hosts import Host, missing, two_hosts
from tests.faults.living import COMMAND, Mill, make
from tests.flows.real_servers import Postgres, postgres

pytestmark = [pytest.mark.faults, pytest.mark.timeout(2400)]
_WHY = missing()
_AWAY_SECONDS = 40.0  # longer than the training: its end falls into the absence
_LOGIN = "mill:a-long-password"
_BATCHES = 8


def _living(folder: Path, **more: str) -> Drills:
    """Return a mill with a champion, its stack up with more settings than the default's."""
    mill, twin = make(folder / "mill"), make(folder / "twin")
    mill.environment.update(more)
    mill.write(kimg=1.0)
    mill.must("up")
    mill.must("retrain", "tiny")
    return Drills(mill, twin)


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[tuple[Drills, Postgres]]:
    """Yield a mill whose servers keep what they know in Postgres."""
    with postgres(durable=True) as database:
        drills = _living(
            tmp_path,
            GANMILL_PREFECT_DATABASE=database.create("prefect"),
            GANMILL_MLFLOW_DATABASE=database.create("mlflow"),
        )
        yield drills, database
        drills.mill.must("down")
        assert drills.mill.processes() == []


def test_postgres_is_killed(on_postgres: tuple[Drills, Postgres]) -> None:
    """Both servers lose their database; what runs goes on, and ends as if it had been there."""
    drills, database = on_postgres
    run = drills.begin()
    database.kill()
    time.sleep(_AWAY_SECONDS)
    database.start()
    drills.settle(f"SIGKILL of Postgres, up again after {_AWAY_SECONDS:.0f} s", run)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[tuple[Drills, Host, Host]]:
    """Yield a mill whose servers and worker are on one host, and a second host with a worker."""
    with two_hosts(tmp_path) as (first, second), first.entered():
        listens = {"GANMILL_HOST": "0.0.0.0", "GANMILL_PUBLIC_HOSTS": "first-host"}  # noqa: S104
        drills = _living(tmp_path, GANMILL_LOGIN=_LOGIN, **listens)
        _join(drills.mill, second, tmp_path / "second.txt")
        yield drills, first, second
        drills.mill.must("down")


def _join(mill: Mill, host: Host, said: Path) -> None:
    """Start a worker on a host, as the README says it, and return when Prefect knows of it."""
    prefect, mlflow = (mill.environment[f"GANMILL_{name}_PORT"] for name in ("PREFECT", "MLFLOW"))
    addresses = {
        "PREFECT_API_URL": f"http://first-host:{prefect}/api",
        "MLFLOW_TRACKING_URI": f"http://first-host:{mlflow}",
    }
    more = {**mill.environment, **addresses}
    command = [str(COMMAND), "worker", "--name", host.name]
    host.start(*command, cwd=mill.layout.root, said=said, environment=more)

    def known() -> bool:
        found = mill.ask("work_pools/ganmill-train/workers/filter", {})
        return host.name in {each["name"] for each in found}

    mill.until(known, "the second worker does not come")


def _networks(mill: Mill) -> dict[str, int]:
    """Return the network of each flow run that has a process now."""
    found = {}
    for process in mill.flows():
        with suppress(psutil.Error, OSError):
            run = process.environ()["PREFECT__FLOW_RUN_ID"]
            found[run] = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    return found


@pytest.mark.skipif(_WHY is not None, reason=_WHY or "")
def test_two_machines_work_for_one_pool(shared: tuple[Drills, Host, Host]) -> None:
    """Each run is done once, by one of them; a machine that loses power costs time, no work."""
    drills, first, second = shared
    mill = drills.mill
    runs = [mill.start("generate") for _ in range(_BATCHES)]
    seen: dict[str, set[int]] = defaultdict(set)

    def over() -> bool:
        for run, network in _networks(mill).items():
            seen[run].add(network)
        return all(mill.state(run) == "COMPLETED" for run in runs)

    mill.until(over, "a batch is not made", 900)
    names = {first.network(): first.name, second.network(): second.name}
    did = [names[network] for run in runs for network in seen[run]]
    shares = {name: did.count(name) for name in names.values()}
    print(f"\ndrill: two machines on one pool: {_BATCHES} batches asked for at once: {shares}")
    assert sum(shares.values()) == _BATCHES  # none was seen on both
    assert min(shares.values()) > 0
    for run in runs:
        states = mill.ask(f"flow_run_states/?flow_run_id={run}", None)
        assert [each["type"] for each in states].count("RUNNING") == 1

    mill.kill("worker")
    run = drills.begin()
    assert _networks(mill)[run] == second.network()
    second.lose_power()
    mill.must("up")
    drills.settle("one of two machines loses power in mid-training", run)
