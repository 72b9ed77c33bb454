"""Start one flow run as a process of its own: the command of a process pool's deployments.

    python -m flows.schedules.start prefect.engine        by a worker, in the workspace's root

What it prints goes to `.ganmill/logs/runs/<flow run>.log` and not to the worker: a pipe to it would
break with the worker, and what it runs is to go on. Nothing of ours is imported before that.
"""

import atexit
import os
import runpy
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

LOGS = Path(".ganmill") / "logs" / "runs"  # as `gan.paths` has it, below the present folder
_KEPT = 200  # logs; one is some kilobytes
# Prefect's 5 tries end a flow run some three minutes after the server's last answer, and each
# further try doubles that. Work that took hours is not thrown away for a server that is away over
# night; and it is asked often enough to go on soon after that.
_TRIES, _LONGEST_PAUSE_SECONDS = "2000", 30.0


def main() -> None:
    """Run the flow run that the environment names by the engine that the command line names."""
    _write_to_log(os.environ.get("PREFECT__FLOW_RUN_ID", "unnamed"))
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", _TRIES)
    ask_often()
    keep_going()
    status = 1
    atexit.register(lambda: _leave(status))  # what is registered first comes last
    try:
        _, engine = sys.argv
        sys.argv[:] = [engine]
        runpy.run_module(engine, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise


def _write_to_log(run: str) -> None:
    """Have a log of this run's own take all that it prints."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{Path(run).name}.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    old = sorted(LOGS.glob("*.log"), key=_age)[_KEPT:]
    for path in old:
        path.unlink(missing_ok=True)


def ask_often() -> None:
    """Bound the pauses between tries, which Prefect's client doubles each time."""
    from prefect.client import base

    doubled = base.clamped_poisson_interval  # type: ignore[attr-defined]  # theirs, imported there

    def bounded(seconds: float, jitter: float) -> float:
        return float(doubled(min(seconds, _LONGEST_PAUSE_SECONDS), jitter))

    base.clamped_poisson_interval = bounded  # type: ignore[attr-defined,assignment]


def keep_going() -> None:
    """Let a run go on whose place the server gave up while it was away for minutes.

    Prefect's engine would end it, so that no two runs work in one place. Ours have locks for that.
    """
    from prefect import flow_engine

    holding = flow_engine.maintain_concurrency_lease  # type: ignore[attr-defined]  # imported there

    def patient(
        lease_id: "UUID", seconds: float, *, raise_on_lease_renewal_failure: bool
    ) -> AbstractContextManager[None]:
        del raise_on_lease_renewal_failure
        held: AbstractContextManager[None] = holding(lease_id, seconds)
        return held

    flow_engine.maintain_concurrency_lease = patient  # type: ignore[attr-defined,assignment]


def _age(path: Path) -> float:
    """Return what is smaller the younger a file is; another process may have removed it."""
    try:
        return -path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _leave(status: int) -> None:
    """End at once: to take apart what MLflow and DVC imported takes seconds of a processor."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
