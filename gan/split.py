"""Which real images a training never sees: the measure of what it knows by heart.

A function of the data alone, so that training, measuring and a resumed run mean the same images.
"""

import numpy as np
from numpy.typing import NDArray

from gan.seeding import seed_at

_SHARE = 0.02
_AT_LEAST, _AT_MOST = 64, 2000
LEAST_IMAGES = 10 * _AT_LEAST  # of fewer none can be spared


def split(count: int, digest: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ordinals of the images to train on and of those held out, each in rising order.

    Args:
        count: Images in the prepared data.
        digest: The data digest, 64 hex digits; it draws which are held out.

    Returns:
        int64 [count - h] and int64 [h]: h is 2 % of the images, 64 to 2,000, or 0 where 64 would
        be over a tenth of them: too few to spare.
    """
    wanted = min(_AT_MOST, max(_AT_LEAST, round(_SHARE * count)))
    if count < LEAST_IMAGES:
        return np.arange(count, dtype=np.int64), np.empty(0, np.int64)
    order = np.random.default_rng(seed_at(int(digest[:12], 16), "held out")).permutation(count)
    return np.sort(order[wanted:]), np.sort(order[:wanted])
