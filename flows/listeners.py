"""Who listens on a port of this machine, and whether somebody still may."""

import contextlib
import socket
from collections.abc import Collection, Iterator

import psutil


def is_free(host: str, port: int) -> bool:
    """Tell whether a server may listen on a port, both at `host` and on loopback."""
    return all(_may_bind(each, port) for each in {host, "127.0.0.1"})


def _may_bind(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a loopback port, as far as we may know."""
    return listeners({port}).get(port)


def listeners(ports: Collection[int]) -> dict[int, psutil.Process]:
    """Return the processes that listen on these ports, as far as we may know."""
    found: dict[int, psutil.Process] = {}
    for port, pid in _listening():
        if port in ports and port not in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[port] = psutil.Process(pid)
    return found


def _listening() -> Iterator[tuple[int, int]]:
    """Yield each port that a process listens on, with its id."""
    try:  # all at once, where the system lets us: one by one takes seconds
        for each in psutil.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.pid:
                yield each.laddr.port, each.pid
    except psutil.AccessDenied:  # macOS, for whoever is not root
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                for own in process.net_connections(kind="tcp"):
                    if own.status == psutil.CONN_LISTEN and own.laddr:
                        yield own.laddr.port, process.pid
