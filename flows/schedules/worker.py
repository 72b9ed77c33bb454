"""Run what is due: one process that works for both work pools, as long as it is not stopped.

    python -m flows.schedules.worker        started by `ganmill up`, ended by `ganmill down`
    ganmill worker --pool train             on a further machine

The first keeps the deployments those of `params.yaml` as it changes; the second leaves them alone.
How runs are started, ended and outlive a server that is away is told in `flows.schedules.hosting`.
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from flows.schedules.plans import POOL, TRAIN_POOL
from flows.settings import Settings, load_settings, quiet_environment, workspace
from gan.errors import GanmillError
from gan.paths import Layout

Pools = Literal["train", "main", "both"]
POOLS: dict[str, tuple[str, ...]] = {
    "train": (TRAIN_POOL,),
    "main": (POOL,),
    "both": (TRAIN_POOL, POOL),
}


def work(layout: Layout, settings: Settings, pools: Pools, *, name: str, follows: bool) -> None:
    """Work for the pools until a signal ends it.

    Args:
        layout: The workspace.
        settings: Where Prefect is, and how many trainings may go on here at once.
        pools: Which.
        name: By which Prefect knows this worker; two of one name are one to it.
        follows: Whether to keep the deployments those of `params.yaml`, as they are now.
    """
    os.environ.update(quiet_environment(settings, layout))
    # Runs are started as `python`, which is to be this one.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    os.chdir(layout.root)
    from flows.schedules.hosting import Host  # Prefect reads the environment as it is imported

    asyncio.run(Host(layout, settings, POOLS[pools], name, follows).serve())


def name_of_machine() -> str:
    """Return what Prefect knows this machine's worker by; it takes no `/` and no `%`."""
    return socket.gethostname().replace("/", "-").replace("%", "-")


def main(words: Sequence[str] | None = None) -> int:
    """Work as the command line says, until stopped; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.schedules.worker", description=__doc__)
    parser.add_argument("--pool", choices=[*POOLS], default="both")
    parser.add_argument("--name", default=name_of_machine())
    given = parser.parse_args(words)
    try:
        layout, settings = workspace(), load_settings()
        work(layout, settings, given.pool, name=given.name, follows=True)
    except GanmillError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
