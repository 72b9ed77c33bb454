"""What was started for a workspace: written down, found again after a reboot, ended with its own.

A record holds process id and start time, so that nobody is taken for ours whom the machine gave the
id of one that is gone. A clock that is set (a virtual machine that was paused, a laptop that slept)
moves start times, so the seconds since the machine's start count too. All that is started has the
workspace in its environment, and so has what it starts in turn, wherever that ends up.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from gan.durable import read_json, write_json
from gan.errors import DamagedError
from gan.paths import Layout

MARK = "GANMILL_STACK"
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.1
_CLOCK_SECONDS = 2.0  # by which two readings of one start time may differ
# Kept so that one who starts and stops servers in one process leaves no zombies behind.
_children: list["subprocess.Popen[bytes]"] = []


def start(layout: Layout, name: str, command: Sequence[str], environment: dict[str, str]) -> int:
    """Start `command` so that it outlives the terminal; return its process id.

    Its words go to `.ganmill/logs/<name>.log`; the log before this one is kept as `.old`.
    """
    log = log_of(layout, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".old"))
    with log.open("ab") as words:
        child = subprocess.Popen(  # an argument list, no shell
            list(command),
            env={**environment, MARK: str(layout.root)},
            cwd=layout.state,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    record(layout, name, child.pid, {})
    return child.pid


def record(layout: Layout, name: str, pid: int, more: dict[str, Any]) -> None:
    """Write down that process `pid` is our `name`."""
    if made := described(layout, name, pid):  # else it ended at once; its log says why
        write_json(_file(layout), {**running(layout), name: {**made, **more}})


def described(layout: Layout, name: str, pid: int | None) -> dict[str, Any] | None:
    """Return what is written down of a process; None without one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if pid is not None:
            times = _times(psutil.Process(pid))
            return {"pid": pid, **times, "log": str(log_of(layout, name))}
    return None


def running(layout: Layout) -> dict[str, dict[str, Any]]:
    """Return the records whose very process is alive: same id, same start time."""
    path = _file(layout)
    try:
        records: dict[str, dict[str, Any]] = read_json(path) if path.exists() else {}
        return {name: each for name, each in records.items() if _is_alive(layout, each)}
    except (DamagedError, AttributeError, KeyError, TypeError):
        return {}  # half a file tells nothing; who holds a port tells it again


def environment_of(pid: int) -> dict[str, str]:
    """Return what a process was started with, as far as we may know."""
    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ()
    return {}


def stop(layout: Layout, names: Collection[str], *, strays: bool = False) -> None:
    """End what runs under these names with all that it started, and forget it.

    With `strays`, also what such processes left behind, as a killed worker leaves its flow runs.
    They are asked, asked again (a Prefect worker needs it), then killed.
    """
    records = running(layout)
    kept = {name: each for name, each in records.items() if name not in names}
    family = _family(each["pid"] for name, each in records.items() if name in names)
    if strays:
        spared = _family(each["pid"] for each in kept.values()) | _ourselves()
        family |= {each for each in _marked(layout) if each not in spared}
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        family |= _family(each.pid for each in family)  # whom it started since
        family -= {psutil.Process()}
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        _await_end(family)
    if records:
        write_json(_file(layout), kept)


def log_of(layout: Layout, name: str) -> Path:
    """Return the file that has the words of `name`."""
    return layout.state / "logs" / f"{name}.log"


def forget_all(layout: Layout) -> None:
    """Drop the records; nothing is running."""
    _file(layout).unlink(missing_ok=True)


def _await_end(family: set[psutil.Process]) -> None:
    """Wait for a while until all have ended; take those out that have."""
    deadline = time.monotonic() + _STOP_SECONDS
    while family and time.monotonic() < deadline:
        for child in _children:
            child.poll()
        family -= {each for each in family if not _lives(each)}
        time.sleep(_POLL_SECONDS if family else 0)


def _family(pids: Iterable[int]) -> set[psutil.Process]:
    """Return the living among these processes, their groups, and all that descend from them."""
    found: set[psutil.Process] = set()
    groups = set(pids)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.pid in groups or os.getpgid(process.pid) in groups:
                found |= {process, *process.children(recursive=True)}
    return {each for each in found if _lives(each)}


def _marked(layout: Layout) -> set[psutil.Process]:
    """Return the processes that have this workspace's mark."""
    return {each for each in psutil.process_iter() if _is_marked(layout, each.pid)}


def _ourselves() -> set[psutil.Process]:
    """Return this process and those that wait for it: `down` may be called by a flow."""
    here = psutil.Process()
    return {here, *here.parents()}


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_alive(layout: Layout, made: dict[str, Any]) -> bool:
    """Return whether the very process of a record lives, whatever the clock was set to since."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(made["pid"])
        same = {
            which
            for which, seconds in _times(process).items()
            if abs(seconds - made.get(which, 0.0)) < _CLOCK_SECONDS
        }
        # After a reboot another program may have the same id, at the same second since the start.
        is_same = "created" in same or (same and _is_marked(layout, process.pid))
        return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _times(process: psutil.Process) -> dict[str, float]:
    """Return when a process was started: in seconds since 1970, and since the machine's start."""
    created = process.create_time()
    return {"created": created, "after_boot": created - psutil.boot_time()}


def _is_marked(layout: Layout, pid: int) -> bool:
    return environment_of(pid).get(MARK) == str(layout.root)


def _file(layout: Layout) -> Path:
    return layout.state / "stack.json"
