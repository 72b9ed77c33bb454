"""A whole iteration as one CUDA graph: recorded once, then replayed with other inputs.

An iteration of a small network is thousands of short kernels, and starting them costs the processor
more than running them costs the GPU. A graph starts them all at once. What it computes is fixed
when it is recorded: shapes, addresses, and Adam's betas, which are plain numbers in its kernels.
So a graph is recorded anew when those change (`gan.training.schedule` gives beta2 few values), and
by whoever builds another step, after a roll-back.

Recording runs nothing, but it must find everything in place: Adam's moments (made within a graph
they would be emptied by each replay), kernels, workspaces. The first iterations are therefore taken
as they are, on the stream that the recording uses.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from gan.training.feed import Half
from gan.training.step import Dials, Stepper

WARM_UP = 3  # iterations before the recording
_Inputs = tuple[Half, Half, Dials]


class Captured:
    """Takes iterations like `Stepper.take`, from the fourth on as a replay.

    Where a recording fails, this and all later iterations are taken as they are.

    Attributes:
        failure: Why recording failed, one line; None as long as it did not.
    """

    def __init__(
        self,
        stepper: Stepper,
        optimizers: Iterable[torch.optim.Adam],
        tell: Callable[[str], None],
    ) -> None:
        """Take what to record; its networks lie on the current CUDA device.

        Args:
            stepper: Whose iterations these are, of one process alone.
            optimizers: Its own, capturable, each with a rate that is a tensor on the device.
            tell: Hears why recording failed.
        """
        self._stepper, self._optimizers, self._tell = stepper, list(optimizers), tell
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph: Any = None
        self._held: _Inputs | None = None
        self._recorded: object = None
        self._taken = 0
        self.failure: str | None = None

    def take(self, critic: Half, generator: Half, dials: Dials) -> None:
        """Take one iteration on this process's slice of both batches."""
        inputs = (critic, generator, dials)
        constants = self._constants(inputs)
        if self.failure is None and self._taken >= WARM_UP and constants != self._recorded:
            self._record(inputs, constants)
        if self.failure is not None:
            self._stepper.take(*inputs)
        elif self._taken < WARM_UP:
            self._taken += 1
            self._take_aside(inputs)
        else:
            self._replay(inputs)

    def _take_aside(self, inputs: _Inputs) -> None:
        """Take an iteration as it is, on the stream that recordings use."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._stepper.take(*inputs)
        current.wait_stream(self._stream)

    def _replay(self, inputs: _Inputs) -> None:
        assert self._held is not None
        for held, given in zip(_tensors(self._held), _tensors(inputs), strict=True):
            held.copy_(given)
        self._graph.replay()

    def _record(self, inputs: _Inputs, constants: object) -> None:
        """Record an iteration on inputs of these shapes; nothing is computed by it."""
        self._forget()
        self._held = _copies(inputs)
        self._graph = torch.cuda.CUDAGraph()
        try:
            # The outer block gives the stream back after a failure, which the inner does not. Only
            # this thread is watched: the one that reads images ahead may pin memory meanwhile.
            with (
                torch.cuda.stream(self._stream),
                torch.cuda.graph(
                    self._graph, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                self._stepper.take(*self._held)
        except RuntimeError as error:  # CUDA's, the allocator's, or of an operation that would wait
            self.failure = " ".join(str(error).split())[:200]
            self._forget()
            self._tell(f"a step is no longer captured: {self.failure}")
        else:
            self._recorded = constants

    def _forget(self) -> None:
        """Free the memory of the recording, gradients included."""
        torch.cuda.synchronize()
        self._graph, self._held, self._recorded = None, None, None
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _constants(self, inputs: _Inputs) -> object:
        """Return what a recording cannot change."""
        betas = [group["betas"] for each in self._optimizers for group in each.param_groups]
        return betas, [tensor.shape for tensor in _tensors(inputs)]


def _tensors(inputs: Sequence[Half | Dials]) -> list[Tensor]:
    """Return the tensors of an iteration's inputs, in a fixed order."""
    return [getattr(part, each.name) for part in inputs for each in fields(part)]


def _copies(inputs: _Inputs) -> _Inputs:
    """Return equal inputs of their own memory, on the same device."""
    critic, generator, dials = inputs
    return (
        Half(*(tensor.clone() for tensor in _tensors([critic]))),
        Half(*(tensor.clone() for tensor in _tensors([generator]))),
        Dials(*(tensor.clone() for tensor in _tensors([dials]))),
    )
