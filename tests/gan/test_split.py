"""What is held out: a function of the data, and never half of what belongs together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan.seeding import seed_at
from gan.split import split

DIGEST = "5" * 64


def test_images_that_are_all_on_their_own_are_held_out_as_ever() -> None:
    """Groups of one change nothing, so data of before groups keep their held-out part."""
    trained, held_out = split(5000, DIGEST)
    order = np.random.default_rng(seed_at(int(DIGEST[:12], 16), "held out")).permutation(5000)
    grouped = split(5000, DIGEST, np.random.default_rng(3).permutation(5000))

    assert held_out.tolist() == sorted(order[:100].tolist())
    assert [part.tolist() for part in grouped] == [trained.tolist(), held_out.tolist()]


@given(count=st.integers(640, 4000), most=st.integers(1, 60), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_no_group_is_torn_apart(count: int, most: int, seed: int) -> None:
    """Whatever the sizes, a group is on one side, every image on exactly one, a tenth at most."""
    groups = np.random.default_rng(seed).integers(0, max(1, count // most), count)
    trained, held_out = split(count, f"{seed:064x}", groups)

    assert not set(groups[trained]) & set(groups[held_out])
    assert sorted([*trained, *held_out]) == list(range(count))
    assert len(held_out) == 0 or 64 <= len(held_out) <= count // 10
    assert trained.dtype == held_out.dtype == np.dtype(np.int64)


def test_a_giant_group_is_trained_on_and_the_others_are_still_held_out() -> None:
    """Half of the images being one clip does not cost the measure of what is learnt by heart."""
    groups = np.where(np.arange(6000) < 3000, 0, np.arange(6000))
    _, held_out = split(6000, DIGEST, groups)

    assert len(held_out) == 120
    assert held_out.min() >= 3000


@pytest.mark.parametrize(("count", "groups"), [(639, 639), (2000, 3)])
def test_where_none_can_be_spared_none_is_held_out(count: int, groups: int) -> None:
    """Too few images, or a handful of groups that are too large: everything is trained on."""
    trained, held_out = split(count, DIGEST, np.arange(count) % groups)

    assert len(trained) == count
    assert len(held_out) == 0
