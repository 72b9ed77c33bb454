"""What is written about a model: `metrics.json` of one; the paired difference of two.

For an extractor whose distance is called `fd_domain` (`scores.py` has the others):

    fd_domain              Frechet distance of generated to real images
    fd_domain_real         of one half of the real images to the other: the floor
    fd_domain_noise        of noise with the data's mean and spread: the ceiling
    fd_domain_share        fd_domain / fd_domain_noise, comparable between data sets
    fd_domain_worst_class  the class that is farthest from its real images
    kd_domain_real         kernel distance of the halves: about 0

A distance falls with the number of samples: figures of unlike metric ids are never compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan.bundle import Bundle
from gan.durable import write_json
from gan.metrics.classes import ClassScore
from gan.metrics.gallery import write_gallery
from gan.metrics.intervals import Interval, apart, difference
from gan.metrics.meter import Meter
from gan.metrics.scores import MOST, Scores, less_is_better

METRICS = "metrics.json"
ALL_CLASSES = "all classes together"
_DIGITS = 6

Entry = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What `evaluate` measured and wrote.

    Attributes:
        document: As in `metrics.json`.
        path: Of `metrics.json`.
        pictures: The pictures beside it.
    """

    document: dict[str, Any]
    path: Path
    pictures: list[Path]


@dataclass(frozen=True)
class Row:
    """One metric of two models, on the same latents, classes and real images.

    Attributes:
        name: Of the metric.
        metric_id: Names how both were measured.
        a: Of the first model.
        b: Of the second.
        difference: a - b, with a paired interval.
        less_is_better: Whether a difference below 0 speaks for the first; None where neither end
            does, as of diversity, which is 1 for a perfect generator.
    """

    name: str
    metric_id: str
    a: Interval
    b: Interval
    difference: Interval
    less_is_better: bool | None


@dataclass(frozen=True)
class ClassRow:
    """The coverage of one class by two models, on the same latents and real images.

    Attributes:
        b: Of the second model, a share.
        difference: The first's minus the second's, with a paired interval.
    """

    b: float
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """Two models measured alike.

    Attributes:
        extractor_digest: The feature network.
        data_digest: The real images.
        samples: Images of each model.
        a_digest: The first bundle.
        b_digest: The second bundle.
        rows: By metric; the distance comes first.
        classes: By name of each class with enough images for its coverage to be measured; where
            no class has, of `ALL_CLASSES` together.
    """

    extractor_digest: str
    data_digest: str
    samples: int
    a_digest: str
    b_digest: str
    rows: list[Row]
    classes: Mapping[str, ClassRow]

    @property
    def distance(self) -> Row:
        """The row that the gate decides on."""
        return self.rows[0]


def evaluate(
    bundle: Bundle, meter: Meter, destination: Path, history: Mapping[str, Any] | None = None
) -> Report:
    """Measure a bundle; write `metrics.json` and pictures into `destination`.

    Args:
        bundle: The model.
        meter: What measures it.
        destination: The folder.
        history: What was measured along its training, as in `history.json`; None draws no curve.

    Raises:
        UsageError: Bundle and data do not fit each other.
        DivergedError: A generated image or a feature is not finite.
        GanmillError: The real images are all alike, so that no distance means anything.
    """
    scores = meter.score(bundle)
    card, spec = meter.extractor.card, meter.spec
    document = {
        "format": 2,
        "metric_id": meter.metric_id(),
        "distance": card.distance,
        "kernel": card.kernel,
        "extractor": {
            "name": card.name,
            "digest": meter.extractor.digest,
            "dims": meter.extractor.dims,
            "standard": card.standard,
        },
        "data_digest": meter.data.digest,
        "bundle_digest": bundle.digest,
        "samples": spec.samples,
        "seed": spec.seed,
        "reals": len(meter.ordinals),
        "held_out": int(meter.real.held_out.sum()),
        "is_copying": scores.memory.is_copying if meter.real.held_out.any() else None,
        "metrics": _metrics(scores, meter),
        "classes": {
            meter.data.classes[number]: _class_entry(each)
            for number, each in scores.classes.items()
        },
    }
    pictures = write_gallery(destination, bundle, meter, scores, history)
    write_json(destination / METRICS, document)
    return Report(document, destination / METRICS, pictures)


def compare(a: Bundle, b: Bundle, meter: Meter) -> Comparison:
    """Measure two bundles alike, and return what differs.

    Both get the same latents and classes, so what they share cancels in the differences.

    Raises:
        UsageError: A bundle and the data do not fit each other.
        DivergedError: A generated image or a feature is not finite.
    """
    return compare_scores((a.digest, meter.score(a)), (b.digest, meter.score(b)), meter)


def compare_scores(a: tuple[str, Scores], b: tuple[str, Scores], meter: Meter) -> Comparison:
    """Return what differs between two bundles, given by digest with what `meter` scored of each.

    Scoring takes seconds; a model that is held against several others is scored once.
    """
    (a_digest, a_scores), (b_digest, b_scores) = a, b
    ours, theirs = a_scores.measured, b_scores.measured
    rows = [
        Row(
            name=name,
            metric_id=meter.metric_id(name),
            a=ours[name].interval(),
            b=theirs[name].interval(),
            difference=difference(ours[name], theirs[name]),
            less_is_better=less_is_better(name),
        )
        for name in ours
    ]
    ours_kept, theirs_kept = a_scores.memory.intervals(), b_scores.memory.intervals()
    rows += [
        Row(
            name=name,
            metric_id=meter.metric_id(name),
            a=ours_kept[name],
            b=theirs_kept[name],
            difference=apart(ours_kept[name], theirs_kept[name]),
            less_is_better=less_is_better(name),
        )
        for name in ours_kept
    ]
    return Comparison(
        extractor_digest=meter.extractor.digest,
        data_digest=meter.data.digest,
        samples=meter.spec.samples,
        a_digest=a_digest,
        b_digest=b_digest,
        rows=rows,
        classes=_class_rows(a_scores, b_scores, meter.data.classes),
    )


def _class_rows(a: Scores, b: Scores, names: Sequence[str]) -> dict[str, ClassRow]:
    """Return the coverage of each class that has one; which have is for the data alone to say."""
    pairs = {
        names[number]: (each.coverage, b.classes[number].coverage)
        for number, each in a.classes.items()
    }
    # Where no class has enough images, `class_coverage` is that of all of them as one class.
    measured = {name: (x, y) for name, (x, y) in pairs.items() if x and y} or {
        ALL_CLASSES: (a.measured["class_coverage"], b.measured["class_coverage"])
    }
    return {name: ClassRow(y.value, difference(x, y)) for name, (x, y) in measured.items()}


def _metrics(scores: Scores, meter: Meter) -> dict[str, Entry]:
    """Return all metrics by name, each with its interval, number of samples and metric id."""
    card, halves = meter.extractor.card, meter.halves
    low_rank = scores.moments.is_low_rank or meter.real.reference.moments.is_low_rank
    found: dict[str, Entry] = {}
    for name, measured in scores.measured.items():
        found[name] = _entry(measured.interval(), len(measured.influence))
    name, count = card.distance, meter.spec.samples
    distance, ceiling = scores.measured[name].interval(), meter.noise
    found[name]["low_rank"] = low_rank
    found[f"{name}_real"] = {
        **_entry(halves.distance.interval(), halves.count),
        "low_rank": halves.is_low_rank,
    }
    found[f"{name}_noise"] = {**_entry(ceiling, count), "low_rank": low_rank}
    share = [part / ceiling.value for part in (distance.value, distance.low, distance.high)]
    found[f"{name}_share"] = _entry(Interval(*share), count)
    found[f"{card.kernel}_real"] = _entry(halves.kernel.interval(), halves.count)
    fakes = min(MOST, count)
    found |= {key: _entry(each, fakes) for key, each in scores.memory.intervals().items()}
    found |= _worst(scores.classes, name, meter.data.classes)
    return {key: {**entry, "id": meter.metric_id(key)} for key, entry in found.items()}


def _worst(
    classes: Mapping[int, ClassScore], distance: str, names: Sequence[str]
) -> dict[str, Entry]:
    """Return the class that is farthest from its real images, and the one covered least."""
    found: dict[str, Entry] = {}
    far = {number: each.distance for number, each in classes.items() if each.distance is not None}
    if far:
        worst = max(far, key=lambda number: (far[number], -number))
        each = classes[worst]
        found[f"{distance}_worst_class"] = {
            **_rounded({"value": far[worst]}),
            "class": names[worst],
            "n": each.count,
            "low_rank": each.is_low_rank,
        }
    covered = {number: each.coverage for number, each in classes.items() if each.coverage}
    if covered:
        worst = min(covered, key=lambda number: (covered[number].value, number))
        interval = covered[worst].interval()
        entry = _entry(interval, len(covered[worst].influence))
        found["class_coverage_worst_class"] = {**entry, "class": names[worst]}
    return found


def _class_entry(each: ClassScore) -> Entry:
    """Return a class's figures; what was not measured is null."""
    figures = {
        "distance": each.distance,
        "coverage": each.coverage.value if each.coverage else None,
        "diversity": each.diversity.value if each.diversity else None,
        "accuracy": each.accuracy,
    }
    known = _rounded({name: value for name, value in figures.items() if value is not None})
    counts = {"n": each.count, "reals": each.reals, "low_rank": each.is_low_rank}
    return {**dict.fromkeys(figures), **known, **counts}


def _entry(found: Interval, count: int) -> Entry:
    return {**_rounded(asdict(found)), "n": count}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Return figures to six digits, beyond which they are the machine's and not the model's."""
    return {name: float(np.format_float_scientific(v, _DIGITS - 1)) for name, v in values.items()}
