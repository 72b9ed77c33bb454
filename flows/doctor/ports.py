"""The ports of the stack: free, ours, or somebody else's."""

import contextlib
from collections.abc import Mapping

import psutil

from flows.doctor.finding import Finding, bad, ok
from flows.listeners import is_free, listeners
from flows.servers import addresses
from flows.servers.processes import MARK, environment_of
from flows.settings import Settings
from gan.paths import Layout


def ports(layout: Layout, settings: Settings) -> list[Finding]:
    """Look at who listens where our servers and the monitor do."""
    wanted = {
        "prefect": settings.prefect_port,
        "mlflow": settings.mlflow_port,
        "metrics": settings.metrics_port,
    }
    there = listeners(set(wanted.values()))
    found, taken = [], []
    for name, port in wanted.items():
        if name != "metrics" and addresses.is_given(settings, name):
            continue
        holder = _holder(layout, settings, port, there)
        found.append(f"{port} {name}{' (ours)' if holder == '' else ''}")
        if holder:
            taken.append(_taken(name, port, holder))
    twins = {port for port in wanted.values() if list(wanted.values()).count(port) > 1}
    for port in twins:
        names = " and ".join(_setting(name) for name, each in wanted.items() if each == port)
        taken.append(bad("ports", f"{names} are both {port}", f"export {names.split()[0]}=..."))
    return taken or [ok("ports", f"{', '.join(found) or 'none of ours'}: free or ours")]


def _taken(name: str, port: int, holder: str) -> Finding:
    return bad(
        "ports",
        f"{port} for {name} is taken by {holder}",
        f"export {_setting(name)}=...   (a free port), or stop that program",
    )


def _holder(
    layout: Layout, settings: Settings, port: int, there: Mapping[int, psutil.Process]
) -> str | None:
    """Return who has a port, "" if that is us, None where it is free."""
    if is_free(settings.host, port):
        return None
    found = there.get(port)
    if found is None:
        return "another program, of another user"
    root = environment_of(found.pid).get(MARK)
    if root == str(layout.root):
        return ""
    if root is not None:
        return f"the ganmill of {root} (process {found.pid})"
    with contextlib.suppress(psutil.Error):
        return f"process {found.pid} ({found.name()})"
    return f"process {found.pid}"


def _setting(name: str) -> str:
    return f"GANMILL_{name.upper()}_PORT"
