"""A detector that learnt a little: drawn sprites against what two untrained models make."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan.bundle import Bundle
from gan.detector import DetectorCard, train_detector
from gan.image.dataset import Dataset
from gan.sections import DetectorSpec
from tests.gan.bundles import pack_untrained

CLASSES = ["circles", "squares"]
SPEC = DetectorSpec(kimg=1.1)


def _sprites(count: int, channels: int = 3, side: int = 16) -> Dataset:
    """Return discs and squares of random colours, places and sizes on white."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:side, :side]
    images = np.empty((count, channels, side, side), np.uint8)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    for place, label in enumerate(labels):
        middle, size = random.uniform(side * 0.35, side * 0.65, 2), random.uniform(2.5, side / 3)
        away = np.abs(rows - middle[0]), np.abs(columns - middle[1])
        distance = np.maximum(*away) if label else np.hypot(*away)
        cover = np.clip(size - distance + 0.5, 0, 1)
        colour = random.integers(0, 200, 3 if channels == 4 else channels)[:, None, None]
        if channels == 4:
            images[place, :3], images[place, 3] = (colour * cover).round(), (255 * cover).round()
        else:
            images[place] = (colour * cover + 255 * (1 - cover)).round()
    groups = np.arange(count, dtype=np.int64)
    return Dataset(images, labels, groups, CLASSES, "5" * 64, side, channels)


@pytest.fixture(scope="session")
def sprites() -> Callable[..., Dataset]:
    """Return what draws real images: (count, channels=3, side=16)."""
    return _sprites


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Return two untrained models; the first counts as champion."""
    root = tmp_path_factory.mktemp("models")
    return [pack_untrained(root / str(seed), CLASSES, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, bundles: list[Bundle]
) -> tuple[Path, DetectorCard]:
    """Return the folder and the card of a detector of both models; some images are held out."""
    folder = tmp_path_factory.mktemp("detector")
    return folder, train_detector(folder, _sprites(700), bundles, SPEC, 1, lambda _: None)
