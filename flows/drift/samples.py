"""The two sets of a drift check: facts and classes of all their images, features of some.

Features and small pictures are kept by digest (`gan.metrics.store`), so the images of the champion
are brought back from DVC once, and then no more.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan.errors import DamagedError
from gan.image.facts import class_name, read_facts
from gan.modality import Items
from gan.seeding import seed_at

if TYPE_CHECKING:
    from gan.metrics.extractors import Extractor
    from gan.metrics.store import FeatureStore, Portion

PICTURE_PX = 64  # larger images are kept smaller, for the page
_PORTION = 250


@dataclass(frozen=True, eq=False)
class Version:
    """The accepted images of one data version.

    Attributes:
        digest: The data digest.
        facts: A row of facts for each, in the order of the prepared images.
        labels: The class of each, [N].
        groups: The number of the group of each, [N] int64: what belongs together counts once.
        open: Gives the prepared images; called only when they were never looked at before.
    """

    digest: str
    facts: pd.DataFrame
    labels: list[str]
    groups: NDArray[np.int64]
    open: Callable[[], Items]

    @classmethod
    def of(cls, digest: str, facts: Path, open_images: Callable[[], Items]) -> "Version":
        """Return the version whose facts lie in a file.

        Raises:
            DamagedError: The file is not readable.
        """
        table = read_facts(facts)
        table = table[table["reason"] == ""].reset_index(drop=True)
        names = table["group"].where(table["group"] != "", table["cluster"])
        names = names.where(names != "", table["key"])
        # A group may be called as an image is; they are not one for that.
        kinds = (table["group"] != "").astype(int).astype(str)
        groups = pd.factorize(kinds + names)[0].astype(np.int64)
        labels = [class_name(label) for label in table["label"]]
        return cls(digest, table, labels, groups, open_images)

    def fact(self, name: str) -> NDArray[np.float64]:
        """Return a fact of each image, [N]; `aspect` is width by height."""
        if name == "aspect":
            return (self.facts["width"] / self.facts["height"]).to_numpy(np.float64)
        return self.facts[name].to_numpy(np.float64)

    def draw(self, count: int) -> NDArray[np.int64]:
        """Return places of at most `count` images, rising, no two of one group, by the digest."""
        order = np.random.default_rng(seed_at(int(self.digest[:12], 16), "drift"))
        shuffled = order.permutation(len(self.groups))
        _, first = np.unique(self.groups[shuffled], return_index=True)
        return np.sort(shuffled[np.sort(first)[:count]])


@dataclass(frozen=True, eq=False)
class Sample:
    """Some images of a version as a network sees them, and small pictures of them.

    Attributes:
        places: Which of the version's, rising, [n].
        features: [n, D] float32.
        pictures: [n, C, H, W] uint8, H and W at most 64 px.
        labels: The class of each, [n].
    """

    places: NDArray[np.int64]
    features: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    labels: list[str]


def sample(
    version: Version,
    count: int,
    shape: tuple[int, int],
    extractor: "Extractor",
    store: "FeatureStore",
) -> Sample:
    """Return what an extractor sees in at most `count` images of a version.

    Args:
        version: Which images.
        count: At most so many.
        shape: Their channels and their side in px.
        extractor: What reads them.
        store: Where the reading is kept.

    Raises:
        GanmillError: The images cannot be had, or are not those of the facts.
    """
    channels, resolution = shape
    side_px = min(resolution, PICTURE_PX)
    places = version.draw(count)

    def read() -> "Iterator[Portion]":
        data = version.open()
        if data.digest != version.digest or len(data) != len(version.labels):
            raise DamagedError(
                f"data {version.digest[:12]}: the facts tell of {len(version.labels)} images, the "
                f"prepared data {data.digest[:12]} have {len(data)}. Prepare them again."
            )
        extractor.require_fit(data)
        for start in range(0, len(places), _PORTION):
            images = np.asarray(data.images[places[start : start + _PORTION]])
            yield extractor.read(images), _reduced(images, side_px).reshape(len(images), -1)

    what = {
        "of": "drift",
        "data": version.digest,
        "extractor": extractor.digest,
        "places": hashlib.sha256(places.tobytes()).hexdigest(),
    }
    seen = store.features(what, (len(places), extractor.dims, channels * side_px**2), read)
    pictures = seen.thumbnails.reshape(len(places), channels, side_px, side_px)
    return Sample(places, seen.features, pictures, [version.labels[place] for place in places])


def _reduced(images: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Return square images [n, C, H, H] at a side that divides theirs, each pixel a mean."""
    count, channels, side, _ = images.shape
    step = side // side_px
    blocks = images.reshape(count, channels, side_px, step, side_px, step)
    return np.asarray(blocks.mean(axis=(3, 5)).round(), np.uint8)
