"""The Frechet distance and its intervals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from gan.errors import DivergedError, UsageError
from gan.metrics.frechet import Reference, frechet_distance
from gan.metrics.intervals import Measured, difference
from gan.metrics.moments import Moments, moments_of, pooled

Vectors = NDArray[np.float64]


def gaussian(mean: Vectors, covariance: Vectors) -> Moments:
    """Return moments that stand for an endless sample of a Gaussian."""
    count = 10**9
    return Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))


def measure(reference: Reference, features: NDArray[np.floating]) -> Measured:
    """Return the distance of features with its influences."""
    return reference.measure(features, moments_of(features))


def feature_like(count: int, dims: int, seed: int, shift: float = 0.0) -> NDArray[np.float32]:
    """Return rectified features, their spectrum falling as 1/n, along turned axes."""
    random = np.random.default_rng([seed, dims])
    turn = np.linalg.qr(random.standard_normal((dims, dims)))[0] / np.sqrt(np.arange(1, dims + 1))
    values = random.standard_normal((count, dims)) @ turn.T * (1 + shift) + shift + 0.1
    return np.maximum(values, 0).astype(np.float32)


def test_one_dimension_is_the_closed_form() -> None:
    """In one dimension it is (m1 - m2)^2 + (s1 - s2)^2."""
    a = gaussian(np.array([1.0]), np.array([[4.0]]))
    b = gaussian(np.array([4.0]), np.array([[9.0]]))

    assert frechet_distance(a, b) == pytest.approx(9.0 + 1.0, abs=1e-9)


def test_diagonal_covariances_are_the_closed_form() -> None:
    """Without correlation it is |m1 - m2|^2 + sum of (s1 - s2)^2."""
    s1, s2 = np.array([0.1, 1.0, 30.0]), np.array([2.0, 1.0, 0.5])
    a, b = gaussian(np.zeros(3), np.diag(s1**2)), gaussian(np.arange(3.0), np.diag(s2**2))

    assert frechet_distance(a, b) == pytest.approx(5.0 + ((s1 - s2) ** 2).sum(), rel=1e-10)


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
    assert frechet_distance(a, b) == pytest.approx(1.5166852, abs=1e-6)


@pytest.mark.parametrize("dims", [7, 64, 150])
def test_it_is_what_torch_fidelity_and_a_matrix_root_say(dims: int) -> None:
    """On the same features it is torch-fidelity's value and that of scipy's sqrtm to 1e-8."""
    from torch_fidelity import metric_fid as fid  # type: ignore[import-untyped]

    # float64: torch-fidelity averages float32 features in float32
    a, b = (feature_like(400, dims, s, 0.1 * s).astype(np.float64) for s in (0, 1))
    ours = frechet_distance(moments_of(a), moments_of(b))
    sides = [fid.fid_features_to_statistics(torch.from_numpy(side)) for side in (a, b)]
    theirs = fid.fid_statistics_to_metric(*sides, verbose=False)[fid.KEY_METRIC_FID]
    root = np.trace(sqrtm(sides[0]["sigma"] @ sides[1]["sigma"])).real
    gap = sides[0]["mu"] - sides[1]["mu"]
    plain = gap @ gap + sum(np.trace(side["sigma"]) for side in sides) - 2 * root

    assert ours == pytest.approx(theirs, rel=1e-8)
    assert ours == pytest.approx(plain, rel=1e-8)


@settings(max_examples=60, deadline=None)
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


def test_fewer_samples_than_dims_are_exact_too() -> None:
    """With N < D the trace is the nuclear norm of the product of the centred samples."""
    a, b = (feature_like(20, 50, seed).astype(np.float64) for seed in (0, 1))
    one, two = moments_of(a), moments_of(b)
    product = (a - one.mean) @ (b - two.mean).T / 19
    gap = one.mean - two.mean
    wanted = gap @ gap + np.trace(one.covariance) + np.trace(two.covariance)
    wanted -= 2 * np.linalg.svd(product, compute_uv=False).sum()

    assert one.is_low_rank
    assert frechet_distance(one, two) == pytest.approx(wanted, rel=1e-8)
    assert measure(Reference(one), b).value == pytest.approx(wanted, rel=1e-8)


def test_neither_order_nor_portions_nor_precision_matter() -> None:
    """Shuffled, gathered from parts, or float64: the same distance."""
    random = np.random.default_rng(5)
    features, other = feature_like(300, 8, 1), moments_of(feature_like(200, 8, 2, 0.2))
    shuffled = features[random.permutation(300)]
    plain = frechet_distance(other, moments_of(features))
    parts = pooled([moments_of(part) for part in np.array_split(shuffled, 7)])

    assert plain == pytest.approx(frechet_distance(other, parts), rel=1e-10)
    assert plain == frechet_distance(other, moments_of(features.astype(np.float64)))


def test_a_kept_factor_gives_the_same_distance() -> None:
    """The reference's factor is lower triangular, squares to the covariance, and can be reused."""
    for count in (12, 300):  # fewer samples than dims, and more
        moments, other = moments_of(feature_like(count, 30, 1)), moments_of(feature_like(90, 30, 2))
        first = Reference(moments)

        np.testing.assert_array_equal(first.factor, np.tril(first.factor))
        np.testing.assert_allclose(first.factor @ first.factor.T, moments.covariance, atol=1e-12)
        assert Reference(moments, first.factor).distance(other) == first.distance(other)
    with pytest.raises(ValueError, match="the factor must be"):
        Reference(moments, np.eye(29))


def test_one_sample_is_refused_on_either_side() -> None:
    """A distance to a single sample is an error."""
    one, many = moments_of(np.zeros((1, 2))), moments_of(np.eye(2))

    with pytest.raises(UsageError):
        frechet_distance(one, many)
    with pytest.raises(UsageError):
        frechet_distance(many, one)
    with pytest.raises(UsageError):
        measure(Reference(many), np.zeros((1, 2)))


def test_a_distance_that_overflows_is_refused() -> None:
    """Features so large that the distance is infinite never become a figure."""
    with np.errstate(over="ignore"), pytest.raises(DivergedError, match="too large"):
        frechet_distance(moments_of(np.eye(2) * 1e-3), gaussian(np.full(2, 1e200), np.eye(2)))


def test_features_of_another_set_than_the_moments_are_refused() -> None:
    """A measure's features and moments must be of the same samples."""
    features = feature_like(40, 3, 1)

    with pytest.raises(ValueError, match="the moments are of 40 x 3"):
        Reference(moments_of(features)).measure(features[:39], moments_of(features))


@pytest.mark.parametrize(("count", "dims"), [(60, 5), (30, 30), (25, 60)])
def test_an_influence_is_what_leaving_the_sample_out_does(count: int, dims: int) -> None:
    """Leaving sample i out moves the distance by -influence / (n - 1), closely, at any rank."""
    reference = Reference(moments_of(feature_like(500, dims, 1)))
    features = feature_like(count, dims, 2, 0.3)
    measured = measure(reference, features)
    left = [
        reference.distance(moments_of(np.delete(features, i, axis=0).astype(np.float64)))
        for i in range(count)
    ]
    moved = -(count - 1) * (np.array(left) - np.mean(left))

    assert measured.value == pytest.approx(reference.distance(moments_of(features)), rel=1e-10)
    assert abs(measured.influence.sum()) < 1e-9
    assert np.corrcoef(measured.influence, moved)[0, 1] > 0.99
    assert measured.influence.std() == pytest.approx(moved.std(), rel=0.1)


def test_an_influence_is_the_derivative_by_the_weight() -> None:
    """For many samples it is the slope of the distance as one sample's weight grows."""
    features, step = feature_like(4000, 3, 2, 0.4).astype(np.float64), 1e-4
    reference = Reference(moments_of(feature_like(900, 3, 1)))
    measured = measure(reference, features)
    n, slopes = len(features), []
    for i in range(5):
        weights = np.full(n, (1 - step) / n)
        weights[i] += step
        mean = weights @ features
        scatter = (features - mean).T @ ((features - mean) * weights[:, None]) * n
        moved = reference.distance(Moments(n, mean, scatter))
        slopes.append((moved - measured.value) / step)

    np.testing.assert_allclose(measured.influence[:5], slopes, atol=0.01 * measured.influence.std())


def test_influences_need_no_order_and_no_memory_of_all(tmp_path: Path) -> None:
    """A memory map longer than a portion gives each sample the influence it has elsewhere."""
    features = feature_like(2300, 6, 2, 0.1)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    reference, order = Reference(moments_of(feature_like(400, 6, 1))), np.arange(2300)[::-1]
    plain = measure(reference, mapped)
    turned = measure(reference, features[order])

    np.testing.assert_allclose(plain.influence[order], turned.influence, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.5])
@pytest.mark.parametrize(("dims", "count"), [(6, 300), (32, 100), (48, 40)])
def test_the_interval_holds_what_another_sample_gives(dims: int, count: int, shift: float) -> None:
    """Of two hundred sets, equal to the reference or not, 88 to 99.5 % hold the mean distance."""
    scale = 1 / np.sqrt(np.arange(1, dims + 1))
    reference = Reference(gaussian(np.zeros(dims), np.diag(scale**2)))
    random = np.random.default_rng([dims, count])
    found = [
        measure(reference, (random.normal(shift, 1 + shift, (count, dims))) * scale)
        for _ in range(200)
    ]
    values = np.array([each.value for each in found])
    errors = np.array([each.se for each in found])
    held = np.mean([abs(each.value - values.mean()) < 1.96 * each.se for each in found])

    assert 0.88 <= held <= 0.995
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.2)


def test_pairing_narrows_the_interval_of_a_difference_and_stays_honest() -> None:
    """Models on the same latents differ more surely; intervals still hold the mean difference."""
    scale = 1 / np.sqrt(np.arange(1, 17))
    reference = Reference(gaussian(np.zeros(16), np.diag(scale**2)))
    random = np.random.default_rng(9)
    paired, loose = [], []
    for _ in range(150):
        shared = random.normal(size=(300, 16)) * scale
        a, b = (measure(reference, shared * by + 0.1) for by in (1.3, 1.32))
        paired.append(difference(a, b))
        loose.append(np.hypot(a.se, b.se))
    mean = np.mean([each.value for each in paired])
    held = np.mean([each.low <= mean <= each.high for each in paired])

    assert all(each.high < 0.0 for each in paired)
    assert np.mean([each.high - each.low for each in paired]) < 0.5 * 3.92 * np.mean(loose)
    assert 0.90 <= held <= 0.99
