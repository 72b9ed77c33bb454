"""Near duplicates: images that are nearly another one over again, found without comparing all.

Two images are near when their 64-bit perceptual hashes differ in few bits and their 4x4 thumbnails
in few levels: the hash is grey, and a red heart is no copy of a blue one. A pair that differs in d
of 64 bits agrees wholly in k of any d + k blocks of bits, so only images that share k blocks are
ever compared (multi-index hashing: Norouzi, Punjani and Fleet 2012; Manku, Jain and Sarma 2007).
"""

import logging
import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NEAR = "DUPLICATE_NEAR"
# Of 255, over 4x4 blocks and three channels. Re-encoding and scaling move the mean by under 3.
_MEAN_LEVELS, _MOST_LEVELS = 6, 24
# Images that share a bucket are sorted by hash and brightness; each meets this many after it, or
# more while a table stays below so many comparisons.
_WINDOW, _COMPARISONS = 500, 30_000_000
_PORTION = 100_000
_HASH_BITS = 64

Places = NDArray[np.int64]

_log = logging.getLogger(__name__)


def mark_near(
    frame: pd.DataFrame, distance: int, rule: Literal["keep", "drop"] = "keep"
) -> pd.DataFrame:
    """Return the facts with near duplicates marked; only accepted images are looked at.

    `keep` sets nothing aside: `cluster` joins all that a chain of near pairs joins, so that none
    of them has a near copy in another cluster. `drop` goes from the largest image to the smallest
    (the earliest first of equal ones), keeps it unless it is near a kept one, and sets aside those
    that are: no two kept ones are near, and each dropped one is near the one that stands for it.
    An image that `keep` keeps although it is not the one that stands for its cluster is noted, and
    so is one of another label than that.

    Args:
        frame: A table of facts; `phash` and `colour` are read.
        distance: Bits of 64 by which near hashes may differ, 0 to 11.
        rule: What becomes of them.

    Returns:
        A copy; `cluster` is the key of the image that stands for an image's cluster, itself for
        that one, "" for an image alone.
    """
    sound = np.flatnonzero((frame["reason"] == "").to_numpy())
    chosen = frame.iloc[sound]
    sides = chosen["width"].to_numpy(np.int64) * chosen["height"].to_numpy(np.int64)
    hashes = chosen["phash"].to_numpy(np.int64).view(np.uint64)
    joined = b"".join(chosen["colour"])
    colours = np.frombuffer(joined, np.uint8).reshape(len(chosen), -1)
    stands = _clusters(hashes, colours, np.argsort(-sides, kind="stable"), distance, rule)
    sizes = np.bincount(stands, minlength=len(stands))
    names = ("key", "label", "cluster", "reason", "duplicate_of", "notes")
    columns = {name: frame[name].tolist() for name in names}
    for place in np.flatnonzero(sizes[stands] > 1).tolist():
        row, kept = int(sound[place]), int(sound[stands[place]])
        columns["cluster"][row] = columns["key"][kept]
        if row == kept:
            continue
        notes = columns["notes"][row].split()
        if columns["label"][row] != columns["label"][kept]:
            notes.append("LABEL_CONFLICT")
        if rule == "drop":
            columns["reason"][row], columns["duplicate_of"][row] = NEAR, columns["key"][kept]
        else:
            notes.append(NEAR)
        columns["notes"][row] = " ".join(notes)
    return frame.assign(**{name: columns[name] for name in names[2:]})


def belonging(frame: pd.DataFrame) -> Places:
    """Return numbers of what belongs together, int64 [N]: one group, one cluster, or a chain.

    Images of one `group` belong together, and so do those of one `cluster`; an image of both joins
    the two. Numbers follow the first image of each. An empty name joins nothing.
    """
    count = len(frame)
    links = []
    for name in ("group", "cluster"):
        names = frame[name].to_numpy(object)
        named = np.flatnonzero(names != "")
        numbers, _ = pd.factorize(names[named])
        _, first = np.unique(numbers, return_index=True)
        links.append((named, named[first[numbers]] if len(named) else named))
    parts = _parts(
        np.concatenate([one for one, _ in links]), np.concatenate([other for _, other in links]),
        count,
    )  # fmt: skip
    return np.asarray(pd.factorize(parts)[0], np.int64)


def leaks(clusters: Sequence[str], held_out: Places) -> int:
    """Return how many held-out images have a near duplicate among those that are trained on.

    Args:
        clusters: Name of each image's cluster, "" for one alone, [N].
        held_out: Ordinals of the images that are not trained on.
    """
    names = np.asarray(clusters, object)
    aside = np.zeros(len(names), bool)
    aside[held_out] = True
    trained = set(names[~aside]) - {""}
    return sum(name in trained for name in names[aside])


def _clusters(
    hashes: NDArray[np.uint64], colours: NDArray[np.uint8], rank: Places, distance: int, rule: str
) -> Places:
    """Return the place of the image that stands for each, int64 [n]; its own where it is alone.

    Args:
        hashes: [n].
        colours: [n, 48].
        rank: Places from the most to the least wanted, [n].
        distance: In bits.
        rule: `keep` takes chains, `drop` neighbours of kept ones alone.
    """
    if not len(hashes):
        return np.empty(0, np.int64)
    order = np.empty(len(hashes), np.int64)
    order[rank] = np.arange(len(hashes))
    # Alike ones side by side, the most wanted first of equals, which then stands for them here.
    words = np.ascontiguousarray(colours).view(np.uint64)
    brightness = colours.sum(axis=1, dtype=np.int64)
    lying = np.lexsort((order, *words.T, brightness, hashes))
    changed = np.any(words[lying[1:]] != words[lying[:-1]], axis=1)
    fresh = np.concatenate([[True], changed | (hashes[lying[1:]] != hashes[lying[:-1]])])
    apart = lying[fresh]  # places of different ones
    pairs = list(_near_pairs(hashes[apart], colours[apart], distance))
    one = np.concatenate([pair[0] for pair in pairs]) if pairs else np.empty(0, np.int64)
    other = np.concatenate([pair[1] for pair in pairs]) if pairs else np.empty(0, np.int64)
    choose = _stars if rule == "drop" else _chains
    stands = apart[choose(one, other, order[apart])]
    found = np.empty(len(hashes), np.int64)
    found[lying] = stands[np.cumsum(fresh) - 1]
    return found


def _chains(one: Places, other: Places, order: Places) -> Places:
    """Return for each place the most wanted of all that near pairs join it to."""
    parts = _parts(one, other, len(order))
    best = np.full(int(parts.max()) + 1, len(parts), np.int64)
    by_order = np.argsort(order)
    first = np.unique(parts[by_order], return_index=True)
    best[first[0]] = by_order[first[1]]
    return best[parts]


def _stars(one: Places, other: Places, order: Places) -> Places:
    """Return for each place itself, or the most wanted kept neighbour that set it aside."""
    begin, end = np.concatenate([one, other]), np.concatenate([other, one])
    by_begin = np.argsort(begin, kind="stable")
    begin, end = begin[by_begin], end[by_begin]
    edges = np.searchsorted(begin, np.arange(len(order) + 1))
    stands = np.full(len(order), -1, np.int64)
    lonely = edges[1:] == edges[:-1]
    stands[lonely] = np.flatnonzero(lonely)
    for place in np.argsort(order).tolist():
        if stands[place] < 0:
            around = end[edges[place] : edges[place + 1]]
            stands[around[stands[around] < 0]] = place
            stands[place] = place
    return stands


def _parts(one: Places, other: Places, count: int) -> Places:
    """Return the number of the connected part that each of `count` places is in."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _near_pairs(
    hashes: NDArray[np.uint64], colours: NDArray[np.uint8], distance: int
) -> Iterator[tuple[Places, Places]]:
    """Yield near pairs of places, each pair once; nothing is compared outside a bucket.

    A crowded bucket is compared within a sliding window; that is said in the log.
    """
    shared = _blocks_shared(hashes, distance)
    window = max(_WINDOW, _COMPARISONS // len(hashes))
    edges = np.linspace(0, _HASH_BITS, distance + shared + 1).round().astype(int).tolist()
    blocks = [np.uint64((1 << stop) - (1 << start)) for start, stop in pairwise(edges)]
    brightness = colours.sum(axis=1, dtype=np.int64)
    unread = 0
    for chosen in combinations(range(len(blocks)), shared):
        mask = np.bitwise_or.reduce([blocks[number] for number in chosen])
        masked = hashes & mask
        order = np.argsort(masked, kind="stable")
        masked, sorted_hashes = masked[order], hashes[order]
        begins = np.flatnonzero(np.concatenate([[True], masked[1:] != masked[:-1]]))
        sizes = np.diff(np.append(begins, len(masked)))
        behind = np.repeat(begins + sizes, sizes) - np.arange(len(masked)) - 1  # in the bucket
        unread += int(np.maximum(behind - window, 0).sum())
        left = np.flatnonzero(behind > 0)
        for step in range(1, min(window, int(sizes.max()) - 1) + 1):
            left = left[behind[left] >= step]
            unlike = sorted_hashes[left] ^ sorted_hashes[left + step]
            near = np.bitwise_count(unlike) <= distance
            # A pair that agrees in more blocks is met in several tables: the first one has it.
            agree = sum((unlike & blocks[number]) == 0 for number in range(chosen[-1] + 1))
            place = left[near & (agree == shared)]
            one, other = order[place], order[place + step]
            alike = _alike(colours, brightness, one, other)
            yield one[alike], other[alike]
    if unread:
        _log.warning(
            "near duplicates: hashes are crowded, and up to %s pairs were not compared: each image "
            "met the %d next to it", f"{unread:,}", window,
        )  # fmt: skip


def _alike(
    colours: NDArray[np.uint8], brightness: Places, one: Places, other: Places
) -> NDArray[np.bool_]:
    """Return whether the thumbnails of pairs are alike, [m]."""
    # Brightness comes first: where it differs by more, the mean of the differences does too.
    most = _MEAN_LEVELS * colours.shape[1]
    alike: NDArray[np.bool_] = np.abs(brightness[one] - brightness[other]) <= most
    for start in range(0, len(one), _PORTION):
        part = start + np.flatnonzero(alike[start : start + _PORTION])
        apart = np.abs(colours[one[part]].astype(np.int16) - colours[other[part]])
        alike[part] = (apart.mean(axis=1) <= _MEAN_LEVELS) & (apart.max(axis=1) <= _MOST_LEVELS)
    return alike


def _blocks_shared(hashes: NDArray[np.uint64], distance: int) -> int:
    """Return the number of blocks to share that takes least work.

    Few blocks make few tables with large buckets, many blocks many tables with small ones. A bit
    that is nearly always the same parts nothing, so bits count by how often two hashes differ.
    """
    count = len(hashes)
    ones = np.unpackbits(hashes.view(np.uint8).reshape(count, -1), axis=1).mean(axis=0)
    bits = -float(np.log2(ones**2 + (1 - ones) ** 2).sum())

    def work(shared: int) -> float:
        tables = math.comb(distance + shared, shared)
        pairs = count**2 / 2 ** (1 + bits * shared / (distance + shared))
        return tables * (8 * count + pairs)  # to sort one costs about as much as eight comparisons

    return min(range(1, 7), key=work)
