"""Bundles for the tests of the engine: real networks, untrained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan.bundle import Bundle, Card, pack
from gan.modality import modality


def _pack(folder: Path, *, resolution: int = 16, classes: int = 2, seed: int = 1) -> Bundle:
    """Return a packed bundle of RGB networks whose weights depend on `seed`."""
    room = modality("image")
    torch.manual_seed(seed)
    shape = ("tiny", resolution, 3, classes, torch.float32)
    card = Card(
        recipe="tiny",
        preset="tiny",
        resolution=resolution,
        channels=3,
        z_dim=room.z_dim("tiny"),
        classes=[f"class {n}" for n in range(classes)],
        data_digest="d" * 64,
        start_digest=None,
        kimg=1.0,
        total_kimg=1.0,
        seed=seed,
        precision="float32",
        torch=torch.__version__,
        train={},
    )
    return pack(folder, room.build_generator(*shape), room.build_critic(*shape), card)


@pytest.fixture(scope="session")
def pack_bundle() -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (folder, resolution=16, classes=2, seed=1)."""
    return _pack
