"""What long work says while it runs: lines on stderr, at a calm pace, with the time left."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]


def say(line: str) -> None:
    """Write one line to stderr at once."""
    print(line, file=sys.stderr, flush=True)  # the one place that prints


class Pace:
    """Says how far a loop has come, at most every few seconds, and at its end."""

    def __init__(self, what: str, total: int, tell: Say = say, every_seconds: float = 5.0) -> None:
        """Start the clock.

        Args:
            what: What is counted and where, say `extractor: images shown`.
            total: The count at the end.
            tell: Where the lines go.
            every_seconds: The shortest time between two lines; the last line always comes.
        """
        self._what = what
        self._total = total
        self._tell = tell
        self._every_seconds = every_seconds
        self._began = self._last = time.monotonic()

    def at(self, done: int) -> None:
        """Say that `done` of the total are done, if a line is due."""
        now = time.monotonic()
        if done < self._total and now - self._last < self._every_seconds:
            return
        self._last = now
        spent = now - self._began
        if done < self._total:
            rest = f"about {spent / max(done, 1) * (self._total - done):.0f} s left"
        else:
            rest = f"done in {spent:.1f} s"
        self._tell(f"{self._what}: {done:,} of {self._total:,}, {rest}")
