"""Moments of streamed features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.errors import DivergedError, UsageError
from gan.metrics.moments import BlockMoments, effective_rank, moments_of, pooled


@given(
    count=st.integers(2, 60),
    dims=st.integers(1, 6),
    blocks=st.integers(1, 25),
    portion=st.integers(1, 17),
    offset=st.floats(-1e6, 1e6),
)
def test_any_portions_and_blocks_give_the_moments_of_the_whole(
    count: int, dims: int, blocks: int, portion: int, offset: float
) -> None:
    """How a stream is cut changes nothing, also where the mean is a million times the spread."""
    features = np.random.default_rng(count).normal(offset, 1.0, (count, dims))
    stream = BlockMoments(count, blocks)
    for start in range(0, count, portion):
        stream.add(features[start : start + portion])
    whole = pooled(stream.by_block())

    assert whole.count == count
    np.testing.assert_allclose(whole.mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        whole.covariance, np.cov(features, rowvar=False).reshape(dims, dims), atol=1e-7
    )


def test_whole_weights_are_repetitions() -> None:
    """A block with weight 3 counts as if each of its samples had come three times."""
    random = np.random.default_rng(1)
    a, b = random.normal(size=(7, 3)), random.normal(2.0, 1.0, size=(5, 3))
    weighted = pooled([moments_of(a), moments_of(b)], np.array([1.0, 3.0]))
    repeated = moments_of(np.concatenate([a, b, b, b]))

    assert weighted.count == repeated.count
    np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-12)
    np.testing.assert_allclose(weighted.scatter, repeated.scatter, atol=1e-12)


def test_blocks_follow_the_order_and_are_equal_within_one() -> None:
    """Sample i of N is in block i * B // N, and no block is empty."""
    stream = BlockMoments(50, 20)
    stream.add(np.arange(50.0)[:, None])
    blocks = stream.by_block()

    assert sorted({int(block.count) for block in blocks}) == [2, 3]
    assert sorted(means := [float(block.mean[0]) for block in blocks]) == means


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_refused(odd: float) -> None:
    """NaN never becomes a figure; the message counts the samples."""
    features = np.zeros((4, 2))
    features[2, 1] = odd

    with pytest.raises(DivergedError, match="1 of 4 samples"):
        moments_of(features)


def test_one_sample_has_no_covariance() -> None:
    """N < 2 is refused with the number found."""
    with pytest.raises(UsageError, match="at least 2 samples, found 1"):
        _ = moments_of(np.ones((1, 3))).covariance


def test_a_stream_of_another_length_than_announced_is_refused() -> None:
    """Too few or too many samples are an error, not a silent number."""
    stream = BlockMoments(3, 2)
    stream.add(np.ones((2, 1)))

    with pytest.raises(ValueError, match="2 came"):
        stream.by_block()
    with pytest.raises(ValueError, match="there are more"):
        stream.add(np.ones((2, 1)))


def test_the_effective_rank_counts_directions() -> None:
    """Equal spread in d directions is rank d, whatever the scale; no spread at all is rank 0."""
    corners = np.concatenate([np.eye(6)[:4], -np.eye(6)[:4]])

    assert effective_rank(moments_of(corners)) == pytest.approx(4)
    assert effective_rank(moments_of(1e3 * corners + 5)) == pytest.approx(4)
    assert 1 < effective_rank(moments_of(corners * [9, 1, 1, 1, 1, 1])) < 1.3
    assert effective_rank(moments_of(np.full((5, 6), 0.5))) == 0
