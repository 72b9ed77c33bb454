"""Near duplicates are found among all that was seen, the first one named."""

import numpy as np
import pandas as pd
import pytest

from gan.image.similar import mark_near
from gan.screening.seen import Seen
from gan.screening.sight import marks
from tests.gan.screening.patterns import drawn

GREY = bytes([128] * 48)


def test_the_first_of_near_ones_is_named() -> None:
    """Whoever was added first of those that are near stands for them."""
    seen = Seen(2)
    seen.add("far", 0b111111, GREY)
    seen.add("first", 0b001, GREY)
    seen.add("second", 0b000, GREY)

    assert seen.like(0b000, GREY) == "first"
    assert seen.like(0b110000, GREY) == "second"
    assert seen.like(-1, GREY) is None
    assert len(seen) == 3


def test_another_colour_is_no_duplicate() -> None:
    """A red heart is no copy of a blue one, though their hashes are equal."""
    seen = Seen(2)
    seen.add("blue", 5, bytes([0, 0, 255] * 16))

    assert seen.like(5, bytes([255, 0, 0] * 16)) is None
    assert seen.like(5, bytes([4, 0, 250] * 16)) == "blue"


def test_0_bits_leave_the_screen_out() -> None:
    """With `near_distance: 0` nothing is near, not even the same again."""
    seen = Seen(0)
    seen.add("one", 5, GREY)

    assert seen.like(5, GREY) is None


@pytest.mark.parametrize("distance", [1, 3, 7])
def test_near_means_the_same_as_in_the_data(distance: int) -> None:
    """What validation calls near duplicates of images are near duplicates of assets too."""
    images, _ = drawn(120, seed=1)
    random = np.random.default_rng(2)
    noise = random.normal(0, random.uniform(1, 12, (120, 1, 1, 1)), images.shape)
    both = np.concatenate([images, (images + noise).clip(0, 255).astype(np.uint8)])
    found = marks(both)
    near = 0

    for one in range(120):
        seen = Seen(distance)
        seen.add("one", int(found.phash[one]), found.colour[one].tobytes())
        other = one + 120
        is_near = seen.like(int(found.phash[other]), found.colour[other].tobytes()) is not None
        pair = [one, other]
        facts = pd.DataFrame(
            {
                "key": ["one", "other"],
                "label": "",
                "cluster": "",
                "reason": "",
                "duplicate_of": "",
                "notes": "",
                "width": 16,
                "height": 16,
                "phash": found.phash[pair],
                "colour": [found.colour[place].tobytes() for place in pair],
            }
        )
        assert is_near == (mark_near(facts, distance)["cluster"].iloc[0] != "")
        near += is_near

    assert 0 < near < 120


def test_thousands_are_searched() -> None:
    """More than the first room: each of 5,000 is found again, and nothing is confused."""
    random = np.random.default_rng(1)
    hashes = random.integers(-(2**63), 2**63, 5000, dtype=np.int64).tolist()
    seen = Seen(3)
    for number, phash in enumerate(hashes):
        seen.add(str(number), phash, GREY)

    assert [seen.like(phash ^ 0b101, GREY) for phash in hashes[::50]] == [
        str(number) for number in range(0, 5000, 50)
    ]
