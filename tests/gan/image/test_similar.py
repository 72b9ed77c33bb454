"""Near duplicates: all pairs are found, and the rules do what they say."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gan.image.similar import NEAR, belonging, leaks, mark_near


def frame_of(hashes: NDArray[np.uint64], colours: NDArray[np.uint8] | None = None) -> pd.DataFrame:
    """Return facts of accepted images with these hashes, all grey and 32 px unless said."""
    count = len(hashes)
    colours = np.full((count, 48), 128, np.uint8) if colours is None else colours
    return pd.DataFrame(
        {
            "key": [f"{number:04d}.png" for number in range(count)],
            "label": "", "group": "", "width": 32, "height": 32, "phash": hashes.view(np.int64),
            "colour": [row.tobytes() for row in colours],
            "duplicate_of": "", "cluster": "", "reason": "", "notes": "",
        }
    )  # fmt: skip


def flipped(hashes: NDArray[np.uint64], bits: int, seed: int) -> NDArray[np.uint64]:
    """Return hashes that each differ in exactly `bits` bits."""
    random = np.random.default_rng(seed)
    masks = [
        sum(1 << int(bit) for bit in random.permutation(64)[:bits]) for _ in range(len(hashes))
    ]
    return hashes ^ np.array(masks, np.uint64)


def chains(hashes: NDArray[np.uint64], distance: int) -> list[str]:
    """Return each image's cluster by comparing all pairs: the slow and plain way."""
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    stands = np.arange(len(hashes))
    for _ in range(len(hashes)):
        lower = np.where(near, stands[None], len(hashes)).min(axis=1)
        if np.array_equal(lower, stands):
            break
        stands = lower
    alone = np.bincount(stands)[stands] == 1
    return ["" if lonely else f"{at:04d}.png" for at, lonely in zip(stands, alone, strict=True)]


@pytest.mark.parametrize("distance", range(12))
def test_buckets_find_what_comparing_all_pairs_finds(distance: int) -> None:
    """No near pair is missed at any distance, and none is invented."""
    some = np.random.default_rng(1).integers(0, 2**64, 40, dtype=np.uint64)
    copies = [flipped(some, bits, bits) for bits in (1, 2, 3, 4, 8, 11, 12)]
    hashes = np.concatenate([some, *copies])
    marked = mark_near(frame_of(hashes), distance)

    assert marked["cluster"].tolist() == chains(hashes, distance)
    assert set(marked["reason"]) == {""}


def test_other_colours_make_another_image() -> None:
    """The hash is grey: a red and a blue heart share it, and are no duplicates."""
    colours = np.full((3, 48), 128, np.uint8)
    colours[1, ::3] = 200
    colours[2] += 2  # what another encoder makes of the same picture
    marked = mark_near(frame_of(np.full(3, 7, np.uint64), colours), 3)

    assert marked["cluster"].tolist() == ["0000.png", "", "0000.png"]


def test_dropping_keeps_the_largest_and_no_two_near_ones() -> None:
    """Of a chain both ends stay, since only neighbours of a kept image go; each names it."""
    chain = np.array([0, 0b111, 0b111111, 0xFFFF << 40], np.uint64)
    frame = frame_of(chain)
    frame.loc[1, ["width", "label"]] = (64, "other")
    marked = mark_near(frame, 3, "drop")
    kept = mark_near(frame, 3, "keep")
    frame["width"] = 32
    equal = mark_near(frame, 3, "drop")

    assert marked["reason"].tolist() == [NEAR, "", NEAR, ""]
    assert marked["duplicate_of"].tolist() == ["0001.png", "", "0001.png", ""]
    assert marked["notes"].tolist() == ["LABEL_CONFLICT", "", "LABEL_CONFLICT", ""]
    assert equal["reason"].tolist() == ["", NEAR, "", ""]
    assert kept["cluster"].tolist() == ["0001.png"] * 3 + [""]
    noted = "LABEL_CONFLICT DUPLICATE_NEAR"
    assert kept["notes"].tolist() == [noted, "", noted, ""]


def test_images_that_are_set_aside_stand_for_nothing() -> None:
    """A broken image, whatever its hash, neither joins a cluster nor drops a sound one."""
    frame = frame_of(np.zeros(3, np.uint64))
    frame.loc[0, "reason"] = "TRUNCATED"
    marked = mark_near(frame, 3, "drop")

    assert marked["cluster"].tolist() == ["", "0001.png", "0001.png"]
    assert marked["reason"].tolist() == ["TRUNCATED", "", NEAR]


def test_thousands_of_one_hash_are_one_cluster_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A crowded bucket costs a window's work, not the square of its size, and the log says so."""
    colours = np.repeat(np.linspace(40, 215, 7000).astype(np.uint8)[:, None], 48, axis=1)
    colours[:, 0] += np.arange(7000, dtype=np.uint8) % 16
    colours[:, 1] += np.arange(7000, dtype=np.uint8) // 7 % 16
    marked = mark_near(frame_of(np.zeros(7000, np.uint64), colours), 0)

    assert set(marked["cluster"]) == {"0000.png"}
    assert "were not compared" in caplog.text


def test_groups_and_clusters_that_share_an_image_belong_together() -> None:
    """A clip's frame that is nearly a loose picture takes the picture along, so nothing leaks."""
    frame = frame_of(np.arange(6, dtype=np.uint64))
    frame["group"] = ["clip", "clip", "", "", "", "b"]
    frame["cluster"] = ["", "0001.png", "0001.png", "0003.png", "", "0003.png"]

    assert belonging(frame).tolist() == [0, 0, 0, 1, 2, 1]


def test_leaks_are_the_held_out_images_with_a_trained_copy() -> None:
    """An image alone leaks nothing, nor does a cluster that is held out as a whole."""
    clusters = ["a", "a", "", "b", "b", "a"]

    assert leaks(clusters, np.array([0, 2])) == 1
    assert leaks(clusters, np.array([3, 4])) == 0
