"""How far new images are from old ones: values, intervals, and what chance does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gan.errors import UsageError
from gan.metrics.drift import Shift, Side, fact_shift, feature_shift, label_shift


def _side(values: object, size: int = 1) -> Side:
    """Return a side whose groups are runs of `size` images."""
    given = np.asarray(values)
    return Side(given, np.arange(len(given)) // size)


def test_the_shift_of_classes_is_half_of_what_the_shares_differ_by() -> None:
    """3/4 and 1/4 against 1/4 and 3/4 is a half; a class that only one side has counts too."""
    assert label_shift(_side([0, 0, 0, 1]), _side([0, 1, 1, 1])).interval.value == 0.5
    assert label_shift(_side([0, 0]), _side([1, 1])).interval.value == 1.0
    assert label_shift(_side([0, 1, 2]), _side([2, 1, 0, 0, 1, 2])).interval.value == 0.0


@settings(max_examples=60, deadline=None)
@given(
    old=st.lists(st.integers(0, 6), min_size=2, max_size=20),
    new=st.lists(st.integers(0, 6), min_size=2, max_size=20),
)
def test_the_shift_of_a_fact_is_the_widest_gap_between_the_shares_below(
    old: list[int], new: list[int]
) -> None:
    """By its definition, ties and all; symmetric, and the same on any other scale."""
    gaps = [
        abs(np.mean(np.array(old) <= place) - np.mean(np.array(new) <= place))
        for place in [*old, *new]
    ]
    found = fact_shift(_side(old), _side(new)).interval

    assert found.value == pytest.approx(max(gaps))
    assert found.value == pytest.approx(fact_shift(_side(new), _side(old)).interval.value)
    scaled = fact_shift(_side(np.exp(old)), _side(np.exp(new)))
    assert found.value == pytest.approx(scaled.interval.value)
    assert 0 <= found.low <= found.value <= found.high <= 1


def _of_classes(random: np.random.Generator, shift: float) -> tuple[Shift, float]:
    old, new = np.full(40, 1 / 40), np.full(40, 1 / 40)
    new[0] += shift
    new /= new.sum()
    sides = [_side(random.choice(40, 600, p=shares)) for shares in (old, new)]
    return label_shift(*sides), float(np.abs(new - old).sum() / 2)


def _of_a_fact(random: np.random.Generator, shift: float) -> tuple[Shift, float]:
    sides = [_side(random.normal(by, 1.0, 400)) for by in (0.0, shift)]
    return fact_shift(*sides), math.erf(shift / 2 / math.sqrt(2))


@pytest.mark.parametrize("draw", [_of_classes, _of_a_fact])
@pytest.mark.parametrize("shift", [0.0, 0.15, 0.6])
def test_the_interval_holds_the_true_shift(draw: object, shift: float) -> None:
    """Of 150 pairs 95 % or more do, with 40 classes too, where the bare value is always high.

    Of one source the lower end is 0 and the value mostly below what chance does; a clear shift is
    seen.
    """
    random = np.random.default_rng(7)
    found = [draw(random, shift) for _ in range(150)]  # type: ignore[operator]

    assert np.mean([shift.interval.low <= true <= shift.interval.high for shift, true in found]) > (
        0.94
    )
    shown = np.mean([shift.interval.low > 0 for shift, _ in found])
    unusual = np.mean([shift.interval.value > shift.by_chance for shift, _ in found])
    if shift == 0:
        assert shown <= 0.02
        assert 0.0 < unusual < 0.12
    if shift == 0.6:
        assert shown == unusual == 1.0


def test_frames_of_one_clip_are_one_witness() -> None:
    """30 clips of 16 alike frames tell as much as 30 images, not as 480: chance does more."""
    random = np.random.default_rng(5)
    clips = [np.repeat(random.normal(size=30), 16) for _ in range(2)]
    alone = fact_shift(_side(clips[0]), _side(clips[1]))
    grouped = fact_shift(_side(clips[0], 16), _side(clips[1], 16))

    assert alone.interval.value == grouped.interval.value > alone.by_chance
    assert grouped.by_chance == pytest.approx(4 * alone.by_chance)
    assert grouped.interval.low == 0.0 < alone.interval.low
    assert grouped.interval.high > alone.interval.high
    with pytest.raises(UsageError, match="all images are of one group"):
        fact_shift(_side(clips[0], 1000), _side(clips[1], 16))


def _features(random: np.random.Generator, count: int, by: float = 0.0) -> NDArray[np.float32]:
    return random.normal(by, 1.0, (count, 16)).astype(np.float32)


def test_sets_of_one_source_are_about_as_far_as_halves() -> None:
    """Of 20 pairs none is shown to be farther than two halves of the old are; a shift is."""
    random = np.random.default_rng(3)
    same = [feature_shift(_features(random, 300), _features(random, 200), 1) for _ in range(20)]
    moved = feature_shift(_features(random, 300), _features(random, 200, 0.5), 1)

    assert max(each.times.low for each in same) < 1.0
    assert max(abs(each.times.value) for each in same) < 3.0
    assert moved.times.low > 10.0
    assert moved.times.value == pytest.approx(moved.distance.value / moved.unit)


def test_the_strangest_images_are_named() -> None:
    """The few new ones that are like no old one come first; so do old ones without a successor."""
    random = np.random.default_rng(4)
    old, new = _features(random, 100), _features(random, 100)
    new[[7, 70]] += 3.0
    old[[3, 30, 33]] -= 3.0
    found = feature_shift(old, new, 1)

    assert set(found.strangest[:2].tolist()) == {7, 70}
    assert set(found.missed[:3].tolist()) == {3, 30, 33}


def test_what_has_no_distance_is_refused() -> None:
    """Too few images, and old ones that are all alike, are an error and not a figure."""
    random = np.random.default_rng(6)

    with pytest.raises(UsageError, match="3 old and 9 new images that are independent"):
        feature_shift(_features(random, 3), _features(random, 9), 1)
    with pytest.raises(UsageError, match="the old images are all alike"):
        feature_shift(np.ones((9, 16), np.float32), _features(random, 9), 1)
