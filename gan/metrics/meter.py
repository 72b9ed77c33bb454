"""Measures bundles against one data set, with one extractor and one choice of samples.

What belongs to the real images is read once and kept (`store.py`); of a bundle the features of its
samples are. So a second model, or the same one again, costs what is new in it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gan.bundle import Bundle
from gan.errors import GanmillError, UsageError
from gan.metrics.extractors import Extractor, load_extractor
from gan.metrics.frechet import Reference
from gan.metrics.intervals import Interval, Measured
from gan.metrics.kernel import kernel_distance
from gan.metrics.memorisation import THUMBNAIL_PX
from gan.metrics.moments import Moments, moments_of
from gan.metrics.reading import Cluster, read_portions
from gan.metrics.sampling import (
    Ordinals,
    Portion,
    asked_classes,
    generated_portions,
    noise_portions,
    real_ordinals,
    real_portions,
)
from gan.metrics.scores import MOST, Real, Scores, score
from gan.metrics.store import Arrays, FeatureStore, Seen
from gan.metrics.store import Portion as Read
from gan.modality import Items, modality
from gan.paths import Layout
from gan.progress import Pace, Say, say
from gan.recipe import Recipe
from gan.sections import EvaluateSpec
from gan.seeding import seed_at
from gan.split import split

_DEFINITION = 2  # raised when a metric of the same name comes to mean something else
_NOTHING = 1e-9  # a distance of noise below this: the real images are all alike


@dataclass(frozen=True)
class Halves:
    """One random half of the real images against the other: what a perfect generator scores.

    Attributes:
        distance: Frechet distance; it is above 0 because each half is finite.
        kernel: Kernel distance, unbiased: about 0.
        count: Images in a half.
        is_low_rank: Whether a half is too small for a covariance of full rank.
    """

    distance: Measured
    kernel: Measured
    count: int
    is_low_rank: bool


class Meter:
    """One way to measure; figures of unlike ways are never compared."""

    def __init__(
        self,
        data: Items,
        extractor: Extractor,
        spec: EvaluateSpec,
        store: FeatureStore,
        progress: Say = say,
        cluster: Cluster | None = None,
    ) -> None:
        """Take the instruments; nothing is read before something is measured.

        Args:
            data: The real images.
            extractor: The feature network.
            spec: Which samples are drawn.
            store: Where features are kept.
            progress: Where the lines of progress go.
            cluster: Whose workers read the images instead of this process; the same bytes.

        Raises:
            UsageError: The extractor is made for other images, or there are fewer than 4.
        """
        extractor.require_fit(data)
        if len(data) < 4:
            raise UsageError(
                f"evaluate: {len(data)} real images; at least 4 are needed. Add images."
            )
        self.data = data
        self.extractor = extractor
        self.spec = spec
        self._store = store
        self._progress = progress
        self._cluster = cluster

    @property
    def knows_classes(self) -> bool:
        """Whether the extractor tells this data's classes apart."""
        return self.extractor.knows(self.data)

    def metric_id(self, name: str | None = None) -> str:
        """Return the short hash of all that a figure depends on except the model: 12 hex digits.

        Args:
            name: Of the metric; that of the distance if not given.
        """
        spec = self.spec
        what = [name or self.extractor.card.distance, _DEFINITION, self.extractor.digest]
        what += [self.data.digest, spec.samples, spec.seed]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]

    def another(self, spec: EvaluateSpec) -> "Meter":
        """Return a meter of other samples on the same data, extractor and store."""
        return Meter(self.data, self.extractor, spec, self._store, self._progress, self._cluster)

    def score(self, bundle: Bundle) -> Scores:
        """Measure a bundle.

        Raises:
            UsageError: Bundle and data do not fit each other.
            DivergedError: A generated image or a feature is not finite.
        """
        return score(
            self.generated(bundle),
            asked_classes(self.data, self.spec),
            self.real,
            self.extractor.card,
            knows_classes=self.knows_classes,
        )

    def generated(self, bundle: Bundle) -> Seen:
        """Return what is seen of the bundle's samples, features [samples, D]."""
        spec, what = self.spec, f"{bundle.card.recipe} {bundle.digest[:8]}: images generated"
        return self._store.features(
            {
                "of": "bundle",
                "bundle": bundle.digest,
                "data": self.data.digest,  # its class shares are what is asked for
                "extractor": self.extractor.digest,
                "samples": spec.samples,
                "seed": spec.seed,
            },
            self._shape(spec.samples),
            lambda: self._read(
                generated_portions(bundle, self.data, spec),
                Pace(f"evaluate {what}", spec.samples, self._progress),
            ),
        )

    @cached_property
    def ordinals(self) -> Ordinals:
        """Which real images are measured, rising."""
        return real_ordinals(self.data)

    @cached_property
    def real(self) -> Real:
        """The real images, as read."""
        seen = self._real_seen
        made = self._store.arrays({"of": "reference", **self._names}, self._reference)
        moments = Moments(int(made["count"]), made["mean"], made["scatter"])
        _, held_out = split(len(self.data), self.data.digest, self.data.groups)
        return Real(
            features=seen.features,
            thumbnails=seen.thumbnails,
            labels=self.data.labels[self.ordinals],
            held_out=np.isin(self.ordinals, held_out),
            reference=Reference(moments, made["factor"]),
        )

    @cached_property
    def halves(self) -> Halves:
        """The real images against themselves."""
        return self.halve(0)

    def halve(self, number: int) -> Halves:
        """Return one random half of the real images against the other; `number` draws them."""
        features = self.real.features
        random = np.random.default_rng(seed_at(self.spec.seed, "halves", number))
        order = random.permutation(len(features))
        one, other = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        half = moments_of(features[one])
        distance = Reference(moments_of(features[other])).measure(features[one], half)
        kernel = kernel_distance(features[other[:MOST]], features[one[:MOST]])
        return Halves(distance, kernel, len(one), half.is_low_rank)

    @cached_property
    def noise(self) -> Interval:
        """The distance of noise with the data's mean and spread: the ceiling.

        Raises:
            GanmillError: It is no farther than the real images are from each other.
        """
        spec = self.spec
        what = {**self._names, "of": "noise", "samples": spec.samples, "seed": spec.seed}
        made = self._store.arrays(what, self._noise)
        found = Interval(float(made["value"]), float(made["low"]), float(made["high"]))
        if not found.value > _NOTHING:
            raise GanmillError(
                "evaluate: noise is no farther from the real images than they are from each other "
                f"(distance {found.value:.1e}), so no distance means anything. Are they all alike?"
            )
        return found

    @property
    def _names(self) -> dict[str, str | int]:
        return {"data": self.data.digest, "extractor": self.extractor.digest}

    @cached_property
    def _real_seen(self) -> Seen:
        count = len(self.ordinals)
        return self._store.features(
            {"of": "data", **self._names},
            self._shape(count),
            lambda: self._read(
                real_portions(self.ordinals),
                Pace("evaluate: real images read", count, self._progress),
            ),
        )

    def _reference(self) -> Arrays:
        moments = moments_of(self._real_seen.features)
        return {
            "count": np.asarray(float(moments.count)),
            "mean": moments.mean,
            "scatter": moments.scatter,
            "factor": Reference(moments).factor,
        }

    def _noise(self) -> Arrays:
        quiet = Pace("evaluate: noise", self.spec.samples, lambda _: None)
        read = self._read(noise_portions(self.data, self.spec), quiet)
        features = np.concatenate([reading.features for reading, _ in read])
        found = self.real.reference.measure(features, moments_of(features)).interval()
        return {
            "value": np.asarray(found.value),
            "low": np.asarray(found.low),
            "high": np.asarray(found.high),
        }

    def _shape(self, count: int) -> tuple[int, int, int]:
        return count, self.extractor.dims, self.data.channels * THUMBNAIL_PX**2

    def _read(self, portions: Sequence[Portion], pace: Pace) -> Iterator[Read]:
        seen = 0
        for read in read_portions(portions, self.data, self.extractor, self._cluster):
            yield read
            seen += len(read[0].features)
            pace.at(seen)


def open_meter(
    layout: Layout, recipe: Recipe, progress: Say = say, cluster: str | None = None
) -> Meter:
    """Return the meter that the recipe asks for, on its prepared data and pinned extractor.

    Args:
        layout: The workspace.
        recipe: What is measured, and how.
        progress: Where the lines of progress go.
        cluster: Address of a Dask scheduler whose workers read the images.

    Raises:
        DamagedError: Data or extractor are missing or damaged.
        UsageError: They do not fit each other.
    """
    folders = layout.train_data(recipe.name), layout.extractor(recipe.name)
    data = modality("image").open_dataset(folders[0])
    extractor = load_extractor(folders[1], wanted=recipe.evaluate.extractor)
    store = FeatureStore(layout.features, progress)
    workers = Cluster(cluster, *(folder.resolve() for folder in folders)) if cluster else None
    return Meter(data, extractor, recipe.evaluate, store, progress, workers)
