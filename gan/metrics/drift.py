"""How far new images are from old ones: their classes, their facts, and what a network sees.

Each figure comes with a 95 % interval and with what chance alone does, so that a small data set is
not taken for a changed one. Images of one group (the frames of a clip) are no independent
witnesses: spreads count groups, not images.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.errors import UsageError
from gan.metrics.intervals import Interval, Measured
from gan.metrics.kernel import kernel_distance
from gan.metrics.moments import Features
from gan.seeding import seed_at

_DRAWS = 400
_HALVINGS = 20
_NOTHING = 1e-12  # halves nearer than this: the images are all alike
# Of two samples of one distribution, Kolmogorov's distance is on average the first of these over
# the root of the size, and below the second of them in 95 % of cases (Smirnov 1939).
_MEAN_OF_CHANCE, _MOST_OF_CHANCE = 0.8687, 1.3581


@dataclass(frozen=True, eq=False)
class Side:
    """One figure of each image of a set.

    Attributes:
        values: [N]: a class number or a fact; N is at least 2.
        groups: The number of the group that each image belongs to, [N] int64.
    """

    values: NDArray[Any]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Shift:
    """A difference of two distributions, 0 to 1.

    Attributes:
        interval: The difference. Finite sets always differ: what they do by chance on average is
            taken off the lower end, which makes the interval wider than it need be, never narrower.
        by_chance: Two sets of these sizes from one source differ by more in 5 % of cases.
    """

    interval: Interval
    by_chance: float


@dataclass(frozen=True, eq=False)
class FeatureShift:
    """How far apart a network sees two sets.

    Attributes:
        times: The kernel distance in units of `unit`; about 0 where both are of one source.
        distance: The kernel distance itself.
        unit: Root mean square of the kernel distance between two random halves of the old images.
            It falls with their number, so figures of unlike numbers are not comparable.
        strangest: Places of the new images, those least like the old ones first, [n].
        missed: Places of the old images, those least like the new ones first, [m].
    """

    times: Interval
    distance: Interval
    unit: float
    strangest: NDArray[np.int64]
    missed: NDArray[np.int64]


def label_shift(old: Side, new: Side) -> Shift:
    """Return the total variation of two class distributions: half the sum of what shares differ by.

    Args:
        old: Class numbers from 0 up.
        new: The same numbers for the same classes.
    """
    count = int(max(old.values.max(), new.values.max())) + 1
    shares = [np.bincount(side.values, minlength=count) / len(side.values) for side in (old, new)]
    sign = np.sign(shares[1] - shares[0])
    value = float(np.abs(shares[1] - shares[0]).sum() / 2)
    influences = [
        (sign[side.values] - sign @ share) / 2
        for side, share in zip((old, new), shares, strict=True)
    ]
    sizes = [len(np.unique(side.groups)) for side in (old, new)]
    pooled = (sizes[0] * shares[0] + sizes[1] * shares[1]) / sum(sizes)
    random = np.random.default_rng(seed_at(1, "label shift"))
    drawn = [random.multinomial(size, pooled, _DRAWS) / size for size in sizes]
    chance = np.abs(drawn[1] - drawn[0]).sum(axis=1) / 2  # [draws]
    interval = _interval(value, (old, new), influences, float(chance.mean()))
    return Shift(interval, float(np.quantile(chance, 0.95)))


def fact_shift(old: Side, new: Side) -> Shift:
    """Return the Kolmogorov-Smirnov distance of a fact: the most that the two shares below differ.

    It does not change when the fact is measured on another scale.
    """
    sides = [np.sort(side.values) for side in (old, new)]
    places = np.concatenate(sides)
    below = [np.searchsorted(side, places, side="right") / len(side) for side in sides]
    apart = below[1] - below[0]
    widest = int(np.abs(apart).argmax())
    sign, at = float(np.sign(apart[widest])), places[widest]
    influences = [
        sign * ((side.values <= at) - share[widest])
        for side, share in zip((old, new), below, strict=True)
    ]
    sizes = [len(np.unique(side.groups)) for side in (old, new)]
    unit = math.sqrt(sum(sizes) / math.prod(sizes))
    interval = _interval(float(abs(apart[widest])), (old, new), influences, _MEAN_OF_CHANCE * unit)
    return Shift(interval, min(1.0, _MOST_OF_CHANCE * unit))


def feature_shift(old: Features, new: Features, seed: int) -> FeatureShift:
    """Return how far apart two sets of features are, against two halves of the old set.

    Args:
        old: [m, D], a row for each independent image; m is at least 4.
        new: [n, D]; n is at least 2.
        seed: Draws the halves.

    Raises:
        UsageError: A set is too small, or the old images are all alike.
        DivergedError: A feature is not finite.
    """
    if len(old) < 4 or len(new) < 2:
        raise UsageError(
            f"drift: {len(old)} old and {len(new)} new images that are independent of each other; "
            "at least 4 and 2 are needed. Add images."
        )
    unit = _between_halves(old, seed)
    if unit < _NOTHING:
        raise UsageError("drift: the old images are all alike, so no distance has a measure.")
    found = kernel_distance(old, new)
    distance = found.interval()
    times = Interval(distance.value / unit, distance.low / unit, distance.high / unit)
    strangest, missed = (
        np.argsort(-each, kind="stable") for each in (found.influence, found.other)
    )
    return FeatureShift(times, distance, unit, strangest, missed)


def _between_halves(features: Features, seed: int) -> float:
    """Return the root mean square of the kernel distances between random halves."""
    half, squares = len(features) // 2, 0.0
    for number in range(_HALVINGS):
        order = np.random.default_rng(seed_at(seed, "drift", number)).permutation(len(features))
        one, other = np.sort(order[:half]), np.sort(order[half:])
        squares += kernel_distance(features[one], features[other]).value ** 2
    return math.sqrt(squares / _HALVINGS)


def _interval(
    value: float,
    sides: tuple[Side, Side],
    influences: list[NDArray[np.float64]],
    by_chance: float,
) -> Interval:
    """Return a difference with its interval, the mean of chance off its lower end."""
    old, new = (
        _of_groups(influence, side.groups)
        for influence, side in zip(influences, sides, strict=True)
    )
    found = Measured(value, new, other=old, least=0.0, most=1.0).interval()
    return Interval(value, max(0.0, found.low - by_chance), found.high)


def _of_groups(influence: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the influence of each group, [G], such that the figure's variance is that of groups.

    Raises:
        UsageError: There is one group alone, which has no spread.
    """
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], influence)
    if len(sums) < 2:
        raise UsageError("drift: all images are of one group, which has no spread. Add groups.")
    return np.asarray(sums * (len(sums) / len(influence)), np.float64)
