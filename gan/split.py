"""Which real images a training never sees: the measure of what it knows by heart.

A function of the data alone, so that training, measuring and a resumed run mean the same images.
Images that belong together (near duplicates, the frames of one clip) are never torn apart: a model
that learnt one of them by heart would pass for one that knows the others from nowhere.
"""

import numpy as np
from numpy.typing import NDArray

from gan.seeding import seed_at

_SHARE = 0.02
_AT_LEAST, _AT_MOST = 64, 2000
LEAST_IMAGES = 10 * _AT_LEAST  # of fewer none can be spared
_OVERSHOOT = 5  # times what is wanted: more a large group may not bring along


def split(
    count: int, digest: str, groups: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ordinals of the images to train on and of those held out, each in rising order.

    Args:
        count: Images in the prepared data.
        digest: The data digest, 64 hex digits; it draws which are held out.
        groups: int64 [count]; equal numbers belong together and go to the same side. None: each
            image is a group of its own.

    Returns:
        int64 [count - h] and int64 [h]: h is 2 % of the images, 64 to 2,000, or 0 where 64 would
        be over a tenth of them: too few to spare. The last group that is held out may bring h up
        to five times that, but never over a tenth; a larger group is always trained on. 0 where
        groups are so large that fewer than 64 are left to hold out.
    """
    wanted = min(_AT_MOST, max(_AT_LEAST, round(_SHARE * count)))
    if count < LEAST_IMAGES:
        return np.arange(count, dtype=np.int64), np.empty(0, np.int64)
    order = np.random.default_rng(seed_at(int(digest[:12], 16), "held out")).permutation(count)
    aside = _first_groups(groups[order], wanted) if groups is not None else np.arange(wanted)
    if len(aside) < _AT_LEAST:
        return np.arange(count, dtype=np.int64), np.empty(0, np.int64)
    held_out = np.zeros(count, bool)
    held_out[order[aside]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _first_groups(groups: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Return the places of whole groups, in the order of their first image, `wanted` or more."""
    _, first, group, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    most = min(len(groups) // 10, _OVERSHOOT * wanted)
    taken, count = [], 0
    for number in np.argsort(first).tolist():
        if count >= wanted:
            break
        if count + sizes[number] <= most:
            taken.append(number)
            count += int(sizes[number])
    return np.flatnonzero(np.isin(group, np.array(taken, np.int64)))
