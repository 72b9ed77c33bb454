"""The process of a flow run: it waits for a server that is away, asks again soon, and goes on."""

import os
import subprocess
import sys

from flows.settings import Settings

_ASKS = """
from flows.schedules.start import ask_often
from prefect.client import base

before = base.clamped_poisson_interval(2**10, 0.2)
ask_often()
print(before > 60, *(base.clamped_poisson_interval(2**tries, 0.2) for tries in (1, 10, 2000)))
"""


def test_a_server_that_is_away_over_night_is_asked_often_a_minute() -> None:
    """Its own pauses double without end: a run would notice hours late that it is back."""
    done = subprocess.run(
        [sys.executable, "-c", _ASKS], env=os.environ, capture_output=True, text=True, check=True
    )
    was_long, first, *later = done.stdout.split()
    assert was_long == "True"
    assert 1 < float(first) < 3
    assert all(20 < float(seconds) < 40 for seconds in later)


_WORKS = """
import time, uuid
from flows.schedules.start import keep_going
from prefect import flow_engine

keep_going()
with flow_engine.maintain_concurrency_lease(uuid.uuid4(), 300, raise_on_lease_renewal_failure=True):
    for _ in range(80):
        time.sleep(0.1)
print("went on")
"""


def test_a_run_whose_place_was_given_up_goes_on(servers: Settings) -> None:
    """Hours of training are not ended because the server was away for longer than a lease."""
    address = {"PREFECT_API_URL": f"{servers.prefect_url}/api"}
    done = subprocess.run(
        [sys.executable, "-c", _WORKS],
        env={**os.environ, **address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "went on", done.stderr
    assert "Execution will continue" in done.stderr
