"""A bundle to mint from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gan.bundle import Bundle
from tests.gan.bundles import pack_untrained

CLASSES = ["cats", "hearts & co", "stars"]


def _pack(folder: Path, seed: int, classes: list[str] = CLASSES, channels: int = 3) -> Bundle:
    return pack_untrained(folder, classes, seed=seed, channels=channels, recipe="stickers")


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (folder, seed, classes, channels)."""
    return _pack


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained 16 px bundle of three classes."""
    return _pack(tmp_path_factory.mktemp("bundle"), seed=1)
