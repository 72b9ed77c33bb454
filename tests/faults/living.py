"""A mill that lives: a workspace with its whole stack, for the drills and the soak to break.

It is driven as a user would, by the installed command and by Prefect's HTTP API; what is looked at
are processes, locks and files.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil

from gan.durable import read_json, write_json
from gan.paths import Layout

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "ganmill"
SERVERS = ("prefect", "mlflow")
_BUSY_SECONDS = 30
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
RECIPE = """\
recipes:
  tiny:
    data:
      source: glyphs
      path: gan/image/glyphs.py
      resolution: 16
      glyphs: {{count: 240, seed: {seed}}}
      contract: {{min_images: 100, min_images_per_class: 5}}
    model: {{preset: tiny}}
    train:
      budget: {{kimg: {kimg}}}
      start: scratch
      seed: {seed}
      batch_size: 32
      device: cpu
      precision: float32
    evaluate: {{samples: 200}}
    gate:
      {{max_fd_share: 1.0, margin: 1.0, diversity: 1.0, worst_class: 1.0, memorisation: false,
       resources: null, min_accepted: 0.0}}
    assets:
      {{count: 8, size_px: 64, rejection: 0.0,
       screens: {{off_class: 0.0, near_distance: 0, past: 0, copies: 0.0}}}}
    detector: {{kimg: 0}}
    schedule: {schedule}
"""


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Mill:
    """A workspace with its own ports.

    Attributes:
        layout: The workspace.
        environment: What its commands are started with.
    """

    layout: Layout
    environment: dict[str, str]

    def run(self, *words: str, seconds: float = 600) -> "subprocess.CompletedProcess[str]":
        """Run `ganmill` with these words, and wait for its end."""
        return subprocess.run(
            [str(COMMAND), *words],
            cwd=self.layout.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def must(self, *words: str, seconds: float = 600) -> str:
        """Run `ganmill` with these words; it must succeed."""
        done = self.run(*words, seconds=seconds)
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def write(self, *, kimg: float, seed: int = 1, schedule: str = "{}") -> None:
        """Write params.yaml with a budget, another seed for other data, and a schedule."""
        words = RECIPE.format(kimg=kimg, seed=seed, schedule=schedule)
        self.layout.params.write_text(words)

    def ask(self, path: str, body: dict[str, Any] | None) -> Any:
        """Return what the Prefect server answers to a POST, or to a GET if there is no body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.environment['GANMILL_PREFECT_PORT']}/api/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", **self._login()},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                with opener.open(request, timeout=30) as answer:
                    return json.load(answer)
            except HTTPError as error:  # its database is busy: as every client of Prefect's does
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _login(self) -> dict[str, str]:
        login = self.environment.get("GANMILL_LOGIN")
        said = base64.b64encode((login or "").encode()).decode()
        return {"Authorization": f"Basic {said}"} if login else {}

    def start(self, flow: str = "retrain", **parameters: Any) -> str:
        """Press the Run button of the recipe's deployment; return the run's id."""
        found = {each["name"]: each["id"] for each in self.ask("flows/filter", {})}
        known = self.ask("deployments/filter", {})
        (chosen,) = [
            each["id"]
            for each in known
            if each["flow_id"] == found[flow] and each["name"] == "tiny"
        ]
        given = {"parameters": {"recipe": "tiny", **parameters}} if parameters else {}
        return str(self.ask(f"deployments/{chosen}/create_flow_run", given)["id"])

    def runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        """Return the flow runs of a flow, in these states if any are given, oldest first."""
        rule: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
        if states:
            rule["flow_runs"] = {"state": {"type": {"any_": list(states)}}}
        found: list[dict[str, Any]] = self.ask("flow_runs/filter", rule)
        return found

    def state(self, run: str) -> str:
        """Return the state type of a flow run."""
        (found,) = self.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return str(found["state_type"])

    def until(self, found: Callable[[], Any], what: str, seconds: float = 240) -> Any:
        """Return the first true answer; a server that is away in between is waited for."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(OSError):
                if answer := found():
                    return answer
            assert time.monotonic() < deadline, f"{what}\n{self.logs()}"
            time.sleep(0.3)

    def ended(self, run: str, seconds: float = 300) -> str:
        """Wait until a run ends; return its state."""

        def state() -> str:
            found = self.state(run)
            return found if found in ENDED else ""

        return str(self.until(state, f"run {run} does not end", seconds))

    def shown(self) -> int:
        """Return how many images the newest training was shown, by its statistics; 0 without."""
        files = sorted(
            self.layout.root.glob("runs/tiny/*/stats.jsonl"), key=lambda path: path.stat().st_mtime
        )
        if not files:
            return 0
        rows = [json.loads(line) for line in files[-1].read_bytes().split(b"\n")[:-1]]
        return int(rows[-1]["nimg"]) if rows else 0

    def shown_in(self) -> set[str]:
        """Return the folders of trainings that have statistics."""
        return {path.parent.name for path in self.layout.root.glob("runs/tiny/*/stats.jsonl")}

    def messages(self, run: str) -> str:
        """Return what the last state of a flow run says."""
        (found,) = self.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return str((found["state"] or {}).get("message") or "")

    def pid(self, name: str) -> int:
        """Return the process id of a part of the stack."""
        return int(read_json(self.layout.state / "stack.json")[name]["pid"])

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a part of the stack: a server with its helpers, a worker alone."""
        pid = self.pid(name)
        os.killpg(pid, number) if name in SERVERS else os.kill(pid, number)

    def flows(self) -> list[psutil.Process]:
        """Return the processes of flow runs of this workspace."""
        return [each for each in self.processes() if "prefect.engine" in _words(each)]

    def trainings(self) -> list[psutil.Process]:
        """Return the training processes of this workspace."""
        return [each for each in self.processes() if "gan train" in _words(each)]

    def processes(self) -> list[psutil.Process]:
        """Return every process that works in this workspace, this one and its like left out."""
        return list(_below(self.layout.root))

    def logs(self) -> str:
        """Return the last lines of every log, for a failure to be understood."""
        logs = sorted((self.layout.state / "logs").glob("*.log"))
        tails = {log.name: log.read_text(errors="replace")[-1500:] for log in logs}
        return "\n".join(f"== {name}\n{tail}" for name, tail in tails.items())

    def left(self) -> list[str]:
        """Return temporary files and checkpoint parts that nobody is at."""
        found = [*self.layout.root.rglob("*.partial"), *self.layout.root.rglob(".*.tmp*")]
        return sorted(str(path.relative_to(self.layout.root)) for path in found)


def make(root: Path) -> Mill:
    """Return a workspace as a clone would be, with ports of its own; nothing is started."""
    root.mkdir(parents=True)
    for name in ("gan", "flows"):  # a copy: nobody edits it meanwhile
        ignored = shutil.ignore_patterns("__pycache__", "shipped")
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    (root / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
        if (REPOSITORY / name).exists():
            shutil.copyfile(REPOSITORY / name, root / name)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    ports = {f"GANMILL_{name}_PORT": str(free_port()) for name in ("PREFECT", "MLFLOW", "METRICS")}
    addresses = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
    given = {name: value for name, value in os.environ.items() if name not in addresses}
    quick = {"OMP_NUM_THREADS": "1", "SHELL": "/bin/sh", "COLUMNS": "100"}
    quick["PATH"] = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"  # `python` of dvc.yaml
    write_json(Layout(root).pin("tiny"), {"bundle": None})  # which `dvc repro` by hand wants
    return Mill(Layout(root), {**given, **ports, **quick})


def _below(root: Path) -> Iterator[psutil.Process]:
    ours = str(root)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.cwd().startswith(ours) or process.environ().get("GANMILL_STACK") == ours:
                yield process


def _words(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
