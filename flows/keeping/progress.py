"""How far copying has come: a bar on a terminal, a line every few seconds in a log."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BAR, _CALM_SECONDS, _LINE_SECONDS = 24, 0.1, 10.0
_MB = 1e6


class Progress:
    """Counts bytes against a total."""

    def __init__(self, what: str, total_bytes: int, *, is_quiet: bool = False) -> None:
        """Start the clock.

        Args:
            what: What is done, say `copying`.
            total_bytes: At the end; 0 says nothing at all.
            is_quiet: Say nothing.
        """
        self._what, self._total = what, total_bytes
        self._done = 0
        self._is_quiet = is_quiet or not total_bytes
        self._on_terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._last = self._began if not self._on_terminal else 0.0

    def add(self, count: int) -> None:
        """Count bytes, and say so if a line is due."""
        self._done += count
        now = time.monotonic()
        calm = _CALM_SECONDS if self._on_terminal else _LINE_SECONDS
        if not self._is_quiet and now - self._last >= calm:
            self._last = now
            self._say("")

    def end(self) -> None:
        """Say that it is done, where anything was said before or it took its time."""
        if not self._is_quiet and (self._on_terminal or self._last > self._began):
            self._say("\n" if self._on_terminal else "")

    def _say(self, after: str) -> None:
        share = min(1.0, self._done / self._total)
        spent = time.monotonic() - self._began
        left = spent * (1 - share) / share if share else 0.0
        line = (
            f"{self._what}  [{('#' * round(_BAR * share)).ljust(_BAR, '.')}] "
            f"{self._done / _MB:,.0f} of {self._total / _MB:,.0f} MB, {left:.0f} s left"
        )
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[2K{line[:width]}{after}")
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def progress(what: str, total_bytes: int, *, is_quiet: bool = False) -> Iterator[Progress]:
    """Yield a count of bytes that says so at the end, however it ends."""
    bar = Progress(what, total_bytes, is_quiet=is_quiet)
    try:
        yield bar
    finally:
        bar.end()
