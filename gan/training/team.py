"""The processes of one training: each takes an equal slice of every batch, and all stay equal.

What is random is drawn for the whole batch in every process and sliced, so that the same global
batch gives the same gradients up to the order of sums, however many processes share it.

What is exchanged is tensors, and plain data as JSON; on the device by NCCL where that is a GPU, and
between the hosts by gloo, which waits for no device. Every process makes the same exchanges in the
same order. When one of them is gone, the others learn it at their next exchange.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gan.errors import PeerError

T = TypeVar("T")


class Team:
    """This process among those that train together; alone, every exchange is free.

    Every exchange raises PeerError when another process is gone.

    Attributes:
        rank: Of this process, from 0; 0 leads: it alone writes.
        size: Processes.
        local_rank: Of this process among those on its machine: the number of its GPU.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        """Take the place that the launcher gave; the process group must be up where size > 1."""
        self.rank, self.size, self.local_rank = rank, size, local_rank

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks to people."""
        return self.rank == 0

    def slice_of(self, count: int) -> slice:
        """Return this process's part of a batch of `count`, a multiple of the team's size."""
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average(self, network: nn.Module) -> None:
        """Replace every gradient by its mean over the team, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _contact():
            dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def worst(self, value: Tensor) -> Tensor:
        """Return the highest of a tensor's values over the team."""
        if self.size == 1:
            return value
        highest = value.clone()
        with _contact():
            dist.all_reduce(highest, op=dist.ReduceOp.MAX)
        return highest

    def rows(self, values: Tensor) -> Tensor:
        """Return the equal-shaped tensors of all processes: [size, ...], by rank."""
        if self.size == 1:
            return values[None]
        found = [torch.empty_like(values) for _ in range(self.size)]
        with _contact():
            dist.all_gather(found, values)
        return torch.stack(found)

    def heard(self, word: str | None, *flags: bool) -> tuple[str | None, list[bool]]:
        """Return in every process what any of them says: cheap enough for each step.

        Args:
            word: What this process has to say, or None; heard is the highest rank's.
            flags: Each is heard as True when one process raised it.
        """
        if self.size == 1:
            return word, list(flags)
        speaker = 0 if word is None else self.rank + 1
        said = self.worst(torch.tensor([speaker, *flags], dtype=torch.int64)).tolist()
        if said[0]:
            word = self.told(word, by=said[0] - 1)
        return word, [bool(flag) for flag in said[1:]]

    def told(self, value: T, by: int = 0) -> T:
        """Return what the process of rank `by` passes, in every process; plain JSON data."""
        if self.size == 1:
            return value
        payload = bytearray(json.dumps(value).encode()) if self.rank == by else bytearray()
        count = torch.tensor([len(payload)])
        with _contact():
            dist.broadcast(count, src=by)
            box = torch.empty(int(count), dtype=torch.uint8)
            if self.rank == by:
                box = torch.frombuffer(payload, dtype=torch.uint8)
            dist.broadcast(box, src=by)
        heard: T = json.loads(bytes(box.tolist()))
        return heard

    def same_weights(self, networks: Iterable[nn.Module]) -> None:
        """Copy the leader's weights and buffers into every process."""
        if self.size == 1:
            return
        for network in networks:
            for tensor in network.state_dict().values():
                whole = tensor.contiguous()  # channels_last is not, and would be refused
                with _contact():
                    dist.broadcast(whole, src=0)
                tensor.copy_(whole)

    def wait(self) -> None:
        """Return once every process is here: what the leader wrote before is there for all."""
        self.worst(torch.zeros(1))


@contextmanager
def _contact() -> Iterator[None]:
    """Turn what torch says when a connection breaks into the error that it is.

    Raises:
        PeerError: An exchange failed.
    """
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split()).split(". ")[0][:200]
        raise PeerError(
            f"training: lost contact with another of its processes ({reason}). If they are not "
            "started again now, the same command goes on from the last checkpoint."
        ) from error
