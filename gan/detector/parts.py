"""Which real images the detector learns from, is calibrated on, and is measured on.

    learnt        shown in its training
    calibration   a tenth of the rest: temperature and threshold; the models were trained on them
    measured      held out of the models' training too (`gan.split`)

Images that belong together are never torn apart. Where too few images are there to hold any out,
a fifth is set aside, which the models did see, and the card says so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.errors import SourceError
from gan.modality import Items
from gan.seeding import seed_at
from gan.split import split

LEAST_IMAGES = 100
_CALIBRATION, _MEASURED = 0.1, 0.2
_FEW = 200


@dataclass(frozen=True)
class Parts:
    """Ordinals of real images, int64, rising; no image is in two of them.

    Attributes:
        learnt: Shown in training.
        calibration: What temperature and threshold are set on.
        measured: What the error rates are measured on.
        notes: What is to be known of them, sentences.
    """

    learnt: NDArray[np.int64]
    calibration: NDArray[np.int64]
    measured: NDArray[np.int64]
    notes: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        names = ("learnt", "calibration", "measured")
        return {name: len(getattr(self, name)) for name in names}


def parts_of(real: Items, seed: int) -> Parts:
    """Return who is shown what.

    Raises:
        SourceError: Fewer than 100 images, or nearly all belong together.
    """
    count, notes = len(real), []
    if count < LEAST_IMAGES:
        raise SourceError(
            f"detector: {count} real images; at least {LEAST_IMAGES} are needed. Add images, or "
            "set detector.kimg to 0."
        )
    rest, measured = split(count, real.digest, real.groups)
    groups = np.unique(real.groups, return_inverse=True)[1]
    draw = np.random.default_rng(seed_at(seed, "detector", "parts")).random(groups.max() + 1)[
        groups
    ]
    if not len(measured):
        measured = rest[draw[rest] >= 1 - _MEASURED]
        rest = rest[draw[rest] < 1 - _MEASURED]
        notes.append(
            f"Few real images ({count:,}): none is held out of the models' training, so false "
            "positives are measured on images that the models know, and may be more on new ones."
        )
    calibration, learnt = rest[draw[rest] < _CALIBRATION], rest[draw[rest] >= _CALIBRATION]
    if min(len(learnt), len(calibration), len(measured)) < 5:
        raise SourceError(
            f"detector: of {count} real images so many belong together that "
            f"{len(learnt)}/{len(calibration)}/{len(measured)} are left to learn from, calibrate "
            "and measure on; 5 of each are needed. Add images, or set detector.kimg to 0."
        )
    if len(measured) < _FEW:
        notes.append(
            f"Its false positives are counted on {len(measured)} real images alone: read the "
            "intervals."
        )
    return Parts(learnt, calibration, measured, notes)
