"""Features are read once, and what was kept is trusted only as far as its digests."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gan.errors import DivergedError
from gan.metrics import store as store_module
from gan.metrics.extractors import Reading
from gan.metrics.store import FeatureStore, Portion, What

WHAT: What = {"bundle": "ab" * 32, "samples": 10}


class _Images:
    """Counts how often they are read."""

    def __init__(self) -> None:
        self.times = 0

    def read(self) -> Iterator[Portion]:
        self.times += 1
        for first in (0, 4, 8):
            rows = np.arange(first, min(first + 4, 10), dtype=np.float32)
            reading = Reading(rows[:, None] * np.ones(3, np.float32), rows.astype(np.int64))
            yield reading, np.repeat(rows.astype(np.uint8)[:, None], 2, axis=1)


def test_images_are_read_once(tmp_path: Path) -> None:
    """A second store on the same folder gives the same features without reading an image."""
    images = _Images()
    first = FeatureStore(tmp_path).features(WHAT, (10, 3, 2), images.read)
    again = FeatureStore(tmp_path).features(WHAT, (10, 3, 2), images.read)

    assert images.times == 1
    assert isinstance(again.features, np.memmap)
    np.testing.assert_array_equal(again.features, np.arange(10.0)[:, None] * np.ones(3))
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(again.thumbnails, np.repeat(np.arange(10)[:, None], 2, axis=1))
    assert again.predicted is not None
    np.testing.assert_array_equal(again.predicted, np.arange(10))


def test_other_images_are_other_features(tmp_path: Path) -> None:
    """Another bundle, number or seed is never answered with what was kept of the first."""
    images, store = _Images(), FeatureStore(tmp_path)
    store.features(WHAT, (10, 3, 2), images.read)
    store.features({**WHAT, "bundle": "cd" * 32}, (10, 3, 2), images.read)

    assert images.times == 2


def test_a_damaged_file_is_read_again(tmp_path: Path) -> None:
    """One flipped bit costs a reading, is said, and never reaches a figure."""
    said: list[str] = []
    images, store = _Images(), FeatureStore(tmp_path, said.append)
    store.features(WHAT, (10, 3, 2), images.read)
    (path,) = tmp_path.glob("*/features.npy")
    payload = bytearray(path.read_bytes())
    payload[-1] ^= 1
    path.write_bytes(payload)

    again = store.features(WHAT, (10, 3, 2), images.read)

    assert images.times == 2
    assert "features.npy" in said[0]
    np.testing.assert_array_equal(again.features[-1], np.full(3, 9.0))


def test_a_reading_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """What a failed reading left is not taken for features; the same call completes later."""
    images, store = _Images(), FeatureStore(tmp_path)

    def broken() -> Iterator[Portion]:
        yield next(images.read())
        raise DivergedError("not finite")

    with pytest.raises(DivergedError):
        store.features(WHAT, (10, 3, 2), broken)
    with pytest.raises(ValueError, match="10 features were announced, 4 came"):
        store.features(WHAT, (10, 3, 2), lambda: [next(images.read())])

    assert len(store.features(WHAT, (10, 3, 2), images.read).features) == 10


def test_two_at_once_read_once(tmp_path: Path) -> None:
    """A second process waits for the first and takes what it read."""
    images, found = _Images(), []

    def ask() -> None:
        kept = FeatureStore(tmp_path, lambda _: None).features(WHAT, (10, 3, 2), images.read)
        found.append(np.array(kept.features))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert images.times == 1
    assert len(found) == 4


def test_arrays_are_kept_too(tmp_path: Path) -> None:
    """What was made from features comes back bit by bit."""
    store = FeatureStore(tmp_path)
    made = {"mean": np.random.default_rng(1).normal(size=5), "count": np.asarray(7.0)}
    store.arrays({"of": "x"}, lambda: made)
    again = store.arrays({"of": "x"}, dict)

    np.testing.assert_array_equal(again["mean"], made["mean"])
    assert float(again["count"]) == 7.0


def test_the_oldest_go_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder does not grow for ever; the newest features stay whatever their size."""
    monkeypatch.setattr(store_module, "_LIMIT_BYTES", 1)
    images, store = _Images(), FeatureStore(tmp_path)
    store.features(WHAT, (10, 3, 2), images.read)
    store.features({**WHAT, "bundle": "cd" * 32}, (10, 3, 2), images.read)
    store.features({**WHAT, "bundle": "cd" * 32}, (10, 3, 2), images.read)

    assert images.times == 2
    assert len(list(tmp_path.glob("*/features.npy"))) == 1
