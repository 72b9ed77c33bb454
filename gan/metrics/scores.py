"""All that is measured of a set of images, from its features: by name, each with its influences.

    <distance>           Frechet distance to the real images; its name is the extractor's
    <kernel>             kernel distance (squared MMD), unbiased: for few images
    precision            share of fakes within the real images' neighbourhoods
    recall               share of reals within the fakes' neighbourhoods
    density, coverage    the same with less weight on outliers (k = 5)
    class_coverage       coverage, mean over classes
    diversity            distance between two fakes of a class, over that of its reals
    class_accuracy       share of fakes that the extractor takes for the class asked for
    memorisation         chance that a fake's nearest real image was trained on; honest: 0.5
    copied_share         share of fakes that lie unusually near to a training image
    feature_...          the same two by the extractor's features, not by thumbnails

What lies near what is asked of at most 10,000 images on each side.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gan.errors import GanmillError
from gan.metrics.cards import ExtractorCard
from gan.metrics.classes import ClassScore, class_scores, evenly, groups, mean_of
from gan.metrics.frechet import Reference
from gan.metrics.intervals import Interval, Measured
from gan.metrics.kernel import kernel_distance
from gan.metrics.memorisation import Memorisation, is_copying, memorisation
from gan.metrics.moments import Features, Moments, moments_of
from gan.metrics.neighbours import neighbourhood
from gan.metrics.store import Seen

MOST = 10_000
_MOST_OF_CLASS = 1000

Ordinals = NDArray[np.int64]
_LESS_IS_BETTER = ("fid", "fd_", "kid", "kd_", "memorisation", "copied_", "feature_")


@dataclass(frozen=True)
class Real:
    """The real images as what generated ones are held against.

    Attributes:
        features: [N, D], maybe a memory map.
        thumbnails: [N, T] uint8, maybe a memory map.
        labels: Class of each, int64 [N].
        held_out: Which were never trained on, bool [N].
        reference: Their moments, factored.
    """

    features: NDArray[np.float32]
    thumbnails: NDArray[np.uint8]
    labels: Ordinals
    held_out: NDArray[np.bool_]
    reference: Reference

    @property
    def some(self) -> Features:
        """At most 10,000 of the features, evenly drawn."""
        return self.features[evenly(len(self.features), min(MOST, len(self.features)))]


@dataclass(frozen=True)
class Memory:
    """How near fakes lie to training images: by the extractor's features, and by thumbnails."""

    features: Memorisation
    thumbnails: Memorisation

    @property
    def is_copying(self) -> bool:
        """Whether either of the two says, beyond its doubt, that training images are copied."""
        return is_copying(self.features) or is_copying(self.thumbnails)

    @property
    def telling(self) -> Memorisation:
        """The one to show: thumbnails, unless the features alone say that images are copied."""
        by_features = is_copying(self.features) and not is_copying(self.thumbnails)
        return self.features if by_features else self.thumbnails

    def intervals(self) -> dict[str, Interval]:
        """Return the figures by name; none where no image was held out."""
        found = {
            "memorisation": self.thumbnails.memorisation,
            "copied_share": self.thumbnails.copied_share,
            "feature_memorisation": self.features.memorisation,
            "feature_copied_share": self.features.copied_share,
        }
        return {name: each for name, each in found.items() if each is not None}


@dataclass(frozen=True)
class Scores:
    """What was measured of one set of images.

    Attributes:
        measured: By name; influences are of the fakes, of recall and coverages of the reals.
        moments: Of its features.
        memory: How near they lie to training images.
        classes: By class of the data.
    """

    measured: dict[str, Measured]
    moments: Moments
    memory: Memory
    classes: dict[int, ClassScore]


def within_classes(measured: Measured, asked: Ordinals) -> Measured:
    """Return a figure whose influences leave out how classes differ.

    Each set of samples has the classes in the same shares, so that what sets one class apart from
    another is not among the things that vary from set to set (stratified sampling).

    Args:
        measured: A figure over the first M generated images.
        asked: The class that each was asked for, [M] or longer.
    """
    influence = measured.influence
    _, place, counts = np.unique(asked[: len(influence)], return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=influence) / counts
    return replace(measured, influence=influence - means[place])


def less_is_better(name: str) -> bool | None:
    """Return whether a lower value of a metric is the better one; None where 1 is the best."""
    return None if name == "diversity" else name.startswith(_LESS_IS_BETTER)


def score(
    fake: Seen, asked: Ordinals, real: Real, card: ExtractorCard, *, knows_classes: bool
) -> Scores:
    """Measure a set of images.

    Args:
        fake: Their features [M, D] and predicted classes [M].
        asked: The class that each was asked for, [M].
        real: What they are held against.
        card: Names the distances.
        knows_classes: Whether the predicted classes are the data's.

    Raises:
        DivergedError: A feature is not finite.
        GanmillError: The real images are all alike, so that no figure means anything.
    """
    moments = moments_of(fake.features)
    some, predicted = fake.features[:MOST], fake.predicted if knows_classes else None
    right = None if predicted is None else predicted == asked
    near = neighbourhood(real.some, some)
    counted = groups(real.features, real.labels, asked, most=_MOST_OF_CLASS)
    if not counted:
        raise GanmillError(
            f"evaluate: the {len(real.features)} real images are all alike to the extractor, so no "
            "figure means anything. Look at the images."
        )
    by_class = {
        each.number: (each.measured_coverage(fake.features), each.measured_diversity(fake.features))
        for each in counted
    }
    classes = class_scores(real.features, real.labels, fake.features, asked, right, by_class)
    measured = {
        card.distance: real.reference.measure(fake.features, moments),
        card.kernel: kernel_distance(real.some, some),
        "precision": near.precision,
        "recall": near.recall,
        "density": near.density,
        "coverage": near.coverage,
        "class_coverage": mean_of([covered for covered, _ in by_class.values()]),
        "diversity": mean_of([diverse for _, diverse in by_class.values()]),
    }
    if right is not None:
        share = right.astype(np.float64)
        measured["class_accuracy"] = Measured(
            float(share.mean()), share - share.mean(), is_share=True
        )
    for name in (card.distance, card.kernel, "precision", "density", "class_accuracy"):
        if name in measured:
            measured[name] = within_classes(measured[name], asked)
    return Scores(measured, moments, _memory(fake, real), classes)


def _memory(fake: Seen, real: Real) -> Memory:
    """Look for copies in the extractor's features and in thumbnails: each sees what others miss."""
    known, unknown = ~real.held_out, real.held_out
    small = real.thumbnails.astype(np.float32)
    return Memory(
        memorisation(real.features[known], real.features[unknown], fake.features[:MOST]),
        memorisation(small[known], small[unknown], fake.thumbnails[:MOST].astype(np.float32)),
    )
