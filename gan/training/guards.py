"""What stops a training from outside: a request, or the death of the process that started it."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self


class StopRequest:
    """Notices SIGTERM, SIGINT, and the death of the process that started this one.

    While it is entered it holds the signal handlers; the training loop asks `reason()` after each
    step. Enter it before the slow imports, so that no signal and no death falls into a gap.
    """

    def __init__(self) -> None:
        """Remember the parent of this moment."""
        self._parent = os.getppid()
        self._signal: int | None = None

    def __enter__(self) -> Self:
        """Install the handlers."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the handlers of before back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reason(self) -> str | None:
        """Return why training must stop now, or None."""
        if self._signal is not None:
            return signal.Signals(self._signal).name
        if os.getppid() != self._parent:
            return "the process that started it is gone"
        return None

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number
