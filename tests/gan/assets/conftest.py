"""A bundle to mint from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan.bundle import Bundle, Card, pack
from gan.modality import modality

CLASSES = ["cats", "hearts & co", "stars"]


def _pack(folder: Path, seed: int, classes: list[str] = CLASSES, channels: int = 3) -> Bundle:
    room = modality("image")
    torch.manual_seed(seed)
    shape = ("tiny", 16, channels, len(classes), torch.float32)
    card = Card(
        recipe="stickers",
        preset="tiny",
        resolution=16,
        channels=channels,
        z_dim=room.z_dim("tiny"),
        classes=classes,
        data_digest="d" * 64,
        start_digest=None,
        kimg=0.0,
        total_kimg=0.0,
        seed=seed,
        precision="float32",
        torch=torch.__version__,
        train={},
    )
    return pack(folder, room.build_generator(*shape), room.build_critic(*shape), card)


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (folder, seed, classes, channels)."""
    return _pack


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained 16 px bundle of three classes."""
    return _pack(tmp_path_factory.mktemp("bundle"), seed=1)
