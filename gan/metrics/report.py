"""What is written about a model: `metrics.json` and pictures of one; the paired difference of two.

    fd_domain              Frechet distance of generated to real images, in the domain network
    fd_domain_real         of one half of the real images to the other: the floor
    fd_domain_noise        of noise with the data's mean and spread: the ceiling
    fd_domain_share        fd_domain / fd_domain_noise, comparable between data sets
    fd_domain_worst_class  the class that is farthest from its real images
    class_accuracy         share of images that the network takes for the class asked for

A distance falls with the number of samples: figures of unlike metric ids are never compared.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan.bundle import Bundle
from gan.durable import write_json
from gan.errors import GanmillError, UsageError
from gan.metrics.extractors import Extractor
from gan.metrics.frechet import (
    Interval,
    Reference,
    block_weights,
    frechet_distance,
    interval,
    replicates,
)
from gan.metrics.moments import Moments, pooled
from gan.metrics.pictures import write_pictures
from gan.metrics.sampling import Gathered, Real, gather, generated, noise, read_real
from gan.modality import Items
from gan.progress import Pace, Say, say
from gan.sections import EvaluateSpec

METRICS = "metrics.json"
NAME = "fd_domain"
_DIGITS = 6


@dataclass(frozen=True)
class Report:
    """What `evaluate` measured and wrote.

    Attributes:
        metric_id: Names how it was measured; 12 hex digits.
        metrics: As in `metrics.json`.
        path: Of `metrics.json`.
        pictures: The pictures beside it.
    """

    metric_id: str
    metrics: dict[str, dict[str, Any]]
    path: Path
    pictures: list[Path]


@dataclass(frozen=True)
class Pairing:
    """A candidate and a champion, measured on the same latents, classes and reference.

    Attributes:
        metric_id: Names how both were measured; that of their reports if measured alike.
        extractor_digest: The feature network.
        data_digest: The reference.
        samples: Images of each.
        candidate_digest: The candidate's bundle.
        champion_digest: The champion's bundle.
        candidate: Its fd_domain.
        champion: Its fd_domain.
        difference: Candidate - champion, with a paired interval; below 0 the candidate is better.
    """

    metric_id: str
    extractor_digest: str
    data_digest: str
    samples: int
    candidate_digest: str
    champion_digest: str
    candidate: Interval
    champion: Interval
    difference: Interval


def metric_id(extractor: Extractor, data: Items, spec: EvaluateSpec) -> str:
    """Return the short hash of all that a figure depends on except the model: 12 hex digits."""
    what = [NAME, extractor.digest, data.digest, spec.samples, spec.seed]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]


def evaluate(
    bundle: Bundle,
    data: Items,
    extractor: Extractor,
    spec: EvaluateSpec,
    destination: Path,
    *,
    progress: Say = say,
) -> Report:
    """Measure a bundle; write `metrics.json`, `grid.png` and `samples.png` into `destination`.

    Raises:
        UsageError: Bundle, data and extractor do not fit each other.
        DivergedError: A generated image or a feature is not finite.
        GanmillError: The real images are all alike, so that no distance means anything.
    """
    extractor.require_fit(data)
    real = read_real(data, extractor, spec, progress)
    pace = Pace(f"evaluate {bundle.card.recipe}: images generated", spec.samples, progress)
    stream = generated(bundle, data, extractor, spec)
    made = gather(stream, spec.samples, extractor, pace)
    quiet = Pace("evaluate: noise", spec.samples, lambda _: None)
    static = gather(noise(real, data, spec), spec.samples, extractor, quiet)
    metrics = _metrics(made, static, real, data, spec)
    if extractor.knows_classes:
        metrics["class_accuracy"] = _entry(_accuracy(made, spec.seed), spec.samples)
    name = metric_id(extractor, data, spec)
    document = {
        "metric_id": name,
        "extractor_digest": extractor.digest,
        "data_digest": data.digest,
        "bundle_digest": bundle.digest,
        "samples": spec.samples,
        "metrics": metrics,
    }
    pictures = write_pictures(destination, bundle, data, real.kept, made.kept)
    write_json(destination / METRICS, document)
    return Report(name, metrics, destination / METRICS, pictures)


def compare(
    candidate: Bundle,
    champion: Bundle,
    data: Items,
    extractor: Extractor,
    spec: EvaluateSpec,
    *,
    progress: Say = say,
) -> Pairing:
    """Return how much farther from the real images the candidate is than the champion.

    Both get the same latents and classes, and the same weights in each replicate of the interval,
    so what they share cancels.

    Raises:
        UsageError: A bundle, the data and the extractor do not fit each other.
        DivergedError: A generated image or a feature is not finite.
    """
    real = read_real(data, extractor, spec, progress)
    values, draws = [], []
    for role, bundle in (("candidate", candidate), ("champion", champion)):
        pace = Pace(f"compare: images of the {role}", spec.samples, progress)
        stream = generated(bundle, data, extractor, spec)
        blocks = gather(stream, spec.samples, extractor, pace).blocks
        values.append(real.reference.distance(pooled(blocks)))
        draws.append(replicates(real.reference, blocks, spec.seed))
    return Pairing(
        metric_id=metric_id(extractor, data, spec),
        extractor_digest=extractor.digest,
        data_digest=data.digest,
        samples=spec.samples,
        candidate_digest=candidate.digest,
        champion_digest=champion.digest,
        candidate=_from_zero(interval(values[0], draws[0])),
        champion=_from_zero(interval(values[1], draws[1])),
        difference=interval(values[0] - values[1], draws[0] - draws[1]),
    )


def _metrics(
    made: Gathered, static: Gathered, real: Real, data: Items, spec: EvaluateSpec
) -> dict[str, dict[str, Any]]:
    """Return the distances, each with its interval."""
    distance = _distance(real.reference, made.blocks, spec.seed)
    ceiling = _distance(real.reference, static.blocks, spec.seed)
    if not ceiling.value > 1e-9:
        raise GanmillError(
            "evaluate: noise is no farther from the real images than they are from each other "
            f"(distance {ceiling.value:.1e}), so no distance means anything. Are they all alike?"
        )
    low_rank = pooled(made.blocks).is_low_rank or real.reference.moments.is_low_rank
    half = pooled(real.half)
    return {
        NAME: _entry(distance, spec.samples, low_rank=low_rank),
        f"{NAME}_real": _entry(
            _distance(real.other_half, real.half, spec.seed),
            int(half.count),
            low_rank=half.is_low_rank,
        ),
        f"{NAME}_noise": _entry(ceiling, spec.samples, low_rank=low_rank),
        f"{NAME}_share": _rounded(
            {name: value / ceiling.value for name, value in asdict(distance).items()}
        ),
        f"{NAME}_worst_class": _worst_class(made, real, data),
    }


def _distance(reference: Reference, blocks: list[Moments], seed: int) -> Interval:
    """Return the distance of all blocks together, with its interval."""
    value = reference.distance(pooled(blocks))
    return _from_zero(interval(value, replicates(reference, blocks, seed)))


def _accuracy(made: Gathered, seed: int) -> Interval:
    """Return the share of images taken for the class asked for, with its interval, 0..1."""
    weights = block_weights(len(made.counts), seed)
    share = made.right.sum() / made.counts.sum()
    found = interval(float(share), (weights @ made.right) / (weights @ made.counts))
    return Interval(found.value, max(0.0, found.low), min(1.0, found.high))


def _worst_class(made: Gathered, real: Real, data: Items) -> dict[str, Any]:
    """Return the class whose generated images are farthest from its real ones."""
    distances = {
        number: frechet_distance(real.by_class[number], moments)
        for number, moments in made.by_class.items()
        if moments.count >= 2 and number in real.by_class and real.by_class[number].count >= 2
    }
    if not distances:
        raise UsageError(
            "evaluate: no class has 2 generated and 2 real images. Raise evaluate.samples."
        )
    worst = max(distances, key=lambda number: (distances[number], -number))
    made_of, real_of = made.by_class[worst], real.by_class[worst]
    return {
        **_rounded({"value": distances[worst]}),
        "class": data.classes[worst],
        "n": int(made_of.count),
        "low_rank": made_of.is_low_rank or real_of.is_low_rank,
    }


def _entry(found: Interval, count: int, *, low_rank: bool | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {**_rounded(asdict(found)), "n": count}
    return entry if low_rank is None else {**entry, "low_rank": low_rank}


def _from_zero(found: Interval) -> Interval:
    """Return the interval of a distance, which cannot be below 0."""
    return Interval(found.value, max(0.0, found.low), found.high)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    """Return figures to six digits, beyond which they are the machine's and not the model's."""
    return {name: float(np.format_float_scientific(v, _DIGITS - 1)) for name, v in values.items()}
