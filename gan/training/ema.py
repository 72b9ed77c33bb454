"""The average of the generator's weights: what is measured, bundled and minted from."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, images: int, half_life: float) -> None:
    """Move `average` towards `network` by `images` real images; a half-life of 0 copies it.

    w_ema <- w + (w_ema - w) 0.5^(images / half_life). The networks have no buffers.
    """
    keep = 0.5 ** (images / half_life) if half_life > 0 else 0.0
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
