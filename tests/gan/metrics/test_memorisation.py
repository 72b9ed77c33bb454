"""Copies among fakes, told by held-out images, on sets whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gan.metrics.memorisation import Memorisation, is_copying, memorisation, thumbnails

Points = NDArray[np.float64]
TRAINING, HELD_OUT = 1200, 120


def _cloud(count: int, seed: int, dims: int = 8) -> Points:
    """Return samples of one distribution, with dense and sparse regions."""
    random = np.random.default_rng(seed)
    wide = random.choice([0.2, 1.0, 3.0], (count, 1))
    return np.asarray(random.standard_normal((count, dims)) * wide)


TRAINED, HELD, FRESH = _cloud(TRAINING, 11), _cloud(HELD_OUT, 12), _cloud(1000, 13)


def _ends(found: Memorisation) -> list[float]:
    assert found.memorisation is not None
    assert found.copied_share is not None
    one, other = found.memorisation, found.copied_share
    return [one.value, one.low, one.high, other.value, other.low, other.high]


def test_copies_score_one_and_new_samples_a_half() -> None:
    """Near 1 with all of it copied, 0.5 and 0 within the intervals with none."""
    copies = _ends(memorisation(TRAINED, HELD, TRAINED[:1000] + 1e-3))
    honest = _ends(memorisation(TRAINED, HELD, FRESH))

    assert (copies[0], copies[3]) == pytest.approx((1.0, 1.0))
    assert copies[1] > 0.9
    assert copies[4] > 0.9
    assert honest[1] < 0.5 < honest[2]
    assert honest[4] == 0.0
    assert honest[5] < 0.1


def test_a_tenth_of_copies_is_measured_as_a_tenth() -> None:
    """The share of copies among honest samples is found, and is enough to tell."""
    fakes = np.concatenate([TRAINED[:100], FRESH[:900]])
    found = memorisation(TRAINED, HELD, fakes)

    assert found.copied_share is not None
    assert found.copied_share.value == pytest.approx(0.1, abs=0.02)
    assert found.copied_share.low > 0
    assert is_copying(found)


@pytest.mark.parametrize("scale", [0.0, 0.1, 0.5, 2.0])
def test_what_the_fakes_look_like_does_not_matter(scale: float) -> None:
    """Collapsed, prototypical, timid or wild samples are not copies where they saw nothing."""
    assert not is_copying(memorisation(TRAINED, HELD, FRESH * scale))


def test_the_false_alarms_are_rare() -> None:
    """Of honest generators that favour some samples, drawn anew, hardly any is flagged."""
    alarms = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        real, fakes = _cloud(700, 100 + seed), _cloud(60, 500 + seed)
        favoured = fakes[random.integers(0, 60, 400)] + 0.05 * random.standard_normal((400, 8))
        alarms += is_copying(memorisation(real[64:], real[:64], favoured))

    assert alarms <= 2


def test_near_duplicates_in_the_data_are_no_copying() -> None:
    """Where half of the data come twice, a new sample beside a known one is as it should be."""
    real = np.concatenate([TRAINED, HELD])
    real[::2] = real[1::2] + 1e-4 * _cloud(len(real) // 2, 4)
    real = np.random.default_rng(5).permutation(real)
    fakes, rest = real[:300], real[300:]

    assert not is_copying(memorisation(rest[100:], rest[:100], fakes))


def test_the_worst_pairs_are_named() -> None:
    """The ordinals of copies come first, each beside its own original, with both distances."""
    fakes = np.concatenate([FRESH[:50], TRAINED[[700, 3, 700, 9]] + 1e-6])
    found = memorisation(TRAINED, HELD, fakes)
    worst = found.most_copied(3)

    assert sorted(found.training[worst].tolist()) == [3, 9, 700]
    assert set(worst.tolist()) <= {50, 51, 52, 53}
    np.testing.assert_allclose(found.distance[worst], 1e-6 * 8**0.5, rtol=1e-4)
    assert (found.held_out_distance[worst] > 0.01).all()
    assert (found.ratio[worst] < 1e-3).all()
    exact = np.linalg.norm(TRAINED[None] - fakes[:, None], axis=2)
    np.testing.assert_array_equal(found.training, exact.argmin(axis=1))
    assert len(found.most_copied(10_000)) == len(set(found.training.tolist()))


def test_order_and_scale_do_not_matter() -> None:
    """The same figures for shuffled sets, and for features in another unit and place."""
    fakes = np.concatenate([TRAINED[:50] + 0.01, FRESH[:400]])
    found = memorisation(TRAINED, HELD, fakes)
    order = np.random.default_rng(6).permutation(len(fakes))
    shuffled = memorisation(TRAINED[::-1], HELD[::-1], fakes[order])
    scaled = memorisation(TRAINED * 300 - 5, HELD * 300 - 5, fakes * 300 - 5)

    assert _ends(shuffled) == pytest.approx(_ends(found))
    assert _ends(scaled) == pytest.approx(_ends(found))
    np.testing.assert_array_equal(shuffled.training, TRAINING - 1 - found.training[order])


def test_a_memory_map_gives_the_same(tmp_path: Path) -> None:
    """Training features may lie in a file, in float32, more rows than one portion."""
    training = _cloud(2600, 7).astype(np.float32)
    np.save(tmp_path / "features.npy", training)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    fakes = FRESH[:200]

    assert _ends(memorisation(mapped, HELD, fakes)) == _ends(memorisation(training, HELD, fakes))


def test_without_held_out_images_it_says_so() -> None:
    """No figure is made up; the nearest training images are still there to look at."""
    found = memorisation(TRAINED, HELD[:0], TRAINED[:20])

    assert found.memorisation is None
    assert found.copied_share is None
    assert not is_copying(found)
    np.testing.assert_array_equal(found.training, np.arange(20))
    assert np.isinf(found.held_out_distance).all()


def test_few_held_out_images_make_wide_intervals() -> None:
    """One image held out proves nothing, whatever the fakes."""
    one = _ends(memorisation(TRAINED, HELD[:1], FRESH))

    assert one[1] < 0.5
    assert one[2] - one[1] > 0.4


def test_a_heap_of_equal_images_is_not_copied() -> None:
    """A fake on more than 50 equal real images is as usual there as anything can be."""
    heap = np.zeros((200, 8))
    found = memorisation(
        np.concatenate([TRAINED, heap[:180]]), np.concatenate([HELD, heap[:20]]), heap
    )

    np.testing.assert_array_equal(found.ratio, np.ones(200))
    assert not is_copying(found)


def test_tiny_sets_are_measured_and_empty_ones_refused() -> None:
    """Two training images are enough for a ratio; one or no fake is not."""
    assert len(memorisation(TRAINED[:2], HELD[:0], FRESH[:3]).ratio) == 3
    with pytest.raises(ValueError, match="1 training images"):
        memorisation(TRAINED[:1], HELD, FRESH)
    with pytest.raises(ValueError, match="sets of 0 and"):
        memorisation(TRAINED, HELD, FRESH[:0])


def test_thumbnails_are_means_over_fields() -> None:
    """Any side and number of channels; portions do not matter, and small noise averages out."""
    images = np.random.default_rng(8).integers(0, 256, (1203, 3, 16, 16)).astype(np.uint8)
    found = thumbnails(images)

    assert found.shape == (1203, 192)
    np.testing.assert_allclose(found[:, 0], images[:, 0, :2, :2].mean(axis=(1, 2)))
    np.testing.assert_array_equal(found[1100:], thumbnails(images[1100:]))
    assert thumbnails(np.zeros((2, 1, 28, 28), np.uint8)).shape == (2, 64)
