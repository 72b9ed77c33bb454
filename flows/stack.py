"""The local stack: a Prefect server and an MLflow server on loopback, over SQLite in `.ganmill/`.

They outlive the terminal that started them. What was started is written down with its process id
and start time, so that `down` stops exactly that, also after a reboot gave the id to somebody else.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import psutil

from flows.listeners import listener
from flows.settings import Settings, quiet_environment
from gan.durable import read_json, run_lock, write_json
from gan.errors import DamagedError, ServiceError, UsageError
from gan.paths import Layout

START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.1
_CLOCK_SECONDS = 2.0  # a start time is counted from boot, so it moves when the clock is set
_MARK = "GANMILL_STACK"
_HEALTH = {"prefect": "/api/health", "mlflow": "/health"}
# Kept so that one who starts and stops servers in one process leaves no zombies behind.
_children: list["subprocess.Popen[bytes]"] = []


@dataclass(frozen=True)
class Server:
    """One server: `given` by the environment, or ours and `up` or `down`."""

    name: str
    url: str
    state: Literal["up", "down", "given"]
    pid: int | None = None
    uptime_seconds: float | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Stack:
    """Both servers, and whatever else was started beside them (a worker)."""

    prefect: Server
    mlflow: Server
    others: tuple[Server, ...] = ()


def up(layout: Layout, settings: Settings) -> Stack:
    """Start what is not running yet, both at once, and return when both answer.

    Raises:
        UsageError: A port is taken by another program; the message names the setting.
        ServiceError: A server ended or stayed silent; the message ends with its log's last line.
        BusyError: Another process is starting or stopping the stack.
    """
    with run_lock(layout.lock("stack"), "starting or stopping the servers"):
        ours = [name for name in _HEALTH if not _given(settings, name)]
        if len(ours) > 1 and settings.prefect_port == settings.mlflow_port:
            raise UsageError(
                f"GANMILL_PREFECT_PORT and GANMILL_MLFLOW_PORT are both {settings.mlflow_port}."
            )
        records = _running(layout)
        urls = {name: records[name].get("url") for name in ours if name in records}
        _stop(layout, [name for name in urls if urls[name] != _url(settings, name)])
        missing = [name for name in ours if name not in _running(layout)]
        for name in [each for each in missing if _is_free(layout, settings, each)]:
            _start(layout, settings, name)  # none before every port is known to be free
        _wait_healthy(layout, settings, ours, missing)
    return status(layout, settings)


def down(layout: Layout) -> list[str]:
    """Stop what `up` and `spawn` started, servers last; return the names of what was running.

    Raises:
        BusyError: Another process is starting or stopping the stack.
    """
    with run_lock(layout.lock("stack"), "starting or stopping the servers"):
        running = list(_running(layout))
        _stop(layout, [name for name in running if name not in _HEALTH])
        _stop(layout, running)
        (layout.state / "stack.json").unlink(missing_ok=True)
    return running


def status(layout: Layout, settings: Settings) -> Stack:
    """Return where the servers are and whether they answer; starts and changes nothing."""
    records = _running(layout)
    others = [_server(name, records[name], up=True) for name in records if name not in _HEALTH]
    prefect, mlflow = (_look(settings, name, records.get(name)) for name in _HEALTH)
    return Stack(prefect, mlflow, tuple(others))


def spawn(layout: Layout, name: str, command: Sequence[str], environment: dict[str, str]) -> int:
    """Start `command` so that it outlives the terminal, for `down` to stop; return its process id.

    Its words go to `.ganmill/logs/<name>.log`; the log before this one is kept as `.old`.
    """
    log = _log(layout, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".old"))
    with log.open("ab") as words:
        child = subprocess.Popen(  # an argument list, no shell
            list(command),
            env={**environment, _MARK: str(layout.root)},
            cwd=layout.state,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    _record(layout, name, child.pid, {})
    return child.pid


def _start(layout: Layout, settings: Settings, name: str) -> None:
    port, url = _port(settings, name), _url(settings, name)
    environment = quiet_environment(settings, layout)
    home = layout.state / name
    home.mkdir(parents=True, exist_ok=True)
    loopback = ["--host", "127.0.0.1", "--port", str(port)]
    if name == "prefect":
        environment["PREFECT_SERVER_UI_API_URL"] = f"{url}/api"  # else its pages call port 4200
        command = ["prefect", "server", "start", *loopback]
    else:
        # Eight helper processes of 160 MB each for LLM jobs, which outlive their server.
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        environment.pop("MLFLOW_TRACKING_URI")
        store, artifacts = f"sqlite:///{home / 'mlflow.db'}", str(home / "artifacts")
        command = ["mlflow", "server", *loopback, "--workers", "1"]
        command += ["--backend-store-uri", store, "--artifacts-destination", artifacts]
    pid = spawn(layout, name, [sys.executable, "-m", *command], environment)
    _record(layout, name, pid, {"url": url})


def _wait_healthy(
    layout: Layout, settings: Settings, names: Iterable[str], started: Iterable[str]
) -> None:
    """Return when every server answers; a dead or silent one is an error with its last words.

    One that was found alive and is gone now was dying when we looked (a process that is killed
    takes its time to give its memory back): it is started like one that was not there.
    """
    deadline, waiting, fresh = time.monotonic() + START_SECONDS, list(names), set(started)
    while waiting:
        alive = _running(layout)
        for name in list(waiting):
            if _answers(_url(settings, name) + _HEALTH[name]):
                waiting.remove(name)
            elif name not in alive and name not in fresh:
                fresh.add(name)
                if _is_free(layout, settings, name):
                    _start(layout, settings, name)
            elif name not in alive:
                raise _silent(layout, name, "ended while starting")
            elif time.monotonic() > deadline:
                raise _silent(layout, name, f"did not answer for {START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS if waiting else 0)


def _silent(layout: Layout, name: str, what: str) -> ServiceError:
    log = _log(layout, name)
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    words = [line.strip() for line in lines if line.strip()] or ["(nothing)"]
    return ServiceError(f"{name} {what}; {log} ends with: {words[-1]}")


def _stop(layout: Layout, names: Sequence[str]) -> None:
    """End process groups: asked, asked again (a Prefect worker needs it), then killed."""
    if not names:
        return
    records = _running(layout)
    groups = [records[name]["pid"] for name in names if name in records]
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while groups and time.monotonic() < deadline:
            for child in _children:
                child.poll()
            groups = [group for group in groups if _members(group)]
            time.sleep(_POLL_SECONDS if groups else 0)
    _forget(layout, names)


def _members(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        with contextlib.suppress(ProcessLookupError):
            dead = process.info["status"] == psutil.STATUS_ZOMBIE
            if not dead and os.getpgid(process.pid) == group:
                found.append(process.pid)
    return found


def _running(layout: Layout) -> dict[str, dict[str, Any]]:
    """Return the records whose very process is alive: same id, same start time."""
    path = layout.state / "stack.json"
    try:
        records: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
        return {name: record for name, record in records.items() if _is_alive(record)}
    except (DamagedError, AttributeError, KeyError, TypeError):
        return {}  # half a file tells nothing; `_is_free` finds the servers again


def _is_alive(record: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["created"]) < _CLOCK_SECONDS
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _record(layout: Layout, name: str, pid: int, more: dict[str, Any]) -> None:
    created = psutil.Process(pid).create_time()
    record = {"pid": pid, "created": created, "log": str(_log(layout, name)), **more}
    write_json(layout.state / "stack.json", {**_running(layout), name: record})


def _forget(layout: Layout, names: Sequence[str]) -> None:
    kept = {name: record for name, record in _running(layout).items() if name not in names}
    write_json(layout.state / "stack.json", kept)


def _is_free(layout: Layout, settings: Settings, name: str) -> bool:
    """Tell whether a server's port is free; take back our own server if the record lost it."""
    port = _port(settings, name)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    found = listener(port)
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if found and found.environ().get(_MARK) == str(layout.root):
            _record(layout, name, os.getpgid(found.pid), {"url": _url(settings, name)})
            return False
    holder = f"process {found.pid} ({found.name()})" if found else "another program"
    raise UsageError(
        f"port {port} for {name} is taken by {holder}. "
        f"Set GANMILL_{name.upper()}_PORT to a free port, or stop that program."
    )


def _look(settings: Settings, name: str, record: dict[str, Any] | None) -> Server:
    if _given(settings, name):
        return Server(name, _url(settings, name), "given")
    if record is None:
        return Server(name, _url(settings, name), "down")
    return _server(name, record, up=_answers(str(record["url"]) + _HEALTH[name]))


def _server(name: str, record: dict[str, Any], *, up: bool) -> Server:
    uptime = max(0.0, time.time() - record["created"])
    state: Literal["up", "down"] = "up" if up else "down"
    pid, log = record["pid"], Path(record["log"])
    return Server(name, record.get("url", ""), state, pid, round(uptime, 1), log)


def _answers(url: str) -> bool:
    # No proxy stands between us and loopback, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def _given(settings: Settings, name: str) -> bool:
    return _url(settings, name) != f"http://127.0.0.1:{_port(settings, name)}"


def _url(settings: Settings, name: str) -> str:
    return settings.prefect_url if name == "prefect" else settings.mlflow_url


def _port(settings: Settings, name: str) -> int:
    return settings.prefect_port if name == "prefect" else settings.mlflow_port


def _log(layout: Layout, name: str) -> Path:
    return layout.state / "logs" / f"{name}.log"
