"""Which real images come next, as a function of how many were shown: nothing to save or restore."""

from functools import lru_cache

import torch
from torch import Tensor

from gan.seeding import generator_at


def indices(seed: int, role: str, start: int, count: int, size: int) -> Tensor:
    """Return the positions of images `start` to `start + count` of an endless shuffled walk.

    Args:
        seed: Of the run.
        role: Separates the walks of the critic and the generator.
        start: Images drawn so far.
        count: How many are wanted.
        size: Images in the data set.

    Returns:
        int64, [count]; each pass over the data set is one permutation of [0, size).
    """
    parts = []
    while count > 0:
        lap, offset = divmod(start, size)
        parts.append(_order(seed, role, lap, size)[offset : offset + count])
        start += len(parts[-1])
        count -= len(parts[-1])
    return torch.cat(parts)


@lru_cache(maxsize=4)  # two walks, each at the seam of two laps: a million images take 15 ms
def _order(seed: int, role: str, lap: int, size: int) -> Tensor:
    return torch.randperm(size, generator=generator_at(seed, "order", role, lap))
