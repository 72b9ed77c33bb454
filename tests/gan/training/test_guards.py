"""What stops a training."""

import os
import signal
import subprocess
import sys

import pytest

from gan.training.guards import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request(number: signal.Signals) -> None:
    """SIGTERM and SIGINT do not end the process: they are the reason to stop after the step."""
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.reason() is None
        os.kill(os.getpid(), number)
        assert stop.reason() == number.name

    assert signal.getsignal(number) is before


_OUTLIVES = """
import os, sys, time
from gan.training.guards import StopRequest
if os.fork():
    sys.exit(0) if sys.stdin.readline() else None
with StopRequest() as stop:
    print(stop.reason(), flush=True)
    while stop.reason() is None:
        time.sleep(0.02)
    print(stop.reason(), flush=True)
"""


def test_the_death_of_the_parent_is_noticed() -> None:
    """A training whose flow is gone stops, however the flow died."""
    with subprocess.Popen(
        [sys.executable, "-c", _OUTLIVES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "None\n"
        parent.send_signal(signal.SIGKILL)

        assert parent.stdout.readline() == "the process that started it is gone\n"
