"""The local stack: a Prefect server and an MLflow server, by default on loopback over SQLite.

They outlive the terminal that started them. What was started is written down with its process id
and start time, so that `down` stops exactly that, also after a reboot gave the id to somebody else.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from flows.servers import addresses, environments, processes
from flows.settings import Settings
from gan.durable import run_lock
from gan.errors import ServiceError, UsageError
from gan.paths import Layout

START_SECONDS = 180.0
_POLL_SECONDS = 0.1
_SERVERS: tuple[environments.Name, ...] = ("prefect", "mlflow")
_NOTE = "ganmill: "  # begins the lines in a server's log that people should see


@dataclass(frozen=True)
class Server:
    """One server: `given` by the environment, or ours and `up` or `down`; `url` leads people."""

    name: str
    url: str
    state: Literal["up", "down", "given"]
    pid: int | None = None
    uptime_seconds: float | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Stack:
    """Both servers, and whatever else was started beside them (a worker, the monitor)."""

    prefect: Server
    mlflow: Server
    others: tuple[Server, ...] = ()


def up(
    layout: Layout,
    settings: Settings,
    *,
    then: Callable[[frozenset[str]], None] | None = None,
    renew: bool = True,
) -> Stack:
    """Start what is not running yet, both at once, and return when both answer.

    Who comes while somebody else starts or stops the stack waits for that.

    Args:
        layout: The workspace.
        settings: What the servers are to be.
        then: Called once Prefect answers, if that server is ours, with the names of what was
            started; MLflow may still be starting.
        renew: Start again with these settings what runs with others (port, login, database).

    Raises:
        UsageError: A port is taken by another program, an extra is not installed, or a server
            runs with other settings and `renew` is off.
        ServiceError: A server ended or stayed silent; the message ends with its log's last line.
        BusyError: Another process starts or stops the stack, and does not come to an end.
    """
    with _turn(layout):
        ours = [name for name in _SERVERS if not addresses.is_given(settings, name)]
        addresses.require_two_ports(settings, ours)
        _require_extras(settings, ours)
        _end_others(layout, settings, ours, renew=renew)
        for name in [each for each in ours if each not in processes.running(layout)]:
            _adopt(layout, settings, name)  # all ports are looked at before any server is started
        _end_others(layout, settings, ours, renew=renew)
        alive = processes.running(layout)
        fresh: set[str] = {name for name in ours if name not in alive}
        for name in [each for each in ours if each in fresh]:
            _start(layout, settings, name)
        if "prefect" in ours:
            _wait_healthy(layout, settings, ["prefect"], fresh)
            if then:
                then(frozenset(fresh))
        _wait_healthy(layout, settings, ours, fresh)
    return _stack(layout, settings, have_answered=True)


def down(layout: Layout) -> list[str]:
    """Stop what `up` and `spawn` started, servers last; return the names of what was running.

    Whatever these have started goes as well, also what a killed worker left behind.

    Raises:
        BusyError: Another process starts or stops the stack, and does not come to an end.
    """
    with _turn(layout):
        running = list(processes.running(layout))
        processes.stop(layout, [name for name in running if name not in _SERVERS], strays=True)
        processes.stop(layout, running)
        processes.forget_all(layout)
    return running


def status(layout: Layout, settings: Settings) -> Stack:
    """Return where the servers are and whether they answer; starts and changes nothing."""
    return _stack(layout, settings, have_answered=False)


def spawn(
    layout: Layout, name: str, command: Sequence[str], environment: dict[str, str], url: str = ""
) -> int:
    """Start `command` so that it outlives the terminal, for `down` to stop; return its process id.

    Its words go to `.ganmill/logs/<name>.log`; the log before this one is kept as `.old`.
    """
    pid = processes.start(layout, name, command, environment)
    processes.record(layout, name, pid, {"url": url} if url else {})
    return pid


def keep(
    layout: Layout,
    name: str,
    command: Sequence[str],
    environment: dict[str, str],
    same: Iterable[str],
    url: str = "",
) -> bool:
    """Spawn `command` unless it `runs` already; tell whether it was started.

    One that was started with other values of the variables `same` is ended first.
    """
    same = tuple(same)
    if runs(layout, name, environment, same):
        return False
    processes.stop(layout, [name])
    spawn(layout, name, command, environment, url)
    return True


def wait(layout: Layout, name: str, has_come: Callable[[], bool]) -> None:
    """Return once what was spawned has come to work.

    Raises:
        ServiceError: It ended or stayed silent; the message ends with its log's last line.
    """
    deadline = time.monotonic() + START_SECONDS
    while not has_come():
        if name not in processes.running(layout):
            raise _silent(layout, name, "ended while starting")
        if time.monotonic() > deadline:
            raise _silent(layout, name, f"was not at work after {START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def runs(layout: Layout, name: str, environment: dict[str, str], same: Iterable[str]) -> bool:
    """Tell whether `name` was spawned with these values of the variables `same`, and lives."""
    record = processes.running(layout).get(name)
    was = processes.environment_of(record["pid"]) if record else {}
    unread = bool(record) and not was
    return unread or (bool(was) and all(was.get(each) == environment.get(each) for each in same))


def notes(layout: Layout, names: Iterable[str]) -> list[str]:
    """Return what servers have to say to people since they started, say of an upgrade."""
    lines = [line for name in names for line in _words(layout, name)]
    return [line.removeprefix(_NOTE) for line in lines if line.startswith(_NOTE)]


@contextmanager
def _turn(layout: Layout) -> Iterator[None]:
    """Wait until nobody else starts or stops the stack; until the end it is our turn."""
    doing = "starting or stopping the servers"
    with run_lock(layout.lock("stack"), doing, patience_seconds=START_SECONDS):
        yield


def _require_extras(settings: Settings, ours: Sequence[str]) -> None:
    """Refuse what a package is missing for, before anything is started."""
    postgres = (settings.prefect_database and "prefect" in ours) or (
        settings.mlflow_database and "mlflow" in ours
    )
    wants = {
        ("psycopg2", "postgres"): postgres,
        ("flask_wtf", "login"): settings.login and "mlflow" in ours,
        ("boto3", "s3"): (settings.artifacts or "").startswith("s3://") and "mlflow" in ours,
    }
    for (module, extra), wanted in wants.items():
        if wanted and find_spec(module) is None:
            raise UsageError(f"a setting needs the extra: pip install 'ganmill[{extra}]'")


def _end_others(
    layout: Layout, settings: Settings, names: Iterable[environments.Name], *, renew: bool
) -> None:
    """End the servers of ours that were started with other settings, or refuse to go on."""
    records = processes.running(layout)
    stale = []
    for name in names:
        was = processes.environment_of(records[name]["pid"]) if name in records else {}
        now = environments.given_to(name, layout, settings)
        known = processes.MARK in was
        changed = environments.changed(name, was, now, all_of_it=renew) if known else []
        if changed and not renew:
            raise UsageError(
                f"{name} runs with another {', '.join(changed)} than is set here. Set it as it was "
                "then, or start the servers again with these settings: ganmill up"
            )
        stale += [name] if changed else []
    if stale:
        processes.stop(layout, stale)


def _adopt(layout: Layout, settings: Settings, name: str) -> None:
    """Find our server on its port though its record was lost; a foreign program is an error."""
    pid = addresses.holder_of_ours(layout, settings, name)
    if pid is not None:
        processes.record(layout, name, pid, {"url": addresses.url_of(settings, name)})


def _start(layout: Layout, settings: Settings, name: environments.Name) -> None:
    (layout.state / name).mkdir(parents=True, exist_ok=True)
    environment = environments.given_to(name, layout, settings)
    command = [sys.executable, "-m", "flows.servers", name]
    spawn(layout, name, command, environment, addresses.url_of(settings, name))


def _wait_healthy(
    layout: Layout, settings: Settings, names: Sequence[environments.Name], fresh: set[str]
) -> None:
    """Return when every server answers; a dead or silent one is an error with its last words.

    One that was found alive and is gone now was dying when we looked (a process that is killed
    takes its time to give its memory back): it is started like one that was not there.
    """
    deadline, waiting = time.monotonic() + START_SECONDS, list(names)
    while waiting:
        alive = processes.running(layout)
        for name in list(waiting):
            if addresses.answers(settings, name):
                waiting.remove(name)
            elif name not in alive and name not in fresh:
                fresh.add(name)
                _adopt(layout, settings, name)
                if name not in processes.running(layout):
                    _start(layout, settings, name)
            elif name not in alive:
                raise _silent(layout, name, "ended while starting")
            elif time.monotonic() > deadline:
                raise _silent(layout, name, f"did not answer for {START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS if waiting else 0)


def _silent(layout: Layout, name: str, what: str) -> ServiceError:
    words = [line.strip() for line in _words(layout, name) if line.strip()] or ["(nothing)"]
    return ServiceError(f"{name} {what}; {processes.log_of(layout, name)} ends with: {words[-1]}")


def _words(layout: Layout, name: str) -> list[str]:
    log = processes.log_of(layout, name)
    return log.read_text(errors="replace").split("\n") if log.exists() else []


def _stack(layout: Layout, settings: Settings, *, have_answered: bool) -> Stack:
    records = processes.running(layout)
    for name in {*_SERVERS} - {*records}:  # a record may be lost, and its server there
        pid = addresses.found_at_port(layout, settings, name)
        records |= {name: made} if (made := processes.described(layout, name, pid)) else {}
    others = [_server(name, records[name], up=True) for name in records if name not in _SERVERS]
    prefect, mlflow = (
        _look(settings, name, records.get(name), has_answered=have_answered) for name in _SERVERS
    )
    return Stack(prefect, mlflow, tuple(others))


def _look(
    settings: Settings, name: str, record: dict[str, Any] | None, *, has_answered: bool
) -> Server:
    url = addresses.pages_of(settings, name)
    if addresses.is_given(settings, name):
        return Server(name, url, "given")
    if record is None:
        return Server(name, url, "down")
    up = has_answered or addresses.answers(settings, name)
    return _server(name, {**record, "url": url}, up=up)


def _server(name: str, record: dict[str, Any], *, up: bool) -> Server:
    uptime = max(0.0, time.time() - record["created"])
    state: Literal["up", "down"] = "up" if up else "down"
    pid, log = record["pid"], Path(record["log"])
    return Server(name, record.get("url", ""), state, pid, round(uptime, 1), log)
