"""Which samples lie near which: precision, recall, density, coverage, spread and diversity.

Pure functions of features. Distances are Euclidean, in float64: by the matrix product of centred
rows, which is 6 to 15 times as fast as subtracting each pair and loses the digits of small ones.
So each pair whose squared distance is under 1e-5 of its squared norms is subtracted after all:
equal rows are at distance 0 exactly, and others are right to about 1e-10 of themselves.

A tile of pairs is in memory at a time, never N x M, and a memory map is read by portions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.metrics.intervals import Measured
from gan.metrics.moments import Features

K = 5
_ROWS, _COLUMNS = 1000, 2500
_CENTRED_BY = 1000  # rows whose mean is taken for the centre: it only has to be about right
_NEAR = 1e-5
_MANY = 16  # above one pair in as many, all are subtracted: picking them out would take longer
_SUBTRACTED = 1 << 22  # values in memory while near pairs are subtracted
# Distances that are equal by nature, as those to a copy and to its original, come out a few last
# digits apart. "Nearer than" means by more than this share of the squared distance.
_TIE = 1e-9


@dataclass(frozen=True)
class Neighbourhood:
    """How two sets lie in each other's k-nearest-neighbour balls.

    Attributes:
        precision: Share of fakes in the ball of some real, by fake (Kynkaanniemi 2019).
        recall: Share of reals in the ball of some fake, by real (the same).
        density: Mean over the fakes of 1/k of the number of real balls that each is in, by fake;
            may be above 1 (Naeem 2020).
        coverage: Share of reals with a fake in their ball, by real: about 1 - 2^-k for two equally
            large sets of one distribution (Naeem 2020, equation 11).
    """

    precision: Measured
    recall: Measured
    density: Measured
    coverage: Measured


@dataclass(frozen=True)
class _Hits:
    """How often each sample of a set was hit by another set, and by whom if once.

    Attributes:
        counts: Hits of each, [n] float64.
        once: Sum of the hitters' ordinals, [n] float64: of a sample hit once, its one hitter.
        hitters: How many may hit.
    """

    counts: NDArray[np.float64]
    once: NDArray[np.float64]
    hitters: int

    def share(self) -> Measured:
        """Return the share of samples that were hit.

        A hitter's influence is the jackknife's: without it the share loses what it alone hit. This
        errs on the wide side: against new samples the error comes out 1 to 1.5 times as large.
        """
        hit = (self.counts > 0).astype(np.float64)
        value = float(hit.mean())
        alone = np.bincount(
            self.once[self.counts == 1].astype(np.int64), minlength=self.hitters
        )  # [hitters]
        other = np.asarray((alone - alone.mean()) * self.hitters / len(hit), np.float64)
        return Measured(value, hit - value, is_share=True, other=other)


def neighbourhood(real: Features, fake: Features, k: int = K) -> Neighbourhood:
    """Return precision, recall, density and coverage; each pair of samples is looked at once.

    A ball is open: a sample at the very distance of the k-th neighbour is outside. torch-fidelity
    counts it in, which matters where samples are copies of each other.

    Args:
        real: Features [N, D]; N is above k.
        fake: Features [M, D]; M is above k.
        k: Which nearest other sample of its own set makes the radius of a sample's ball.

    Raises:
        ValueError: There are not more than k samples on a side, or k is below 1.
    """
    reach_real, reach_fake = (torch.from_numpy(_reach(side, k)) for side in (real, fake))
    covered = torch.zeros(len(real), 2)
    recalled = torch.zeros(len(real), 2)
    precise = torch.zeros(len(fake), 2)
    of_real, of_fake = (_ordinals(len(side)) for side in (real, fake))
    for rows, columns, tile in _tiles(real, fake):
        # Counting by the product with ones: several times as fast as a sum of booleans.
        in_real = (tile < reach_real[rows, None]).float()
        covered[rows] += in_real @ of_fake[columns]
        precise[columns] += in_real.T @ of_real[rows]
        recalled[rows] += (tile < reach_fake[columns]).float() @ of_fake[columns]
    in_balls = _hits(precise, len(real))
    coverage_hits = _hits(covered, len(fake))
    density = in_balls.counts / k
    value = float(density.mean())
    # The same sum by real: fakes in its ball. Radii are taken as they are, so that the density's
    # error comes out 0.8 to 1.2 times that of new samples.
    held = coverage_hits.counts
    return Neighbourhood(
        precision=in_balls.share(),
        recall=_hits(recalled, len(fake)).share(),
        density=Measured(
            value,
            density - value,
            other=(held - held.mean()) * len(real) / (k * len(fake)),
            least=0.0,
        ),
        coverage=coverage_hits.share(),
    )


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
    found, _ = nearest(real, fake, 1)
    return float(np.mean(found[:, 0] ** 2 < _reach(real, k)))


def diversity(real: Features, fake: Features) -> Measured:
    """Return the mean distance between two fakes over that between two reals, by fake.

    Raises:
        ValueError: There are fewer than 2 of a side, or the reals are all equal.
    """
    reals, fakes = _to_the_others(real), _to_the_others(fake)
    scale, value = float(reals.mean()), float(fakes.mean())
    if not scale > 0:
        raise ValueError(f"the {len(real)} real samples are all equal: diversity has no scale")
    # A mean over pairs: each sample counts twice, as the one and as the other (Hoeffding 1948).
    return Measured(
        value / scale,
        2 * (fakes - value) / scale,
        other=-2 * (value / scale) * (reals - scale) / scale,
        least=0.0,
    )


def spread(features: Features) -> float:
    """Return the mean distance between two different rows of [N, D], from 0 up.

    Raises:
        ValueError: There are fewer than 2 rows.
    """
    return float(_to_the_others(features).mean())


def radii(features: Features, k: int = K) -> NDArray[np.float64]:
    """Return the distance of each row to its k-th nearest other row: from [N, D], [N] float64.

    Raises:
        ValueError: There are not more than k rows, or k is below 1.
    """
    if not 1 <= k < len(features):
        raise ValueError(f"the {k}-th nearest of {len(features)} rows, itself apart, is not there")
    return nearest(features, features, k, itself=True)[0][:, -1]


def nearest(
    rows: Features, others: Features, k: int, *, itself: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and ordinals of the k nearest others of each row, the nearest first.

    Args:
        rows: Features [N, D].
        others: Features [M, D].
        k: How many, at least 1; fewer are returned where there are fewer.
        itself: Rows and others are one set, and a row is not its own neighbour.

    Returns:
        [N, k] float64 and [N, k] int64.

    Raises:
        ValueError: There are no rows or no others to be near, or k is below 1.
    """
    if len(rows) == 0 or len(others) == 0:
        raise ValueError(f"no distance between sets of {len(rows)} and {len(others)} rows")
    wanted = min(k, len(others) - itself)
    if wanted < 1:
        raise ValueError(f"the {k} nearest of {len(others)} rows, itself apart, are not there")
    squared = torch.full((len(rows), wanted), torch.inf, dtype=torch.float64)
    which = torch.zeros((len(rows), wanted), dtype=torch.int64)
    for mine, columns, tile in _tiles(rows, others):
        if itself:
            own = torch.arange(mine.start, mine.stop)
            own = own[(own >= columns.start) & (own < columns.stop)]
            tile[own - mine.start, own - columns.start] = torch.inf
        best, place = tile.topk(min(wanted, tile.shape[1]), dim=1, largest=False)
        best = torch.cat([squared[mine], best], dim=1)
        place = torch.cat([which[mine], place + columns.start], dim=1)
        squared[mine], order = best.topk(wanted, dim=1, largest=False)
        which[mine] = place.gather(1, order)
    return squared.sqrt().numpy(), which.numpy()


def _reach(features: Features, k: int) -> NDArray[np.float64]:
    """Return the squared radius of each row's ball, less what counts as a tie, [N] float64."""
    return np.asarray(radii(features, k) ** 2 * (1 - _TIE), np.float64)


def _to_the_others(features: Features) -> NDArray[np.float64]:
    """Return the mean distance of each row to the other ones, [N] float64."""
    if len(features) < 2:
        raise ValueError(f"{len(features)} rows have no distance between them")
    sums = torch.zeros(len(features), dtype=torch.float64)
    for rows, _, tile in _tiles(features, features):
        sums[rows] += tile.sqrt_().sum(dim=1)
    return (sums / (len(features) - 1)).numpy()


def _ordinals(count: int) -> Tensor:
    """Return ones beside ordinals, [count, 2] float32: a product with them counts and names."""
    return torch.stack([torch.ones(count), torch.arange(count, dtype=torch.float32)], dim=1)


def _hits(found: Tensor, hitters: int) -> _Hits:
    """Return hits from sums of `_ordinals`, [n, 2]: float32 is exact for those that are used."""
    counts, once = found.double().numpy().T
    return _Hits(counts, once, hitters)


def _tiles(a: Features, b: Features) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield (rows of a, rows of b, squared distances [n, m] float64, the caller's to write on)."""
    step = max(1, len(a) // _CENTRED_BY)
    centre = a[::step].astype(np.float64).mean(axis=0)
    for top in range(0, len(a), _ROWS):
        rows = slice(top, min(top + _ROWS, len(a)))
        some = _centred(a[rows], centre)
        for left in range(0, len(b), _COLUMNS):
            columns = slice(left, min(left + _COLUMNS, len(b)))
            yield rows, columns, _squared(some, _centred(b[columns], centre))


def _centred(rows: Features, centre: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(rows.astype(np.float64) - centre)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances [n, m] of rows [n, D] to rows [m, D], both float64 and centred."""
    norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)  # [n, m]
    found = torch.addmm(norms, a, b.T, alpha=-2)
    near = found < norms.mul_(_NEAR)
    if int(near.count_nonzero()) > near.numel() // _MANY:  # copies of one sample, as of a collapse
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square_()
    i, j = near.nonzero(as_tuple=True)
    portion = max(1, _SUBTRACTED // a.shape[1])
    for start in range(0, len(i), portion):
        some = slice(start, start + portion)
        found[i[some], j[some]] = (a[i[some]] - b[j[some]]).square().sum(dim=1)
    return found
