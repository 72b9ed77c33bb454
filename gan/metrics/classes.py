"""How a model fares class by class, so that one lost class is not averaged away.

A class counts where it has 25 real and 25 generated images among those measured and its real
images differ: with fewer, one class in many is low by chance alone. Where no class has as many,
all images together are taken for one class.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.metrics.frechet import frechet_distance
from gan.metrics.intervals import Measured
from gan.metrics.moments import Features, Moments, RunningMoments
from gan.metrics.neighbours import coverage, diversity, neighbourhood, spread

_ENOUGH = 25
_ROWS = 2000
_FULL_ABOVE_DIMS = 512  # there a distance takes seconds, and without full rank says next to nothing

Ordinals = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """A class, or all images where no class has enough.

    Attributes:
        number: The class, or None for all images.
        reals: Features of its real images, [n, D].
        fakes: Which generated images are of it, [m].
        spread: Mean distance between two of its reals, above 0.
    """

    number: int | None
    reals: Features
    fakes: Ordinals
    spread: float

    def diversity(self, fakes: Features) -> float:
        """Return the spread of the group's fakes over that of its reals, from 0 up."""
        return spread(fakes[self.fakes]) / self.spread

    def coverage(self, fakes: Features) -> float:
        """Return the coverage of the group's reals by as many of its fakes, 0..1."""
        return coverage(*self._as_many(fakes))

    def measured_diversity(self, fakes: Features) -> Measured:
        """Return `diversity`, with the influence of each of the group's fakes."""
        return diversity(self.reals, fakes[self.fakes])

    def measured_coverage(self, fakes: Features) -> Measured:
        """Return `coverage`, with the influence of each of the group's reals."""
        return neighbourhood(*self._as_many(fakes)).coverage

    def _as_many(self, fakes: Features) -> tuple[Features, Features]:
        count = min(len(self.reals), len(self.fakes))
        reals = self.reals[evenly(len(self.reals), count)]
        return reals, fakes[self.fakes[evenly(len(self.fakes), count)]]


def groups(reals: Features, labels: Ordinals, asked: Ordinals, *, most: int) -> list[Group]:
    """Return the classes with enough images, in their order; or one group of all images.

    Args:
        reals: Features of the real images, [N, D].
        labels: The class of each, [N].
        asked: The class of each generated image, [M].
        most: Images of a group on each side; distances between them grow with its square.

    Returns:
        At least one group, unless all real images are alike.
    """
    members = {
        number: (np.flatnonzero(labels == number), np.flatnonzero(asked == number))
        for number in np.unique(labels).tolist()
    }
    enough = {n: both for n, both in members.items() if min(map(len, both)) >= _ENOUGH}
    classes = [_group(number, reals, *both, most) for number, both in enough.items()]
    usable = [group for group in classes if group.spread > 0]
    if usable:
        return usable
    whole = _group(None, reals, np.arange(len(reals)), np.arange(len(asked)), most)
    return [whole] if whole.spread > 0 else []


@dataclass(frozen=True)
class ClassScore:
    """How a model fares in one class; None is what there were too few images for.

    Attributes:
        count: Generated images.
        reals: Real images.
        distance: Frechet distance, from 0 up.
        is_low_rank: Whether that distance rests on covariances of deficient rank.
        coverage: Of its real images by as many generated ones, 0..1.
        diversity: Distance between its generated images over that of its real ones, from 0 up.
        accuracy: Share that the extractor takes for this class, 0..1.
    """

    count: int
    reals: int
    distance: float | None
    is_low_rank: bool
    coverage: Measured | None
    diversity: Measured | None
    accuracy: float | None


def class_scores(
    reals: Features,
    labels: Ordinals,
    fakes: Features,
    asked: Ordinals,
    right: NDArray[np.bool_] | None,
    near: Mapping[int | None, tuple[Measured, Measured]],
) -> dict[int, ClassScore]:
    """Return the scores of each class of the data that was asked for.

    Args:
        reals: Features of the real images, [N, D].
        labels: The class of each, [N].
        fakes: Features of the generated ones, [M, D].
        asked: The class that each was asked for, [M].
        right: Whether the extractor takes it for that class, [M]; None where it cannot tell.
        near: Coverage and diversity of the classes with enough images for them.

    Raises:
        DivergedError: A feature is not finite.
    """
    found = {}
    for number in np.unique(asked).tolist():
        mine, its = asked == number, labels == number
        coverage_of, diversity_of = near.get(number, (None, None))
        distance, low_rank = _distance(_moments_at(reals, its), _moments_at(fakes, mine))
        found[number] = ClassScore(
            count=int(mine.sum()),
            reals=int(its.sum()),
            distance=distance,
            is_low_rank=low_rank,
            coverage=coverage_of,
            diversity=diversity_of,
            accuracy=None if right is None else float(right[mine].mean()),
        )
    return found


def _moments_at(features: Features, chosen: NDArray[np.bool_]) -> Moments:
    """Return the moments of some rows, read in portions: a class may be most of a million."""
    stream = RunningMoments(features.shape[1])
    places = np.flatnonzero(chosen)
    for start in range(0, len(places), _ROWS):
        stream.add(features[places[start : start + _ROWS]])
    return stream.moments


def _distance(one: Moments, other: Moments) -> tuple[float | None, bool]:
    """Return the Frechet distance of a class, and whether a covariance is of deficient rank."""
    if min(one.count, other.count) < 2:
        return None, True
    low_rank = one.is_low_rank or other.is_low_rank
    if low_rank and one.dims > _FULL_ABOVE_DIMS:
        return None, True
    return frechet_distance(one, other), low_rank


def mean_of(parts: list[Measured]) -> Measured:
    """Return the mean of what was measured on sets apart; its influences are theirs in order.

    Of figures from 0 up, all of them shares or none.
    """
    return Measured(
        float(np.mean([part.value for part in parts])),
        _joined([part.influence for part in parts]),
        sum(part.extra_variance for part in parts) / len(parts) ** 2,
        other=_joined([part.other for part in parts]),
        least=0.0,
        most=1.0 if all(part.is_share for part in parts) else math.inf,
    )


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return influences on parts as influences on their mean, over all samples together."""
    total = sum(map(len, parts))
    return np.concatenate([part * (total / max(1, len(part)) / len(parts)) for part in parts])


def evenly(length: int, count: int) -> Ordinals:
    """Return `count` places from 0 to `length` - 1, evenly spread and rising, [count]."""
    return np.arange(count, dtype=np.int64) * length // count


def _group(
    number: int | None, reals: Features, places: Ordinals, fakes: Ordinals, most: int
) -> Group:
    chosen = reals[places[evenly(len(places), min(most, len(places)))]]
    asked = fakes[evenly(len(fakes), min(most, len(fakes)))]
    return Group(number, chosen, asked, spread(chosen) if len(chosen) > 1 else 0.0)
