"""The endless shuffled walk through the images."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from gan.training.sampler import indices


def test_each_pass_shows_every_image_once() -> None:
    """A pass over the data is a permutation, each pass another one."""
    first, second = (indices(1, "D", start, 50, 50) for start in (0, 50))

    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()
    assert first.dtype is torch.int64


@given(
    size=st.integers(1, 20), start=st.integers(0, 100), count=st.integers(1, 50), cut=st.integers(1)
)
def test_where_it_is_cut_does_not_matter(size: int, start: int, count: int, cut: int) -> None:
    """A walk taken in two parts is the walk taken at once: a resumed run sees the same images."""
    cut = cut % count + 1
    whole = indices(3, "G", start, count, size).tolist()
    parts = indices(3, "G", start, cut, size).tolist()
    parts += indices(3, "G", start + cut, count - cut, size).tolist() if cut < count else []

    assert whole == parts
    assert all(0 <= index < size for index in whole)


def test_roles_and_seeds_walk_on_their_own() -> None:
    """Critic and generator see the images in different orders, and so do two runs."""
    walks = {tuple(indices(seed, role, 0, 30, 30).tolist()) for seed in (1, 2) for role in "DG"}

    assert len(walks) == 4
