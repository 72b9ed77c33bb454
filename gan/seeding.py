"""Randomness as a function of place, so that no generator state is ever saved.

A killed run that comes back to the same place (say "train", nimg 51,200) draws the same numbers.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_at(seed: int, *place: int | str) -> int:
    """Return a 56-bit seed that depends only on `seed` and `place`."""
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator_at(
    seed: int, *place: int | str, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """Return a generator on `device` whose stream depends only on `seed` and `place`.

    The streams of different device types differ: what must be equal everywhere (latents of
    assets, the order of images) is drawn on the CPU and moved.
    """
    import torch  # a second; what draws no tensors does without

    return torch.Generator(device).manual_seed(seed_at(seed, *place))
