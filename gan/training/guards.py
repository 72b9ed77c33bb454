"""What stops a training that nobody watches: a request, a dead parent, a value gone wrong."""

import math
import os
import signal
from types import FrameType, TracebackType
from typing import Self

from gan.errors import DivergedError


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
