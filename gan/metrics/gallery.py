"""The pictures of a report: chosen here, drawn by `pictures.py`, `plots.py` and `feature_map.py`.

grid.png       real over generated images, by class
samples.png    the same latents for every class
pairs.png      the fakes that look most like copies, beside their nearest real images
map.png        features of real and generated images in a plane
distance.png   the tracked distance along the training, where its history is known
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gan.bundle import Bundle
from gan.metrics.feature_map import MAP, write_map
from gan.metrics.meter import Meter
from gan.metrics.pictures import (
    GRID,
    PAIRS,
    PAIRS_AT_MOST,
    SAMPLES,
    Kept,
    Pairs,
    write_grid,
    write_pairs,
    write_samples,
)
from gan.metrics.plots import CURVE, write_curve
from gan.metrics.sampling import Ordinals, asked_classes, generated_at
from gan.metrics.scores import Scores
from gan.seeding import seed_at

_EACH = 10  # images of a class in the grid


def write_gallery(
    destination: Path,
    bundle: Bundle,
    meter: Meter,
    scores: Scores,
    history: Mapping[str, Any] | None,
) -> list[Path]:
    """Write the pictures of a model that was measured, and return their paths.

    Args:
        destination: The folder.
        bundle: The model.
        meter: What measured it.
        scores: What it scored.
        history: As in `history.json`; None, or nothing measured in it, draws no curve.

    Raises:
        DivergedError: A generated image is not finite.
    """
    data, title = meter.data, f"{bundle.card.recipe} {bundle.digest[:8]}"
    asked = asked_classes(data, meter.spec)
    real, made = _some(data.labels, meter.spec.seed), _some(asked, meter.spec.seed)
    fakes = generated_at(bundle, data, meter.spec, _joined(made))
    written = [
        write_grid(
            destination / GRID,
            title,
            data.classes,
            {number: np.asarray(data.images[places]) for number, places in real.items()},
            _cut(made, fakes),
        ),
        write_samples(destination / SAMPLES, title, bundle),
        _pairs(destination / PAIRS, title, bundle, meter, scores),
        write_map(
            destination / MAP,
            title,
            (meter.real.features, meter.real.labels),
            (meter.generated(bundle).features, asked),
            data.classes,
        ),
    ]
    rows = [*history["rows"], *history["events"]] if history else []
    curve = write_curve(destination / CURVE, title, rows, packed_kimg=bundle.card.kimg)
    return [*written, *([curve] if curve else [])]


def _pairs(path: Path, title: str, bundle: Bundle, meter: Meter, scores: Scores) -> Path:
    """Write the likeliest copies."""
    memory, found = scores.memory, scores.memory.telling
    places = found.most_copied(PAIRS_AT_MOST)
    trained = meter.ordinals[~meter.real.held_out]
    data = meter.data
    pairs = Pairs(
        fakes=generated_at(bundle, data, meter.spec, places),
        training=np.asarray(data.images[trained[found.training[places]]]),
        distances=found.distance[places],
        ratios=found.ratio[places],
    )
    measured = bool(meter.real.held_out.any())
    return write_pairs(path, title, pairs, copying=memory.is_copying if measured else None)


def _some(labels: Ordinals, seed: int) -> dict[int, Ordinals]:
    """Return a few places of each class, drawn by seed; prepared data lie in no random order."""
    order = np.random.default_rng(seed_at(seed, "grid")).permutation(len(labels))
    return {
        number: np.sort(order[labels[order] == number][:_EACH])
        for number in np.unique(labels).tolist()
    }


def _joined(places: Mapping[int, Ordinals]) -> Ordinals:
    return np.concatenate(list(places.values()))


def _cut(places: Mapping[int, Ordinals], images: Any) -> Kept:
    """Return images [N, C, H, W] in the order of `_joined` by class."""
    ends = np.cumsum([len(each) for each in places.values()])[:-1]
    return dict(zip(places, np.split(images, ends), strict=True))
