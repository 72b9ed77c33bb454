"""What every fault test has: a warm process to be killed, and folders compared by their bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gan.durable import sha256

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a child ended.

    Attributes:
        status: Its exit code, or minus the signal that it died of.
        seconds: Of the processor.
    """

    status: int
    seconds: float


class Server:
    """Runs works in children of a warm process, and kills them."""

    def __init__(self) -> None:
        """Start it; it answers once it has imported torch."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, work: str, folder: Path, *, die_at: int = 0, kill_after: float | None = None
    ) -> Ended:
        """Do a work in `folder` in a child, and wait for its end.

        Args:
            work: Its name.
            folder: Where.
            die_at: The change of the disk at which the child ends itself; 0 for none.
            kill_after: Seconds of processor time until SIGKILL, if it still lives then.
        """
        server = self._process
        assert server.stdin is not None
        assert server.stdout is not None
        asked = {"work": work, "folder": str(folder), "die_at": die_at, "kill_after": kill_after}
        server.stdin.write(f"{json.dumps(asked)}\n")
        server.stdin.flush()
        return Ended(*json.loads(server.stdout.readline()))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return the warm process."""
    warm = Server()
    yield warm
    warm.close()


def tree(folder: Path) -> dict[str, str]:
    """Return the digest of each file below `folder`, by its path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in paths}
