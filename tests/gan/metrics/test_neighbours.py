"""Coverage and spread on sets whose answer is known."""

import numpy as np
import pytest

from gan.metrics.neighbours import coverage, radii, spread

LINE = np.arange(10, dtype=np.float32)[:, None]  # ten points, one apart


def _normal(count: int, seed: int, dims: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dims))


def test_a_radius_is_the_distance_to_the_kth_other_row() -> None:
    """A row is not its own neighbour, and rows that are equal are at distance zero exactly."""
    np.testing.assert_array_equal(radii(LINE, 1), np.ones(10))
    np.testing.assert_array_equal(radii(LINE, 2)[:3], [2, 1, 1])
    twins = np.repeat(_normal(20, 1).astype(np.float32), 2, axis=0)
    np.testing.assert_array_equal(radii(twins, 1), np.zeros(40))


def test_coverage_is_the_share_of_reals_with_a_fake_in_reach() -> None:
    """A fake reaches the reals it lies nearer to than their k-th neighbour, the edge apart."""
    assert coverage(LINE, np.array([[0.5]]), k=1) == 0.2  # 0 and 1, each half a step away
    assert coverage(LINE, np.array([[-1.0]]), k=1) == 0.0  # exactly at the radius of 0
    assert coverage(LINE, np.array([[0.5], [5.2], [90.0]]), k=1) == 0.4
    assert coverage(LINE, LINE, k=5) == 1.0


def test_equal_distributions_are_covered_as_theory_says() -> None:
    """Two samples of one distribution and size: about 1 - 2^-5; far ones: nothing."""
    found = coverage(_normal(1500, 1), _normal(1500, 2))

    assert found == pytest.approx(1 - 2**-5, abs=0.015)
    assert coverage(_normal(1500, 1), _normal(1500, 2) + 50) == 0.0


def test_blocks_do_not_change_the_result() -> None:
    """A set of more than one block gives what all pairs at once give."""
    real, fake = _normal(1203, 3, 4), _normal(700, 4, 4) * 0.7
    gaps = np.linalg.norm(real[:, None] - real[None], axis=2)
    reach = np.sort(gaps, axis=1)[:, 5]
    nearest = np.linalg.norm(real[:, None] - fake[None], axis=2).min(axis=1)

    np.testing.assert_allclose(radii(real), reach, rtol=1e-12)
    assert coverage(real, fake) == pytest.approx(np.mean(nearest < reach), abs=1e-12)
    assert spread(real) == pytest.approx(gaps.sum() / (1203 * 1202), rel=1e-12)


def test_spread_is_the_mean_distance_of_two_rows() -> None:
    """It grows with scale, ignores where the set lies, and is zero for equal rows."""
    points = np.array([[0.0, 0.0], [3.0, 4.0]])

    assert spread(points) == 5.0
    assert spread(3 * points + 100) == pytest.approx(15.0)
    assert spread(np.ones((7, 3))) == 0.0


def test_too_few_rows_are_refused() -> None:
    """No figure is made of what is not there."""
    with pytest.raises(ValueError, match="5-th nearest of 5"):
        coverage(LINE[:5], LINE)
    with pytest.raises(ValueError, match="sets of 10 and 0"):
        coverage(LINE, LINE[:0])
    with pytest.raises(ValueError, match="no distance"):
        spread(LINE[:1])
