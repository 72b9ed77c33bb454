"""The images that a bundle was trained on, as candidates are held against them.

What is read of them is kept by the digests of data and extractor, so that neither they nor the
time to read them is needed again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.durable import SUMS, read_json
from gan.errors import GanmillError
from gan.image.dataset import META, open_dataset
from gan.metrics.extractors import Reading
from gan.metrics.memorisation import THUMBNAIL_PX, thumbnails
from gan.metrics.store import FeatureStore, Portion
from gan.modality import Items
from gan.screening.eyes import Eyes
from gan.screening.nearest import Ratios
from gan.split import split

DIGITS = 12  # of a data digest, where it is named
_PORTION = 256
_STAND_IN = 10
_DEFINITION = 1  # raised when the same images come to be held against each other in another way

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ordinals = NDArray[np.int64]
Features = NDArray[np.float32]


class AbsentError(GanmillError):
    """The images that a bundle was trained on are not here, and nothing is kept of them."""


@dataclass(frozen=True)
class Index:
    """Training images, seen in two or three ways."""

    thumbnails: Ratios
    features: Ratios | None

    def ratios(self, images: Images, features: Features | None) -> tuple[Floats, Ordinals]:
        """Return how near images [N, C, H, W] uint8 with features [N, D] are to training images.

        Returns:
            By way (plain thumbnail, mirrored thumbnail, features), [2 or 3, N] each: the ratio of
            `Ratios.of`, and the place of the nearest training image.
        """
        small = _small(images)
        sides = small.reshape(len(small), -1, THUMBNAIL_PX, THUMBNAIL_PX)
        mirrored = np.ascontiguousarray(sides[..., ::-1]).reshape(small.shape)
        found = [self.thumbnails.of(small), self.thumbnails.of(mirrored)]
        if self.features is not None and features is not None:
            found.append(self.features.of(features))
        return np.stack([ratio for ratio, _ in found]), np.stack([which for _, which in found])


@dataclass(frozen=True)
class HeldOut:
    """How near honest images come to training images.

    Attributes:
        ratios: By way and image, [2 or 3, H]; H is 0 where there are too few images to tell.
        is_stand_in: Whether training images stood in for held-out ones.
    """

    ratios: Floats
    is_stand_in: bool


@dataclass(frozen=True)
class TrainingImages:
    """The images that a bundle was trained on.

    Attributes:
        folder: Prepared data, used if their digest is this one.
        digest: The data digest of the bundle's card.
        channels: Of an image.
        eyes: The extractor; without it thumbnails alone are compared.
        store: Where is kept what was read.
    """

    folder: Path | None
    digest: str
    channels: int
    eyes: Eyes | None
    store: FeatureStore

    def read(self) -> tuple[Ordinals, Index, HeldOut]:
        """Return ordinals of the training images, their index, and what held-out ones tell.

        Raises:
            AbsentError: Something has to be read, and the images are not there.
            DamagedError: They are, but altered.
        """
        kept = self.store.arrays({**self._what, "part": "held out"}, self._held_out)
        training = kept["training"].astype(np.int64)
        return training, self._index(training), HeldOut(kept["ratios"], bool(kept["stand_in"][0]))

    @property
    def _what(self) -> dict[str, str | int]:
        """What is kept is named by this."""
        seen_by = self.eyes.digest if self.eyes else "thumbnails"
        return {"of": "training", "data": self.digest, "by": seen_by, "definition": _DEFINITION}

    def _open(self) -> Items:
        wanted = f"the images that the bundle was trained on (digest {self.digest[:DIGITS]})"
        if self.folder is None or not (self.folder / SUMS).is_file():
            raise AbsentError(f"{wanted} are not at hand")
        found = str(read_json(self.folder / META).get("digest"))
        if found != self.digest:
            raise AbsentError(f"{wanted} are not at hand, others are ({found[:DIGITS]})")
        return open_dataset(self.folder)

    def _held_out(self) -> dict[str, Floats]:
        """Hold images that were not trained on against those that were.

        Where no image was held out, every tenth group of training images stands in for them.
        """
        data = self._open()
        training, held_out = split(len(data), data.digest, data.groups)
        index = None
        if len(held_out):
            index = self._index(training)
        else:
            is_aside = data.groups % _STAND_IN == 0
            held_out, others = np.flatnonzero(is_aside), np.flatnonzero(~is_aside)
            if len(others) >= 2:
                index = self._in_memory(data, others)
        found = (
            []
            if index is None
            else [
                index.ratios(images, features)[0] for images, features in self._seen(data, held_out)
            ]
        )
        return {
            "training": training.astype(np.float64),
            "ratios": np.concatenate(found, axis=1) if found else np.empty((2, 0)),
            "stand_in": np.array([float(len(training) == len(data))]),
        }

    def _index(self, training: Ordinals) -> Index:
        """Return the index of all training images: memory maps, as they were kept or read now."""

        def read() -> Iterator[Portion]:
            for images, features in self._seen(self._open(), training):
                small = _small(images)
                # The store asks for features; without an extractor these are never looked at.
                yield (
                    Reading(small.astype(np.float32) if features is None else features, None),
                    small,
                )

        values = self.channels * THUMBNAIL_PX**2
        shape = (len(training), self.eyes.card.dims if self.eyes else values, values)
        kept = self.store.features({**self._what, "part": "index"}, shape, read)
        return Index(Ratios(kept.thumbnails), Ratios(kept.features) if self.eyes else None)

    def _in_memory(self, data: Items, ordinals: Ordinals) -> Index:
        """Return the index of a few images."""
        seen = list(self._seen(data, ordinals))
        small = Ratios(np.concatenate([_small(images) for images, _ in seen]))
        features = [features for _, features in seen if features is not None]
        return Index(small, Ratios(np.concatenate(features)) if features else None)

    def _seen(self, data: Items, ordinals: Ordinals) -> Iterator[tuple[Images, Features | None]]:
        """Yield portions of some images [n, C, H, W], with their features [n, D] if there are."""
        for start in range(0, len(ordinals), _PORTION):
            images = np.asarray(data.images[ordinals[start : start + _PORTION]])
            yield images, self.eyes.read(images).features if self.eyes else None


def _small(images: Images) -> NDArray[np.uint8]:
    """Return thumbnails [N, C * 64] in whole levels, so that their distances are exact."""
    small: NDArray[np.uint8] = thumbnails(images).round().astype(np.uint8)
    return small
