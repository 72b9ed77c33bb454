"""The one seam of the fault tests: what passes `gan.changes._operation` is counted, and can fail.

with failing_at(3, errno.ENOSPC) as passed:
    save_checkpoint(folder, state)      # its third change of the disk finds the disk full
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gan import changes

KILLED = 9


@contextmanager
def failing_at(n: int, code: int, *, lasting: bool = False) -> Iterator[list[str]]:
    """Let the n-th change of the disk raise OSError of this errno; yield what passed so far.

    Args:
        n: Counted from 1; beyond the last one, nothing fails.
        code: Say `errno.ENOSPC`.
        lasting: Whether every later one fails too, as on a disk that is gone.
    """

    def fail(count: int) -> None:
        if count == n or (lasting and count > n):
            raise OSError(code, os.strerror(code))

    with _passing(fail) as passed:
        yield passed


@contextmanager
def dying_at(n: int) -> Iterator[list[str]]:
    """End the process at the n-th change of the disk, before it happens: nothing is tidied up."""

    def die(count: int) -> None:
        if count == n:
            os._exit(KILLED)

    with _passing(die) as passed:
        yield passed


@contextmanager
def _passing(meet: Callable[[int], None]) -> Iterator[list[str]]:
    passed: list[str] = []

    def operation(name: str, path: Path) -> None:
        passed.append(f"{name} {path.name}")
        meet(len(passed))

    before = changes._operation
    changes._operation = operation
    try:
        yield passed
    finally:
        changes._operation = before
