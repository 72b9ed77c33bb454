"""What a generator makes of latents, as stored items: for pictures and figures during training.

The network may be in training mode and may keep running statistics (batch normalisation): it is
run in evaluation mode, without gradients, and left exactly as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan.modality import Modality

# Few items at a time: faster on a CPU (the maps stay in its cache), and on a GPU never more memory
# than a training step holds there.
_PORTION = 25


@torch.no_grad()
def generate(room: Modality, network: nn.Module, z: Tensor, c: Tensor) -> NDArray[np.uint8]:
    """Return the items of latents, uint8 [N, ...]; the network runs where its weights are.

    Args:
        room: The modality.
        network: G: (z, c) -> items [N, ...] float32, about [-1, 1].
        z: Latents, float32 [N, z_dim], on any device; N is at least 1.
        c: Class of each, int64 [N].

    Raises:
        DivergedError: An item holds a value that is not finite.
    """
    device = next(network.parameters()).device
    with _evaluating(network):
        parts = [
            room.to_uint8(network(some_z.to(device), some_c.to(device)))
            for some_z, some_c in zip(
                torch.split(z, _PORTION), torch.split(c, _PORTION), strict=True
            )
        ]
    return np.concatenate(parts)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put every part of a network into evaluation mode, and each back into the one it was in."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, was_training in modes:
            part.training = was_training
