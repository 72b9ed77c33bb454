"""What stops a training that nobody watches: a request, a dead parent, a value gone wrong."""

import math
import os
import signal
from types import FrameType

from gan.errors import DivergedError


class StopRequest:
    """Notices SIGTERM, SIGINT, and the death of the process that started this one."""

    def __init__(self) -> None:
        """Install the signal handlers; the training loop asks `reason()` after each step."""
        self._parent = os.getppid()
        self._signal: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

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


def require_finite(nimg: int, **losses: float) -> None:
    """Stop before an optimizer uses a loss that is not finite.

    Raises:
        DivergedError: Naming the loss; the last checkpoint is from before it.
    """
    for name, value in losses.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"training: {name} became {value} at {nimg / 1000:.1f} kimg. "
                "Lower train.lr or raise train.gamma in params.yaml."
            )
