"""A few real steps of the real networks on the real data, on a copy that is then thrown away.

They show what a step takes: seconds, memory, processors, power. Neither a checkpoint nor the
training's own networks are touched.
"""

import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan.training.capture import WARM_UP, Captured
from gan.training.feed import Feed
from gan.training.machine import snapshot
from gan.training.session import Session, build_stepper, fresh_state
from gan.training.step import Dials
from gan.training.team import Team
from gan.training.watch import remedy

BEFORE = WARM_UP + 2  # steps before the clock starts; where captured, the last two are replayed
_DIALS = (1.0, 0.99, 0.3, float("inf"), float("inf"))  # any: no value changes what a step costs
_LEAST, _MOST = 2, 200  # steps under the clock
_LOOK = {"cpu": 1, "cuda": 10}  # steps between two looks at the clock: a look waits for the device


@dataclass(frozen=True)
class Trial:
    """What some steps took.

    Attributes:
        images: Of one step of this process.
        seconds: Of one step.
        peak_bytes: The most memory that torch held on the device; on a processor, the most that
            this process ever held (resident set).
        processors: Processors that this process kept busy, 0 and up.
        watts: Of the GPU; None where the driver does not tell.
        weights: All weights after `BEFORE` steps, float32 on the CPU.
        failure: Why no step was captured, where that was asked for; else None.
    """

    images: int
    seconds: float
    peak_bytes: int
    processors: float
    watts: float | None
    weights: Tensor
    failure: str | None

    @property
    def images_per_second(self) -> float:
        """Of this process."""
        return self.images / self.seconds


def try_out(
    session: Session, feed: Feed, *, parts: int, captures: bool = False, seconds: float = 2.0
) -> Trial:
    """Take steps of a copy of the training, from its start, for about `seconds`.

    This process computes alone: where others share the batch, no gradient is exchanged.

    Args:
        session: The training.
        feed: Placed on its device.
        parts: Micro-batches of a step.
        captures: Whether to replay a step as a CUDA graph.
        seconds: How long the clock runs, two steps at least.

    Raises:
        torch.OutOfMemoryError: The device is too small; what was allocated is free once the error
            is, and `release` was called.
    """
    device, batch = session.hardware.device, session.recipe.train.batch_size
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    state, failures = fresh_state(session), list[str]()
    stepper = build_stepper(session, state, remedy(0), Team(), parts=parts)
    take = stepper.take
    if captures:
        take = Captured(stepper, state.optimizers.values(), failures.append).take
    dials = Dials(*torch.tensor(_DIALS).to(device))

    def steps(begin: int, count: int) -> None:
        for place in range(begin, begin + count):
            take(*feed.at(place * batch), dials)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    steps(0, BEFORE)
    learnt = [p.detach().flatten() for name in "GD" for p in state.networks[name].parameters()]
    weights = torch.cat(learnt).cpu()
    taken, spent, processors = _clocked(steps, _LOOK[device.type], seconds)
    return Trial(
        images=batch // session.team.size,
        seconds=spent / taken,
        peak_bytes=_peak_bytes(device),
        processors=processors,
        watts=snapshot().get("gpu_watts"),
        weights=weights,
        failure=failures[0] if failures else None,
    )


def release(device: torch.device) -> None:
    """Give memory of a trial that is over back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _clocked(
    steps: Callable[[int, int], None], at_once: int, seconds: float
) -> tuple[int, float, float]:
    """Take steps for about `seconds`; return how many, the time, and processors kept busy."""
    began, used, taken, spent = time.monotonic(), time.process_time(), 0, 0.0
    while taken < _LEAST or (spent < seconds and taken < _MOST):
        steps(BEFORE + taken, at_once)
        taken, spent = taken + at_once, time.monotonic() - began
    return taken, spent, (time.process_time() - used) / spent


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
