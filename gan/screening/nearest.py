"""How near the nearest of many rows is, against the 50 nearest: quick enough for every candidate.

The same ratio as in `gan.metrics.memorisation`, which measures a model and may take minutes. Here
the 50 nearest are found by the matrix product in float32, and their distances by subtracting: equal
rows are at distance 0, and whichever of two equally far rows is the fiftieth changes no digit that
is kept.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AROUND = 50
_TILE_ROWS = 8192

Rows = NDArray[np.float32] | NDArray[np.uint8]


class Ratios:
    """Rows that others are held against; a memory map is read by tiles."""

    def __init__(self, rows: Rows) -> None:
        """Take rows [N, D], N at least 2."""
        self._rows = rows
        self._centre = rows[:: max(1, len(rows) // 1000)].mean(axis=0, dtype=np.float64)
        self._centre = self._centre.round().astype(np.float32)  # whole, so that bytes stay exact

    def of(self, others: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the ratio of each of [M, D], 0 (equal) to 1, and the place of the nearest row.

        The ratio is the distance to the nearest row over the mean distance of the 50 nearest, or of
        all where there are fewer. Where all 50 are equal it is 1: what lies on a heap of equal
        rows is a copy of none of them.
        """
        places = self._places(others)
        near = torch.from_numpy(self._rows[places.ravel()]).view(*places.shape, -1).float()
        asked = torch.from_numpy(others)[:, None].float()
        distances = near.sub_(asked).square_().sum(dim=2).double().sqrt().numpy()  # [M, 50]
        first = distances.argmin(axis=1)
        each = np.arange(len(others))
        mean = distances.mean(axis=1)
        ratios = np.ones(len(others))
        np.divide(distances[each, first], mean, out=ratios, where=mean > 0)
        return ratios, places[each, first]

    def _places(self, others: Rows) -> NDArray[np.int64]:
        """Return the ordinals of the rows nearest to each other, [M, 50], in no order."""
        wanted = min(_AROUND, len(self._rows))
        asked = self._tensor(others)
        best = torch.full((len(others), wanted), torch.inf)
        which = torch.zeros((len(others), wanted), dtype=torch.int64)
        for start in range(0, len(self._rows), _TILE_ROWS):
            tile = self._tensor(self._rows[start : start + _TILE_ROWS])
            # Without the squares of those that ask: they do not change which are the nearest.
            far = torch.addmm(tile.square().sum(dim=1)[None], asked, tile.T, alpha=-2)
            some, place = far.topk(min(wanted, len(tile)), dim=1, largest=False, sorted=False)
            best = torch.cat([best, some], dim=1)
            which = torch.cat([which, place + start], dim=1)
            best, order = best.topk(wanted, dim=1, largest=False, sorted=False)
            which = which.gather(1, order)
        return which.numpy()

    def _tensor(self, rows: Rows) -> Tensor:
        return torch.from_numpy(rows.astype(np.float32) - self._centre)
