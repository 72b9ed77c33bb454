"""Figures class by class, and their mean."""

import numpy as np
import pytest

from gan.metrics.classes import class_scores, groups, mean_of
from gan.metrics.intervals import Measured
from gan.metrics.neighbours import diversity


def test_the_error_of_a_mean_is_that_of_independent_parts() -> None:
    """The standard error of a mean of K figures is the root of their summed squares over K."""
    random = np.random.default_rng(1)
    parts = [
        Measured(value, random.normal(size=size), other=random.normal(size=2 * size))
        for value, size in ((0.2, 40), (0.4, 200), (0.9, 90))
    ]
    found = mean_of(parts)

    assert found.value == pytest.approx(0.5)
    # n (n - 1) of the parts against that of them together: the same up to 1 / n.
    expected = np.sqrt(sum(part.se**2 for part in parts)) / 3
    assert found.se == pytest.approx(expected, rel=0.02)


def test_the_mean_of_one_is_that_one() -> None:
    """One class is as sure as it is alone."""
    random = np.random.default_rng(2)
    alone = diversity(random.normal(size=(60, 8)), random.normal(size=(50, 8)))

    assert mean_of([alone]).se == pytest.approx(alone.se)
    assert mean_of([alone]).interval().low == pytest.approx(alone.interval().low)


def test_a_class_of_few_images_has_a_distance_at_most() -> None:
    """What there are too few images for is absent, never a number."""
    random = np.random.default_rng(3)
    reals, fakes = random.normal(size=(130, 4)), random.normal(size=(130, 4))
    labels = np.repeat([0, 1, 2], [100, 29, 1])
    counted = groups(reals, labels, labels, most=1000)
    near = {
        each.number: (each.measured_coverage(fakes), each.measured_diversity(fakes))
        for each in counted
    }
    found = class_scores(reals, labels, fakes, labels, None, near)

    assert [each.number for each in counted] == [0, 1]
    assert found[0].distance is not None
    assert found[0].coverage is not None
    assert (found[2].distance, found[2].coverage, found[2].accuracy) == (None, None, None)


def test_without_enough_of_any_class_all_images_are_one() -> None:
    """Sixty classes of two images each are measured together, for their neighbourhoods."""
    random = np.random.default_rng(4)
    reals, labels = random.normal(size=(120, 4)), np.repeat(np.arange(60), 2)

    (whole,) = groups(reals, labels, labels, most=1000)
    assert whole.number is None
    assert len(whole.reals) == len(whole.fakes) == 120


def test_images_that_are_all_alike_have_no_group() -> None:
    """Where the real images do not differ, no figure is made up."""
    assert groups(np.ones((60, 4)), np.zeros(60, np.int64), np.zeros(60, np.int64), most=9) == []
