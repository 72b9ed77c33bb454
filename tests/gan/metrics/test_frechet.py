"""The Frechet distance and its intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gan.errors import UsageError
from gan.metrics.frechet import (
    REPLICATES,
    Reference,
    block_weights,
    frechet_distance,
    interval,
    replicates,
)
from gan.metrics.moments import BlockMoments, Moments, moments_of, pooled


def gaussian(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> Moments:
    """Return moments that stand for an endless sample of a Gaussian."""
    count = 1e9
    return Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))


def in_blocks(features: NDArray[np.float64], blocks: int = 20) -> list[Moments]:
    """Return the block moments of features."""
    stream = BlockMoments(len(features), blocks)
    stream.add(features)
    return stream.by_block()


def test_one_dimension_is_the_closed_form() -> None:
    """In one dimension it is (m1 - m2)^2 + (s1 - s2)^2."""
    a, b = (
        gaussian(np.array([1.0]), np.array([[4.0]])),
        gaussian(np.array([4.0]), np.array([[9.0]])),
    )

    assert frechet_distance(a, b) == pytest.approx(9.0 + 1.0, abs=1e-9)


def test_commuting_covariances_are_the_closed_form() -> None:
    """With shared axes it is |m1 - m2|^2 + sum of (s1 - s2)^2 over the axes."""
    random = np.random.default_rng(3)
    axes, _ = np.linalg.qr(random.normal(size=(6, 6)))
    s1, s2 = random.uniform(0.1, 3, 6), random.uniform(0.1, 3, 6)
    m1, m2 = random.normal(size=6), random.normal(size=6)
    a = gaussian(m1, axes @ np.diag(s1**2) @ axes.T)
    b = gaussian(m2, axes @ np.diag(s2**2) @ axes.T)
    wanted = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()

    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-9)


def test_golden_value_of_two_covariances_that_do_not_commute() -> None:
    """For [[2,1],[1,2]] and [[3,0],[0,1]] the root's trace is sqrt(tr + 2 sqrt(det)) = sqrt(14)."""
    a = gaussian(np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
    b = gaussian(np.array([1.0, 0.0]), np.array([[3.0, 0.0], [0.0, 1.0]]))

    assert frechet_distance(a, b) == pytest.approx(1 + 4 + 4 - 2 * np.sqrt(14), abs=1e-8)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), dims=st.integers(1, 12), n=st.integers(2, 30))
def test_it_is_a_symmetric_distance(seed: int, dims: int, n: int) -> None:
    """d(a, b) = d(b, a) from 0 up, and d(a, a) = 0, also for covariances without full rank."""
    random = np.random.default_rng(seed)
    a = moments_of(random.normal(size=(n, dims)))
    b = moments_of(random.normal(1.0, 2.0, size=(n + 3, dims)))

    assert frechet_distance(a, b) >= 0.0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6, abs=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-5)


def test_rank_deficiency_is_exact_where_the_answer_is_known() -> None:
    """Two flat clouds on different axes, and a single point, have known distances."""
    flat_x = gaussian(np.zeros(3), np.diag([4.0, 0.0, 0.0]))
    flat_y = gaussian(np.zeros(3), np.diag([0.0, 9.0, 0.0]))
    point = gaussian(np.zeros(3), np.zeros((3, 3)))

    assert frechet_distance(flat_x, flat_y) == pytest.approx(13.0, abs=1e-6)
    assert frechet_distance(flat_x, point) == pytest.approx(4.0, abs=1e-6)
    assert frechet_distance(flat_x, flat_x) == pytest.approx(0.0, abs=1e-6)


def test_the_order_of_samples_does_not_matter() -> None:
    """A shuffled sample has the same distance."""
    random = np.random.default_rng(5)
    features, other = random.normal(size=(300, 8)), random.normal(0.2, 1.3, size=(200, 8))
    shuffled = features[random.permutation(300)]
    plain = frechet_distance(moments_of(other), moments_of(features))

    assert plain == pytest.approx(
        frechet_distance(moments_of(other), pooled(in_blocks(shuffled))), rel=1e-10
    )


def test_fewer_samples_than_dims_are_flagged() -> None:
    """A covariance that cannot have full rank says so; one that can does not."""
    random = np.random.default_rng(6)

    assert moments_of(random.normal(size=(8, 8))).is_low_rank
    assert not moments_of(random.normal(size=(9, 8))).is_low_rank


def test_one_sample_is_refused_on_either_side() -> None:
    """A distance to a single sample is an error."""
    one, many = moments_of(np.zeros((1, 2))), moments_of(np.eye(2))

    with pytest.raises(UsageError):
        frechet_distance(one, many)
    with pytest.raises(UsageError):
        frechet_distance(many, one)


def test_weights_are_seeded_and_average_one() -> None:
    """The same seed gives the same weights, and each replicate's mean is 1."""
    weights = block_weights(20, seed=3)

    assert weights.shape == (REPLICATES, 20)
    np.testing.assert_array_equal(weights, block_weights(20, seed=3))
    np.testing.assert_allclose(weights.mean(axis=1), 1.0)
    assert not np.array_equal(weights, block_weights(20, seed=4))


def test_the_interval_holds_what_another_sample_gives() -> None:
    """About 95 % of intervals hold the mean value of such samples: here at least 85 of 100."""
    dims, n = 6, 400
    reference = Reference(gaussian(np.zeros(dims), np.eye(dims)))
    random = np.random.default_rng(8)
    found = []
    for seed in range(100):
        blocks = in_blocks(random.normal(0.2, 1.1, size=(n, dims)))
        value = reference.distance(pooled(blocks))
        found.append(interval(value, replicates(reference, blocks, seed)))
    typical = np.mean([each.value for each in found])
    held = sum(each.low <= typical <= each.high for each in found)

    assert 85 <= held <= 100


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    """Two samples that share their draws differ more surely than two that do not."""
    random = np.random.default_rng(9)
    reference = Reference(gaussian(np.zeros(4), np.eye(4)))
    shared = random.normal(size=(1000, 4))
    a, b = in_blocks(shared + 0.3), in_blocks(shared * 1.02 + 0.31)
    values = [reference.distance(pooled(blocks)) for blocks in (a, b)]
    difference = values[1] - values[0]
    draws = replicates(reference, a, 1), replicates(reference, b, 1)
    unpaired = replicates(reference, b, 2) - draws[0]
    paired = interval(difference, draws[1] - draws[0])
    loose = interval(difference, unpaired)

    assert paired.low > 0.0
    assert paired.high - paired.low < 0.5 * (loose.high - loose.low)
