"""A limit on the time that one of many pieces of work may take.

What a file can make a decoder do is bounded from its header (`decode`); this is the last resort for
what nobody foresaw. It is generous, so that a slow machine finds the same facts as a fast one.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class OutOfTimeError(BaseException):
    """The piece of work at hand took too long.

    No `Exception`, so that no handler inside of a codec's plugin takes it for damage in a file.
    """


class TimeLimit:
    """A context manager: the work after each `start` may take so many seconds, until `stop`.

    It ends what Python runs between two calls into C, so a call into C is ended when it returns.
    Signals reach main threads alone: in any other thread there is no limit, and none is needed for
    files within the decoder's caps.
    """

    def __init__(self, seconds: float) -> None:
        """Allow `seconds` for each piece."""
        self._seconds = seconds
        self._can = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        """Take over the alarm signal."""
        if self._can:
            self._before = signal.signal(signal.SIGALRM, _ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the alarm signal back."""
        self.stop()
        if self._can:
            signal.signal(signal.SIGALRM, self._before)

    def start(self) -> None:
        """Begin a piece; `OutOfTimeError` is raised when it takes too long."""
        if self._can:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def stop(self) -> None:
        """End the piece."""
        if self._can:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError
