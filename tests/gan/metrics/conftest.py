"""A small world for the metrics: 16 px images of three classes, a bundle, an extractor."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan.bundle import Bundle
from gan.image.dataset import Dataset
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import Extractor, load_extractor
from gan.metrics.meter import Meter
from gan.metrics.store import FeatureStore
from gan.sections import EvaluateSpec
from tests.gan.bundles import pack_untrained

CLASSES = ["bars", "checks", "dots"]
SIDE_PX = 16


def _draw(count: int, classes: list[str], channels: int = 3, seed: int = 0) -> Dataset:
    """Return a data set in which each class is another pattern, sorted by class."""
    random = np.random.default_rng(seed)
    labels = np.sort(np.arange(count) % len(classes)).astype(np.int64)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    patterns = [(y // 4) % 2, (x // 4 + y // 4) % 2, (y % 8 < 3) & (x % 8 < 3)]
    images = np.empty((count, channels, SIDE_PX, SIDE_PX), np.uint8)
    for image, label in zip(images, labels, strict=True):
        ink, paper = random.integers(0, 256, (2, channels, 1, 1))
        shift = tuple(random.integers(0, 8, 2))
        image[:] = np.where(np.roll(patterns[label % 3], shift, (0, 1)), ink, paper)
    groups = np.arange(count)
    return Dataset(images, labels, groups, classes, f"{seed:064x}", SIDE_PX, channels)


def _pack(folder: Path, data: Dataset, seed: int) -> Bundle:
    """Return a packed bundle of untrained networks that fits a data set."""
    return pack_untrained(
        folder,
        data.classes,
        seed=seed,
        resolution=data.resolution,
        channels=data.channels,
        recipe="patterns",
        data_digest=data.digest,
    )


@pytest.fixture(scope="session")
def draw() -> Callable[..., Dataset]:
    """Return what draws a data set: (count, classes, channels=3, seed=0)."""
    return _draw


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (folder, data, seed)."""
    return _pack


@pytest.fixture(scope="session")
def data() -> Dataset:
    """Return 240 colour images of three classes."""
    return _draw(240, CLASSES)


@pytest.fixture(scope="session")
def bundle(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained bundle."""
    return _pack(tmp_path_factory.mktemp("bundle"), data, seed=1)


@pytest.fixture(scope="session")
def extractor_folder(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an extractor that was trained for a moment."""
    folder = tmp_path_factory.mktemp("extractor")
    train_extractor(data, folder, seed=1, images_shown=6400)
    return folder


@pytest.fixture(scope="session")
def extractor(extractor_folder: Path) -> Extractor:
    """Return that extractor, opened."""
    return load_extractor(extractor_folder)


@pytest.fixture
def make_meter(tmp_path: Path) -> Callable[..., Meter]:
    """Return what makes a meter with a store of its own: (data, extractor, samples=300, seed=3)."""

    def make(data: Dataset, extractor: Extractor, samples: int = 300, seed: int = 3) -> Meter:
        spec = EvaluateSpec(samples=samples, seed=seed)
        store = FeatureStore(tmp_path / "features", lambda _: None)
        return Meter(data, extractor, spec, store, lambda _: None)

    return make


@pytest.fixture
def meter(make_meter: Callable[..., Meter], data: Dataset, extractor: Extractor) -> Meter:
    """Return a meter of 300 samples on the three classes."""
    return make_meter(data, extractor)
