"""How a generator fares while it is trained: the same latents and classes at each measurement.

    fd                Frechet distance to the real images in the recipe's extractor; N is small, so
                      that the figure is only to be compared with others of the same training
    diversity         mean distance between two fakes of a class, over that of the class's reals
    worst_diversity   of the class where it is lowest
    coverage          k = 5, of as many reals as fakes of a class: 0.97 for a perfect generator
    worst_coverage    of the class where it is lowest
    class_accuracy    share of fakes that the extractor takes for the class asked for
    rank              effective rank of the fakes' features, over that of the reals'
    samples           fakes measured

A mean over classes weighs them alike; `classes.py` says which count.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gan.bundle import latents
from gan.errors import GanmillError, SourceError
from gan.inference import generate
from gan.metrics.classes import Group, evenly, groups
from gan.metrics.extractors import Extractor, Reading
from gan.metrics.frechet import Reference
from gan.metrics.moments import Features, effective_rank, moments_of
from gan.metrics.neighbours import K
from gan.modality import Items, modality
from gan.seeding import seed_at
from gan.split import split

SAMPLES = 1000
_REAL_AT_MOST = 2000

Ordinals = NDArray[np.int64]


@dataclass(frozen=True)
class _Real:
    """What is known of the real images: made once."""

    reference: Reference
    rank: float
    groups: list[Group]


class Tracker:
    """Measures a generator again and again, each time alike; `open_tracker` makes one."""

    def __init__(self, extractor: Extractor, data: Items, seed: int, z_dim: int) -> None:
        """Draw which images are measured; nothing is computed before the first measurement."""
        self._extractor = extractor
        self._data = data
        trained, _ = split(len(data), data.digest, data.groups)
        labels = data.labels[trained]
        order = np.random.default_rng(seed_at(seed, "tracking")).permutation(len(trained))
        by_class = order[np.argsort(labels[order], kind="stable")]
        count = min(_REAL_AT_MOST, len(trained))
        # Evenly from all images in the order of their classes: each class has its share, to one.
        self._chosen = trained[by_class[evenly(len(trained), count)]]
        self._classes = np.sort(labels)[evenly(len(trained), SAMPLES)]
        self._z = latents(seed, "tracking", count=SAMPLES, z_dim=z_dim)

    def measure(
        self, generator: nn.Module, device: torch.device | str | None = None
    ) -> dict[str, float]:
        """Return the figures of a generator; it is left as it was, modes and all.

        The first call reads the real images too. The same weights give the same figures on the
        same machine and number of threads.

        Args:
            generator: G: (z [N, z_dim] float32, c [N] int64) -> images [N, C, H, W] in [-1, 1].
            device: Where features are computed; by default where the generator is.

        Raises:
            DivergedError: A generated image is not finite.
            GanmillError: The real images are all alike, so that no figure means anything.
        """
        self._extractor.move(device or next(generator.parameters()).device)
        real = self._real  # before the fakes: it may refuse
        c = torch.from_numpy(self._classes)
        fakes = self._extractor.read(generate(modality("image"), generator, self._z, c))
        return {**self._figures(fakes.features, real), **self._accuracy(fakes)}

    def _figures(self, fakes: Features, real: _Real) -> dict[str, float]:
        moments = moments_of(fakes)
        diversities = [group.diversity(fakes) for group in real.groups]
        coverages = [group.coverage(fakes) for group in real.groups]
        return {
            "fd": real.reference.distance(moments),
            "diversity": float(np.mean(diversities)),
            "worst_diversity": min(diversities),
            "coverage": float(np.mean(coverages)),
            "worst_coverage": min(coverages),
            "rank": effective_rank(moments) / real.rank,
            "samples": float(SAMPLES),
        }

    def _accuracy(self, fakes: Reading) -> dict[str, float]:
        if fakes.predicted is None or not self._extractor.knows(self._data):
            return {}
        return {"class_accuracy": float(np.mean(fakes.predicted == self._classes))}

    @cached_property
    def _real(self) -> _Real:
        """Read the reals through the extractor."""
        ordinals = np.sort(self._chosen)  # rising: the images may be a memory map
        features = self._extractor.features(np.asarray(self._data.images[ordinals]))
        labels = self._data.labels[ordinals]
        found = groups(features, labels, self._classes, most=_REAL_AT_MOST)
        if not found:
            raise GanmillError(
                f"tracking: the {len(features)} real images measured are all alike to extractor "
                f"{self._extractor.digest[:8]}, so no figure means anything. Look at the images."
            )
        moments = moments_of(features)
        return _Real(Reference(moments), effective_rank(moments), found)


def open_tracker(extractor: Extractor, data: Items, spec_seed: int, z_dim: int) -> Tracker:
    """Return what measures a generator during its training.

    Args:
        extractor: Trained on this data.
        data: Prepared images; those held out of the training (`gan.split`) are never read.
        spec_seed: The training's seed; it draws which reals and latents are measured.
        z_dim: Size of the generator's latent.

    Raises:
        UsageError: The extractor is of other classes or images.
        SourceError: There are too few images for the fifth nearest of each.
    """
    extractor.require_fit(data)
    if len(data) <= K:
        raise SourceError(
            f"tracking: {len(data)} images; at least {K + 1} are needed to tell how well they are "
            "covered. Add images."
        )
    return Tracker(extractor, data, spec_seed, z_dim)
