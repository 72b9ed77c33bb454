"""What ends a training that no longer steps: a device that hangs, a disk that never answers.

A stuck device cannot be asked for its weights, so there is no checkpoint to write, and the thread
that waits for it cannot be interrupted: Python runs no handler before that call comes back. What
helps is to end the process at once, which frees the device and its lock, and to say so; the same
command goes on from the last checkpoint.
"""

import faulthandler
import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from gan.durable import append_line, record_failure
from gan.errors import GanmillError
from gan.training.stats import STATS

_REPORT_SECONDS = 10.0  # for the report: its disk may be what hangs
_LOOKS = 20  # at the clock, while one patience lasts
_EXIT_CODE = 1


class StallGuard:
    """Ends the process when the training loop has not called `beat` for too long.

    Two clocks, both monotonic. A thread of ours counts the time that it sees pass itself, so that
    a paused process is not taken for a stuck one. Behind it stands the interpreter's own watchdog,
    twice as patient, for a call that hangs with the interpreter's lock, where no thread of Python
    runs; it prints where each thread is. That one does count a pause: a process paused for longer
    ends when it wakes, and the same command goes on.

    Example:
        >>> with StallGuard(folder, "train stickers", failure) as stall:
        ...     step()
        ...     stall.beat(nimg, seconds)
    """

    def __init__(
        self,
        folder: Path,
        label: str,
        failure: Path,
        *,
        seconds: float = 600.0,
        first_seconds: float = 1800.0,
    ) -> None:
        """Set the patience.

        Args:
            folder: Of the training: the event goes into its `stats.jsonl`.
            label: Begins the line, say `train stickers`.
            failure: Where the line is recorded for the process that started this one.
            seconds: The longest time between two beats.
            first_seconds: The longest time to the first one: kernels are compiled before it.
        """
        self._folder, self._label, self._failure = folder, label, failure
        self._seconds = seconds
        self._limit = max(first_seconds, seconds)
        self._at = {"nimg": 0, "seconds": 0.0}
        self._beats = 0
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stall guard", daemon=True)

    def __enter__(self) -> Self:
        """Start to count."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to count."""
        self._left.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def beat(self, nimg: int, seconds: float) -> None:
        """Say that a step came to its end; three assignments, cheap enough for each step.

        Args:
            nimg: Real images shown, for the message.
            seconds: Time spent training, for the event.
        """
        self._at = {"nimg": nimg, "seconds": round(seconds, 3)}
        self._limit = self._seconds
        self._beats += 1

    def _look(self) -> None:
        """Count the time since the last beat; runs in the guard's thread."""
        seen, silent, before = self._beats, 0.0, time.monotonic()
        while True:
            wait = self._limit / _LOOKS
            faulthandler.dump_traceback_later(2 * self._limit, exit=True, file=2)
            if self._left.wait(wait):
                return
            now = time.monotonic()
            silent += min(now - before, 2 * wait)  # more than that is a pause of the whole process
            before = now
            if self._beats != seen:
                seen, silent = self._beats, 0.0
            elif silent >= self._limit:
                self._end()

    def _end(self) -> None:
        """Say what happened, then end the process, whatever became of the saying."""
        report = threading.Thread(target=self._report, daemon=True)
        report.start()
        report.join(_REPORT_SECONDS)
        os._exit(_EXIT_CODE)

    def _report(self) -> None:
        at = self._at
        error = GanmillError(
            f"{self._label}: no step for {self._limit:.0f} s after {at['nimg'] / 1000:.1f} kimg; "
            "the device or a disk hangs. Look at it (nvidia-smi, dmesg), then run the same "
            "command: it goes on from the last checkpoint."
        )
        print(error, file=sys.stderr, flush=True)
        with suppress(GanmillError):  # the disk may be full or gone; the line is on stderr
            record_failure(self._failure, error)
        with suppress(GanmillError):
            row = {**at, "event": "stall", "guard": "stall", "message": str(error)}
            append_line(self._folder / STATS, json.dumps(row))
