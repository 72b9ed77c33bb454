"""Intervals of figures, shares and paired differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gan.metrics.intervals import Measured, difference


def mean_of(values: NDArray[np.float64], *, is_share: bool = False) -> Measured:
    """Return a mean with the influence of each value on it."""
    return Measured(float(values.mean()), values - values.mean(), is_share=is_share)


def test_a_mean_has_its_textbook_interval() -> None:
    """The standard error of a mean is s / sqrt(n), its interval 1.96 of it to each side."""
    values = np.random.default_rng(0).normal(3.0, 2.0, 500)
    measured = mean_of(values)
    error = values.std(ddof=1) / np.sqrt(500)
    found = measured.interval()

    assert measured.se == pytest.approx(error, rel=1e-12)
    assert found.low == pytest.approx(measured.value - 1.959964 * error, rel=1e-6)
    assert found.high == pytest.approx(measured.value + 1.959964 * error, rel=1e-6)


def test_both_sets_and_what_is_unseen_widen_the_interval() -> None:
    """Variances of samples, of the other set, and beyond both add up."""
    influence, other = np.array([1.0, -1.0, 2.0, -2.0]), np.array([3.0, -3.0])
    measured = Measured(0.0, influence, extra_variance=0.5, other=other)

    assert measured.se**2 == pytest.approx(10 / 12 + 18 / 2 + 0.5)


def test_what_is_seen_twice_is_taken_off_once() -> None:
    """It never leaves less than the mean of the two estimates of what is counted twice."""
    influence = np.array([1.0, -1.0, 2.0, -2.0])
    slight = Measured(0.0, influence, extra_variance=-0.1)
    much = Measured(0.0, influence, extra_variance=-0.5)

    assert slight.se**2 == pytest.approx(10 / 12 - 0.1)
    assert much.se**2 == pytest.approx(np.sqrt(10 / 24 * 0.5))


def test_an_interval_ends_at_the_least_value() -> None:
    """A distance's interval does not go below 0."""
    found = Measured(0.1, np.array([1.0, -1.0]), least=0.0).interval()

    assert found.low == 0.0
    assert found.high > 1.0


@given(n=st.integers(2, 200), hits=st.integers(0, 200))
def test_a_share_has_wilsons_interval(n: int, hits: int) -> None:
    """It lies in 0..1, holds the share, and has a width also at 0 and at 1."""
    values = np.arange(n) < min(hits, n)
    found = mean_of(values.astype(float), is_share=True).interval()

    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert found.high - found.low > 0.5 / n


def test_no_hits_of_a_hundred_is_the_golden_wilson_interval() -> None:
    """0 of 100 is 0 to 0.0370; 50 of 99 effective samples is 0.404 to 0.596."""
    none = mean_of(np.zeros(100), is_share=True).interval()
    half = mean_of(np.tile([0.0, 1.0], 50), is_share=True).interval()

    assert (none.low, none.high) == pytest.approx((0.0, 0.03699), abs=1e-5)
    assert (half.low, half.high) == pytest.approx((0.4034, 0.5966), abs=1e-3)


def test_what_two_figures_share_cancels_in_their_difference() -> None:
    """Pairing leaves only the spread of the differences; a figure less itself is exactly 0."""
    random = np.random.default_rng(1)
    shared = random.normal(size=1000)
    a, b = shared + 0.3, shared + random.normal(0.0, 0.1, 1000)
    found = difference(mean_of(a), mean_of(b))
    error = (a - b).std(ddof=1) / np.sqrt(1000)

    assert found.value == pytest.approx((a - b).mean())
    assert found.high - found.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)
    assert difference(mean_of(a), mean_of(a)).high == 0.0


def test_a_difference_of_shares_has_a_width_where_both_are_whole() -> None:
    """100 of 100 twice does not prove that the two are equal; nor does it pass the bounds."""
    full = mean_of(np.ones(100), is_share=True)
    found = difference(full, full)

    assert found.value == 0.0
    assert -0.06 < found.low < -0.02 < 0.02 < found.high < 0.06


def test_paired_shares_have_the_coverage_they_claim() -> None:
    """95 % intervals of a paired difference of shares hold the truth in 90 to 99 % of cases."""
    random = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        shared = random.uniform(size=200)
        a, b = shared < 0.9, (shared + random.normal(0, 0.03, 200)) < 0.85
        found = difference(*(mean_of(each.astype(float), is_share=True) for each in (a, b)))
        held += found.low <= 0.05 <= found.high

    assert 0.90 <= held / 400 <= 0.99


def test_sets_that_cannot_be_paired_are_refused() -> None:
    """Sizes that differ, and a share against a distance, are an error, not a number."""
    pair, triple = np.array([1.0, -1.0]), np.array([1.0, 0.0, -1.0])

    with pytest.raises(ValueError, match="not the same"):
        difference(Measured(0, pair), Measured(0, triple))
    with pytest.raises(ValueError, match="not the same"):
        difference(Measured(0, pair, other=pair), Measured(0, pair))
    with pytest.raises(ValueError, match="not the same"):
        difference(Measured(0, pair, is_share=True), Measured(0, pair))


def test_one_sample_has_no_interval() -> None:
    """Fewer than 2 samples are refused."""
    with pytest.raises(ValueError, match="1 samples have no spread"):
        Measured(1.0, np.zeros(1))
