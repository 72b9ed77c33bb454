"""Moments of streamed features."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.errors import DivergedError, UsageError
from gan.metrics.moments import RunningMoments, effective_rank, moments_of, pooled


@given(
    count=st.integers(2, 60),
    dims=st.integers(1, 6),
    portion=st.integers(1, 17),
    offset=st.floats(-1e6, 1e6),
)
def test_any_portions_give_the_moments_of_the_whole(
    count: int, dims: int, portion: int, offset: float
) -> None:
    """How a stream is cut changes nothing, also where the mean is a million times the spread."""
    features = np.random.default_rng(count).normal(offset, 1.0, (count, dims))
    stream = RunningMoments(dims)
    for start in range(0, count, portion):
        stream.add(features[start : start + portion])
    whole = stream.moments

    assert whole.count == count
    np.testing.assert_allclose(whole.mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        whole.covariance, np.cov(features, rowvar=False).reshape(dims, dims), atol=1e-7
    )


@pytest.mark.parametrize("portion", [1, 7, 1000, 2000, 3001])
def test_portions_do_not_change_a_bit(portion: int) -> None:
    """Any batch size gives the same moments to the last bit, and they can be read on the way."""
    features = np.random.default_rng(1).normal(5.0, 1.0, (4100, 3)).astype(np.float32)
    whole = moments_of(features)
    stream = RunningMoments(3)
    for start in range(0, len(features), portion):
        stream.add(features[start : start + portion])
        if start == 0:
            assert stream.moments.count == min(portion, 4100)

    assert stream.moments.count == 4100
    np.testing.assert_array_equal(stream.moments.mean, whole.mean)
    np.testing.assert_array_equal(stream.moments.scatter, whole.scatter)
    np.testing.assert_allclose(whole.covariance, np.cov(features, rowvar=False), rtol=1e-9)


def test_a_stream_keeps_what_it_was_given() -> None:
    """An array that is filled anew for each portion does not change what was added."""
    buffer, stream = np.ones((2, 1)), RunningMoments(1)
    stream.add(buffer)
    buffer[:] = 3.0
    stream.add(buffer)

    assert stream.moments.mean == pytest.approx([2.0])


def test_float32_features_are_summed_in_float64() -> None:
    """The moments of float32 features are those of the same values in float64, bit for bit."""
    features = np.random.default_rng(2).normal(100.0, 0.01, (500, 4)).astype(np.float32)
    small, large = moments_of(features), moments_of(features.astype(np.float64))

    assert small.scatter.dtype == np.float64
    np.testing.assert_array_equal(small.scatter, large.scatter)


def test_a_memory_map_is_read_as_an_array_is(tmp_path: Path) -> None:
    """Features on disk give the moments of those in memory."""
    features = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")

    np.testing.assert_array_equal(moments_of(mapped).scatter, moments_of(features).scatter)


def test_sets_taken_together_are_the_moments_of_all() -> None:
    """Moments of parts, an empty one too, give those of the whole in any order."""
    random = np.random.default_rng(4)
    a, b = random.normal(size=(7, 3)), random.normal(2.0, 1.0, size=(5, 3))
    parts = [moments_of(a[:0]), moments_of(b), moments_of(a)]
    together, whole = pooled(parts), moments_of(np.concatenate([a, b]))

    assert together.count == 12
    np.testing.assert_allclose(together.mean, whole.mean, atol=1e-12)
    np.testing.assert_allclose(together.scatter, whole.scatter, atol=1e-12)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_refused(odd: float) -> None:
    """NaN never becomes a figure; the message counts the samples."""
    features = np.zeros((4, 2))
    features[2, 1] = odd

    with pytest.raises(DivergedError, match="1 of 4 samples"):
        moments_of(features)


def test_arrays_of_another_shape_are_refused() -> None:
    """Images in place of features, or features of other dims than the stream's, are an error."""
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        moments_of(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"\[n, 3\]"):
        RunningMoments(3).add(np.zeros((2, 4)))


def test_one_sample_has_no_covariance() -> None:
    """N < 2 is refused with the number found."""
    with pytest.raises(UsageError, match="at least 2 samples, found 1"):
        _ = moments_of(np.ones((1, 3))).covariance


def test_fewer_samples_than_dims_are_flagged() -> None:
    """A covariance that cannot have full rank says so; one that can does not."""
    random = np.random.default_rng(6)

    assert moments_of(random.normal(size=(8, 8))).is_low_rank
    assert not moments_of(random.normal(size=(9, 8))).is_low_rank


def test_the_effective_rank_counts_directions() -> None:
    """Equal spread in d directions is rank d, whatever the scale; no spread at all is rank 0."""
    corners = np.concatenate([np.eye(6)[:4], -np.eye(6)[:4]])

    assert effective_rank(moments_of(corners)) == pytest.approx(4)
    assert effective_rank(moments_of(1e3 * corners + 5)) == pytest.approx(4)
    assert 1 < effective_rank(moments_of(corners * [9, 1, 1, 1, 1, 1])) < 1.3
    assert effective_rank(moments_of(np.full((5, 6), 0.5))) == 0
