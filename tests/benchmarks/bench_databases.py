"""What the servers take at once on SQLite and on Postgres: bursts of flow runs, of log calls."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Self

from flows import stack
from flows.settings import Settings, load_settings, quiet_environment
from gan.paths import Layout
from tests.benchmarks.figures import show
from tests.flows.real_servers import free_port, postgres

_ROUNDS = 3  # of each, in turns: what the machine does meanwhile is felt by both
_AT_ONCE = (1, 4, 8)
_TASKS = 25
_CALLS = 40  # of each of the processes that log

# Each waits for a line on stdin, so that the imports are over when all begin.
_FLOW = """
import sys
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

@task(cache_policy=NO_CACHE)
def small(number: int) -> int:
    return number

@flow(name="burst")
def burst(tasks: int) -> int:
    return sum(future.result() for future in [small.submit(n) for n in range(tasks)])

print("ready", flush=True)
sys.stdin.readline()
burst(int(sys.argv[1]))
"""
_LOG = """
import sys, mlflow
mlflow.set_experiment("burst")
with mlflow.start_run():
    print("ready", flush=True)
    sys.stdin.readline()
    for step in range(int(sys.argv[1])):
        mlflow.log_metric("fd", 1.0 / (step + 1), step=step)
"""


class _Mill:
    """One pair of servers."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.layout, self.settings = layout, settings
        self.environment = {**quiet_environment(settings, layout), "PREFECT_LOGGING_LEVEL": "ERROR"}


@contextmanager
def _mills(folder: Path) -> Iterator[dict[str, _Mill]]:
    """Yield servers over SQLite and over Postgres, both running."""
    with postgres(durable=True) as database:
        addresses = {
            "GANMILL_PREFECT_DATABASE": database.create("prefect"),
            "GANMILL_MLFLOW_DATABASE": database.create("mlflow"),
        }
        mills = {}
        for name, more in (("SQLite", {}), ("Postgres", addresses)):
            layout = Layout(folder / name)
            layout.root.mkdir()
            (layout.root / "params.yaml").write_text("recipes: {}\n")
            mills[name] = _Mill(layout, _settings(more))
        try:
            for mill in mills.values():
                stack.up(mill.layout, mill.settings)
            yield mills
        finally:
            for mill in mills.values():
                stack.down(mill.layout)


def _settings(more: dict[str, str]) -> Settings:
    """Return settings with free ports of their own."""
    ports = [f"GANMILL_{name}_PORT" for name in ("PREFECT", "MLFLOW", "METRICS")]
    kept = dict(os.environ)
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", *more):
        os.environ.pop(name, None)
    os.environ.update({**{port: str(free_port()) for port in ports}, **more})
    try:
        return load_settings()
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _burst(mill: _Mill, script: str, many: int, size: int) -> float:
    """Start so many processes at one moment; return the seconds until the last has ended."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(size)],
            env=mill.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(many)
    ]
    for each in processes:
        assert each.stdout
        while each.stdout.readline().strip() != "ready":
            assert each.poll() is None, "a process ended before it began"
    started = time.perf_counter()
    for each in processes:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.close()
    for each in processes:
        assert each.wait(600) == 0, "a process failed"
    return time.perf_counter() - started


class _Page:
    """Asks what a page of Prefect asks, again and again, until told to end."""

    def __init__(self, mill: _Mill) -> None:
        self.seconds: list[float] = []
        self.refused = 0
        self._url = f"{mill.settings.prefect_url}/api/flow_runs/filter"
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _ask(self) -> None:
        said = json.dumps({"limit": 20, "sort": "START_TIME_DESC"}).encode()
        headers = {"Content-Type": "application/json"}
        while not self._ends.wait(0.1):
            started = time.perf_counter()
            request = urllib.request.Request(self._url, said, headers)
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    answer.read()
            except urllib.error.HTTPError:
                self.refused += 1
            self.seconds.append(time.perf_counter() - started)


def _compare(what: str, found: dict[str, list[float]], unit: str = "s") -> None:
    """Print the median of each database, and how many times longer SQLite takes."""
    lite, real = (median(found[name]) for name in ("SQLite", "Postgres"))
    ratios = sorted(a / b for a, b in zip(found["SQLite"], found["Postgres"], strict=True))
    show(f"{what}, SQLite", lite, unit)
    note = f"SQLite / Postgres {lite / real:.2f}, rounds {ratios[0]:.2f} to {ratios[-1]:.2f}"
    show(f"{what}, Postgres", real, unit, note)


def main() -> None:
    """Print seconds on both, and their ratio; rounds of both alternate."""
    with tempfile.TemporaryDirectory() as folder, _mills(Path(folder)) as mills:
        for mill in mills.values():
            _burst(mill, _FLOW, 1, 1)  # the first flow makes rows that later ones find
        for many in _AT_ONCE:
            flows: dict[str, list[float]] = {name: [] for name in mills}
            slowest: dict[str, list[float]] = {name: [] for name in mills}
            refused = dict.fromkeys(mills, 0)
            for _ in range(_ROUNDS):
                for name, mill in mills.items():
                    with _Page(mill) as page:
                        flows[name].append(_burst(mill, _FLOW, many, _TASKS))
                    slowest[name].append(max(page.seconds))
                    refused[name] += page.refused
            _compare(f"{many} flow runs at once, {_TASKS} tasks each", flows)
            _compare("  the slowest answer to a page meanwhile", slowest)
            if any(refused.values()):
                show("  answers refused, SQLite", refused["SQLite"], "")
                show("  answers refused, Postgres", refused["Postgres"], "")
        for many in _AT_ONCE:
            calls: dict[str, list[float]] = {name: [] for name in mills}
            for _ in range(_ROUNDS):
                for name, mill in mills.items():
                    taken = _burst(mill, _LOG, many, _CALLS)
                    calls[name].append(1e3 * taken / _CALLS)
            _compare(f"{many} processes log at once, a call", calls, "ms")
