"""Tests of what the doctor says of ports."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from flows.doctor import ports
from flows.servers.processes import MARK
from flows.settings import Settings
from gan.paths import Layout

_SERVE = """
import socket, sys
with socket.socket() as here:
    here.bind(("127.0.0.1", 0))
    here.listen()
    print(here.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(settings_on: Callable[..., Settings], workspace: Layout) -> Settings:
    """Return settings with three free ports."""
    return settings_on()


@contextmanager
def _listening(**more: str) -> Iterator[int]:
    """Yield the port of a process that listens, with some variables."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        env={**os.environ, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.kill()


def test_free_ports_are_fine(workspace: Layout, settings: Settings) -> None:
    """Before `ganmill up` all three are named, and free."""
    (line,) = ports.ports(workspace, settings)
    assert line.state == "ok"
    assert f"{settings.mlflow_port} mlflow" in line.says


def test_a_taken_port_is_named_with_who_has_it(workspace: Layout, settings: Settings) -> None:
    """The line names the process and the setting that leads away from it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name in ("prefect", "mlflow", "metrics"):
            given = settings.model_copy(update={f"{name}_port": port})
            (line,) = ports.ports(workspace, given)
            assert line.state == "bad"
            assert f"{port} for {name} is taken by process {os.getpid()}" in line.says
            assert f"GANMILL_{name.upper()}_PORT" in line.mend


def test_our_own_server_is_told_from_that_of_another_workspace(
    workspace: Layout, settings: Settings
) -> None:
    """What `ganmill up` of this workspace started is fine; another one's is named by its folder."""
    with _listening(**{MARK: str(workspace.root)}) as port:
        given = settings.model_copy(update={"mlflow_port": port})
        (line,) = ports.ports(workspace, given)
        assert (line.state, f"{port} mlflow (ours)" in line.says) == ("ok", True)
    with _listening(**{MARK: "/somewhere/else"}) as port:
        given = settings.model_copy(update={"mlflow_port": port})
        (line,) = ports.ports(workspace, given)
        assert (line.state, "the ganmill of /somewhere/else" in line.says) == ("bad", True)


def test_one_port_for_two_is_told(workspace: Layout, settings: Settings) -> None:
    """Two settings with one port are both named."""
    given = settings.model_copy(update={"mlflow_port": settings.prefect_port})
    (line,) = ports.ports(workspace, given)
    assert line.state == "bad"
    assert "GANMILL_PREFECT_PORT and GANMILL_MLFLOW_PORT" in line.says


def test_a_server_of_somebody_else_has_no_port_here(workspace: Layout, settings: Settings) -> None:
    """Where the environment gives both servers, only the monitor's port is looked at."""
    given = settings.model_copy(
        update={
            "prefect_api_url": "http://prefect.example.com/api",
            "mlflow_tracking_uri": "http://mlflow.example.com",
        }
    )
    (line,) = ports.ports(workspace, given)
    assert line.says == f"{settings.metrics_port} metrics: free or ours"
