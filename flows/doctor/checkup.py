"""All checks at once, each in its time: one that hangs or breaks hides none of the others."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from flows.doctor import (
    databases,
    gpu,
    machine,
    ports,
    recipes,
    schedules,
    secrecy,
    servers,
    signing,
    software,
    storage,
)
from flows.doctor.finding import Finding, unknown
from flows.settings import Settings, load_settings
from gan.errors import UsageError
from gan.paths import Layout

SECONDS = 8.0
# In the order in which they are shown.
_OF_MACHINE: Mapping[str, Callable[[Layout], list[Finding]]] = {
    "python": software.python,
    "packages": software.packages,
    "git": software.git,
    "gpu": gpu.gpu,
    "disk": machine.disk,
    "folder": machine.folder,
    "open files": machine.files,
    "locks": machine.locks,
    "secrets": secrecy.secret_files,
    "settings": recipes.settings,
    "recipes": recipes.recipes,
    "DVC remote": storage.data_remote,
}
_OF_STACK: Mapping[str, Callable[[Layout, Settings], list[Finding]]] = {
    "ports": ports.ports,
    "databases": databases.databases,
    "artifacts": storage.artifacts,
    "servers": servers.servers,
    "schedules": schedules.schedules,
    "certificate": signing.signing,
    "watermark key": signing.watermark,
}


def look(layout: Layout, *, seconds: float = SECONDS) -> list[Finding]:
    """Return what all checks find.

    Args:
        layout: The workspace.
        seconds: After how long a check that has not ended is given up.
    """
    try:
        settings = load_settings()
    except UsageError:  # which the check of that name tells of
        settings = None
    return _all(_bound(layout, settings), seconds)


def _bound(layout: Layout, settings: Settings | None) -> dict[str, Callable[[], list[Finding]]]:
    """Return every check with what it is to look at."""
    checks: dict[str, Callable[[], list[Finding]]] = {
        name: partial(check, layout) for name, check in _OF_MACHINE.items()
    }
    for name, check in _OF_STACK.items():
        checks[name] = (
            partial(_unasked, name) if settings is None else partial(check, layout, settings)
        )
    return checks


def _unasked(name: str) -> list[Finding]:
    return [unknown(name, "not looked at: the settings are impossible")]


def _all(checks: Mapping[str, Callable[[], list[Finding]]], seconds: float) -> list[Finding]:
    """Run checks at the same time; what a check finds in time counts.

    In threads that nobody waits for at the end: what hangs in a mount or a driver stays there.
    """
    done: queue.SimpleQueue[tuple[str, list[Finding]]] = queue.SimpleQueue()
    for name, check in checks.items():
        work = (done, name, check)
        threading.Thread(target=_one, args=work, name=f"doctor {name}", daemon=True).start()
    deadline, found = time.monotonic() + seconds, dict[str, list[Finding]]()
    while len(found) < len(checks):
        try:
            name, lines = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[name] = lines
    late = f"took longer than {seconds:g} s: something hangs, or the machine is busy"
    return [line for name in checks for line in found.get(name, [unknown(name, late)])]


def _one(
    done: "queue.SimpleQueue[tuple[str, list[Finding]]]",
    name: str,
    check: Callable[[], list[Finding]],
) -> None:
    try:
        found = check()
    except Exception as error:  # noqa: BLE001  # it becomes a line: the others are no less needed
        said = " ".join(str(error).split())[:200]
        found = [unknown(name, f"the check itself broke: {type(error).__name__}: {said}")]
    done.put((name, found))
