"""Sets of images that are wrong in a known way, and what is measured of them.

Half of the real images is what they are held against, as if a generator had been trained on it;
from the other half, which such a generator never saw, come the sets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.functional import gaussian_blur  # type: ignore[import-untyped]

from gan.metrics.frechet import Reference
from gan.metrics.intervals import Interval
from gan.metrics.memorisation import thumbnails
from gan.metrics.meter import Meter
from gan.metrics.moments import moments_of
from gan.metrics.sampling import noise_portions
from gan.metrics.scores import Real, score
from gan.metrics.store import Seen
from tests.gan.metrics.portions import drawn

Images = NDArray[np.uint8]
Ordinals = NDArray[np.int64]
_PORTION = 250


@dataclass(frozen=True)
class Wrong:
    """What a meter's real images are held against, and sets of images with their classes.

    Attributes:
        real: Half of the real images, and those held out.
        sets: By name: images uint8 [N, C, H, W] and the class that each is asked for, [N].
    """

    real: Real
    sets: dict[str, tuple[Images, Ordinals]]


def wrong_in_known_ways(meter: Meter, count: int, blur_px: float = 1.0) -> Wrong:
    """Return `real` images, as a perfect generator would make them, and five that are wrong.

    Args:
        meter: Gives the real images and the extractor.
        count: Images of each set.
        blur_px: Standard deviation of the Gaussian blur.
    """
    data, real, random = meter.data, meter.real, np.random.default_rng(1)
    known = np.flatnonzero(~real.held_out)
    order = random.permutation(known)
    trained, fresh = order[: len(order) // 2], order[len(order) // 2 :]
    kept = np.sort(np.concatenate([trained, np.flatnonzero(real.held_out)]))
    features = np.ascontiguousarray(real.features[kept])
    half = replace(
        real,
        features=features,
        thumbnails=np.ascontiguousarray(real.thumbnails[kept]),
        labels=real.labels[kept],
        held_out=real.held_out[kept],
        reference=Reference(moments_of(features)),
    )

    def images(places: Ordinals) -> Images:
        return np.asarray(data.images[meter.ordinals[places]])

    places = random.choice(fresh, count)
    most = np.argmax(np.bincount(real.labels[fresh]))
    single = random.choice(fresh[real.labels[fresh] == most], count)
    copied = random.choice(trained, count)
    made, asked = images(places), real.labels[places]
    side = 2 * round(2 * blur_px) + 1
    blurred = gaussian_blur(torch.from_numpy(made), [side] * 2, [blur_px] * 2).numpy()
    noise = drawn(noise_portions(data, meter.spec), data)[np.arange(count) % 250]
    return Wrong(
        half,
        {
            "real": (made, asked),
            "noise": (noise, asked),
            "blurred": (blurred, asked),
            "one class": (images(single), asked),
            "copied": (images(copied), real.labels[copied]),
            "wrong classes": (made, random.permutation(asked)),
        },
    )


def figures(meter: Meter, wrong: Wrong, name: str) -> dict[str, Interval]:
    """Return what one of the sets scores, by metric."""
    images, asked = wrong.sets[name]
    readings = [meter.extractor.read(part) for part in _portions(images)]
    predicted = [reading.predicted for reading in readings if reading.predicted is not None]
    seen = Seen(
        np.concatenate([reading.features for reading in readings]),
        thumbnails(images).round().astype(np.uint8),
        np.concatenate(predicted) if predicted else None,
    )
    card = meter.extractor.card
    scores = score(seen, asked, wrong.real, card, knows_classes=meter.knows_classes)
    worst = max(each.distance or 0.0 for each in scores.classes.values())
    return {
        **{metric: each.interval() for metric, each in scores.measured.items()},
        f"{card.distance}_worst_class": Interval(worst, worst, worst),
        **scores.memory.intervals(),
    }


def _portions(images: Images) -> Iterator[Images]:
    for start in range(0, len(images), _PORTION):
        yield images[start : start + _PORTION]
