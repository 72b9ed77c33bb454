"""Too near to a training image: a copy, also a mirrored or slightly blurred one.

Each image is held against all that the bundle was trained on, in three ways: by its thumbnail, by
its thumbnail mirrored, and by the features of the recipe's own extractor. What counts is the
distance to the nearest against that to the 50 nearest (see `gan.metrics.memorisation`). Images that
were held out of the training show how near an honest new image comes: the limit is where a share
of them would be set aside, in whichever way.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.bundle import Bundle
from gan.durable import SUMS, sha256
from gan.image.dataset import Dataset, open_dataset
from gan.metrics.store import FeatureStore
from gan.screening.eyes import Eyes
from gan.screening.training import DIGITS, AbsentError, HeldOut, Index, TrainingImages

_TYPICAL = 0.05  # ways are made comparable by what this share of held-out images lies below
_LEAST = 1e-3  # of a limit: where held-out images are copies, a copy is still one

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Copies:
    """The training images of a bundle, and how near to one of them is too near."""

    def __init__(
        self, digest: str, training: NDArray[np.int64], index: Index, limits: Floats
    ) -> None:
        """Take what `open_copies` read; the limits are ratios by way, [2 or 3]."""
        self._digest = digest
        self._training = training
        self._index = index
        self._limits = limits

    def near(
        self, images: Images, features: NDArray[np.float32] | None
    ) -> tuple[Floats, list[str]]:
        """Return how near images [N, C, H, W] are to training images, and to which.

        Args:
            images: uint8.
            features: What the extractor sees in them, [N, D]; None where there is none.

        Returns:
            [N]: 0 an exact copy, 1 the limit, four decimals; and the names of the nearest training
            images, as `training_picture` takes them.
        """
        ratios, which = self._index.ratios(images, features)
        scaled = ratios / self._limits[:, None]
        way, each = scaled.argmin(axis=0), np.arange(len(images))
        ordinals = self._training[which[way, each]]
        return scaled[way, each].round(4), [f"{self._digest[:DIGITS]}/{o}" for o in ordinals]


def open_copies(
    bundle: Bundle, folder: Path | None, eyes: Eyes | None, store: FeatureStore, share: float
) -> tuple[Copies | None, str]:
    """Return what to hold candidates against, and a note: why that cannot be, or what to know.

    Args:
        bundle: Whose training images.
        folder: Prepared data; used if the bundle was trained on them.
        eyes: The extractor; without it thumbnails alone are compared.
        store: Where is kept what is read of the images.
        share: Share of held-out images that lie as near as no candidate may.

    Raises:
        DamagedError: The prepared data are there but altered.
    """
    card = bundle.card
    images = TrainingImages(folder, card.data_digest, card.channels, eyes, store)
    try:
        training, index, held_out = images.read()
    except AbsentError as error:
        return None, str(error)
    if held_out.ratios.shape[1] == 0:
        return None, f"{len(training)} training images are too few to tell how near is too near"
    note = "no image was held out of the training; a tenth of the trained ones stood in for them"
    copies = Copies(card.data_digest, training, index, _limits(held_out, share))
    return copies, note if held_out.is_stand_in else ""


def training_picture(training: Path, like: str) -> Images | None:
    """Return the training image that a `Look` names as too near, uint8 [C, H, W].

    None where it cannot be had: the prepared data are gone, or of another version by now.

    Args:
        training: Folder of prepared data.
        like: 12 digits of the data digest, a stroke, the ordinal.

    Raises:
        DamagedError: The data are there but altered.
    """
    digest, _, ordinal = like.partition("/")
    if not (training / SUMS).is_file():
        return None
    data = _opened(training, sha256(training / SUMS))
    is_there = data.digest[:DIGITS] == digest and ordinal.isdigit() and int(ordinal) < len(data)
    return np.array(data.images[int(ordinal)]) if is_there else None


@lru_cache(maxsize=1)
def _opened(training: Path, sums: str) -> Dataset:  # noqa: ARG001  # the list names the content
    """Return the prepared data, checked once for all pictures of a page."""
    return open_dataset(training)


def _limits(held_out: HeldOut, share: float) -> Floats:
    """Return the ratio of each way below which `share` of the held-out images lie in any way."""
    typical = np.maximum(np.quantile(held_out.ratios, _TYPICAL, axis=1), _LEAST)
    nearest = (held_out.ratios / typical[:, None]).min(axis=0)
    limits: Floats = typical * max(float(np.quantile(nearest, share)), _LEAST)
    return limits
