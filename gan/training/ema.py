"""The average of the generator's weights: what is measured, bundled and minted from."""

import torch
from torch import Tensor, nn


def keep_of(images: int, half_life: float) -> float:
    """Return how much of the average is kept over `images` real images: 0.5^(images / half-life).

    A half-life of 0 keeps nothing: the average is the network itself.
    """
    return 0.5 ** (images / half_life) if half_life > 0 else 0.0


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, keep: Tensor) -> None:
    """Move `average` towards `network`: w_ema <- w + (w_ema - w) keep; buffers are copied.

    Args:
        average: Changed in place.
        network: Of the same shape.
        keep: 0-dimensional float32, in [0, 1].
    """
    for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
        mine.lerp_(theirs, 1 - keep)
    for held, current in zip(average.buffers(), network.buffers(), strict=True):
        held.copy_(current)
