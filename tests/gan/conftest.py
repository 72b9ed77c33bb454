"""Bundles for the tests of the engine: real networks, untrained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gan.bundle import Bundle
from tests.gan.bundles import pack_untrained


def _pack(folder: Path, *, resolution: int = 16, classes: int = 2, seed: int = 1) -> Bundle:
    """Return a packed bundle of RGB networks whose weights depend on `seed`."""
    names = [f"class {n}" for n in range(classes)]
    return pack_untrained(folder, names, seed=seed, resolution=resolution, kimg=1.0)


@pytest.fixture(scope="session")
def pack_bundle() -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (folder, resolution=16, classes=2, seed=1)."""
    return _pack
