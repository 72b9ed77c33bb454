"""Who listens on a port of this machine."""

import contextlib

import psutil


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a loopback port, as far as we may know."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="tcp"):
                listens = connection.status == psutil.CONN_LISTEN
                if listens and connection.laddr and connection.laddr.port == port:
                    return process
    return None
