"""Where the two servers are, whether they are ours, and whether they answer."""

import contextlib
import os
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException

import psutil

from flows.listeners import is_free, listener
from flows.servers.processes import MARK, environment_of
from flows.settings import Settings, reached
from gan.errors import UsageError
from gan.paths import Layout

HEALTH = {"prefect": "/api/health", "mlflow": "/health"}
_ANSWER_SECONDS, _DYING_SECONDS, _POLL_SECONDS = 5, 3, 0.1


def url_of(settings: Settings, name: str) -> str:
    """Return where our programs call a server, without a slash at the end."""
    return settings.prefect_url if name == "prefect" else settings.mlflow_url


def pages_of(settings: Settings, name: str) -> str:
    """Return where a person sees a server's pages."""
    return settings.prefect_pages if name == "prefect" else settings.mlflow_pages


def is_given(settings: Settings, name: str) -> bool:
    """Tell whether somebody else runs this server."""
    return url_of(settings, name) != f"http://{reached(settings.host)}:{_port(settings, name)}"


def answers(settings: Settings, name: str) -> bool:
    """Tell whether a server answers; it need not know us for that."""
    # No proxy stands between us and this machine, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url_of(settings, name) + HEALTH[name], timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def require_two_ports(settings: Settings, ours: Sequence[str]) -> None:
    """Refuse one port for both servers.

    Raises:
        UsageError: It is one; the message names both settings.
    """
    if len(ours) > 1 and settings.prefect_port == settings.mlflow_port:
        raise UsageError(
            f"GANMILL_PREFECT_PORT and GANMILL_MLFLOW_PORT are both {settings.mlflow_port}."
        )


def holder_of_ours(layout: Layout, settings: Settings, name: str) -> int | None:
    """Return the process of our own server on its port, None where the port is free.

    The record of a server may be lost, half written or of another machine's start.

    Raises:
        UsageError: Another program has the port; the message names it and the setting.
    """
    port, deadline = _port(settings, name), time.monotonic() + _DYING_SECONDS
    found = None
    while found is None:
        if is_free(settings.host, port):
            return None
        found = listener(port)
        if time.monotonic() > deadline:
            break
        # Nobody is seen at it: somebody else's program, or one that is dying and lets go of it.
        time.sleep(0 if found else _POLL_SECONDS)
    if (ours := _leader(layout, found)) is not None:
        return ours
    holder = "another program"
    with contextlib.suppress(psutil.Error):
        holder = f"process {found.pid} ({found.name()})" if found else holder
    raise UsageError(
        f"port {port} for {name} is taken by {holder}. "
        f"Set GANMILL_{name.upper()}_PORT to a free port, or stop that program."
    )


def found_at_port(layout: Layout, settings: Settings, name: str) -> int | None:
    """Return the process of our own server on its port; None: nobody's, or another program's."""
    port = _port(settings, name)
    return None if is_free(settings.host, port) else _leader(layout, listener(port))


def _leader(layout: Layout, found: psutil.Process | None) -> int | None:
    """Return which process was started that listens now, if it has this workspace's mark."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if found and environment_of(found.pid).get(MARK) == str(layout.root):
            leader = os.getpgid(found.pid)
            return leader if psutil.pid_exists(leader) else found.pid
    return None


def _port(settings: Settings, name: str) -> int:
    return settings.prefect_port if name == "prefect" else settings.mlflow_port
