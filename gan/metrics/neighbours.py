"""Which samples lie near which: coverage of the real set, spread within a set.

Pure functions of features. Distances are Euclidean, in float64, between the rows as they are (not
by the product of the matrices), so that equal rows are at distance 0 exactly. They are made a block
of rows at a time: memory grows with N, not with N squared.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.metrics.moments import Features

K = 5
_ROWS = 1000
_EXACT = "donot_use_mm_for_euclid_dist"


def radii(features: Features, k: int = K) -> NDArray[np.float64]:
    """Return the distance of each row to its k-th nearest other row: from [N, D], [N] float64.

    Raises:
        ValueError: There are not more than k rows, or k is below 1.
    """
    if not 1 <= k < len(features):
        raise ValueError(f"the {k}-th nearest of {len(features)} rows, itself apart, is not there")
    found = []
    for first, block in _distances(features, features):
        rows = torch.arange(len(block))
        block[rows, first + rows] = torch.inf  # itself apart
        found.append(block.kthvalue(k, dim=1).values)
    return torch.cat(found).numpy()


def coverage(real: Features, fake: Features, k: int = K) -> float:
    """Return the share of real samples with a fake nearer than their k-th nearest real, 0..1.

    Of two sets from one distribution it is about 1 - 2^-k, 0.97 at k = 5, where both are of equal
    size; fewer fakes give less (Naeem 2020, equation 11).

    Args:
        real: Features [N, D]; N is above k.
        fake: Features [M, D].
        k: Which nearest real makes the radius.

    Raises:
        ValueError: There are not more than k real samples, or no fake.
    """
    nearest = torch.cat([block.amin(dim=1) for _, block in _distances(real, fake)])
    return float(np.mean(nearest.numpy() < radii(real, k)))


def spread(features: Features) -> float:
    """Return the mean distance between two different rows of [N, D], from 0 up.

    Raises:
        ValueError: There are fewer than 2 rows.
    """
    count = len(features)
    if count < 2:
        raise ValueError(f"{count} rows have no distance between them")
    total = sum(float(block.sum()) for _, block in _distances(features, features))
    return total / (count * (count - 1))


def _distances(a: Features, b: Features) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, distances [n, M] float64) of blocks of a's rows [N, D] to all of b's."""
    if len(a) == 0 or len(b) == 0:
        raise ValueError(f"no distance between sets of {len(a)} and {len(b)} rows")
    rows, others = (torch.from_numpy(side.astype(np.float64)) for side in (a, b))
    for first in range(0, len(rows), _ROWS):
        yield first, torch.cdist(rows[first : first + _ROWS], others, compute_mode=_EXACT)
