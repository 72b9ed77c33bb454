"""What a detector can tell, measured on real images that no training saw and on fresh fakes.

Each row of the table is a journey that real and generated images take alike. The scale is set on
other images than the rates are measured on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.detector.cards import Bin, Condition, Example, Measures, Rate, Unseen
from gan.detector.judging import Judge, Scale, Scores
from gan.detector.models import Maker, are_relatives, drawn
from gan.detector.parts import Parts
from gan.detector.pictures import (
    Journey,
    after,
    as_made,
    delivered,
    delivered_jpeg,
    shot,
    small_jpeg,
    travelled,
)
from gan.detector.rates import (
    average_precision,
    bootstrap,
    calibration_error,
    reliability,
    roc,
    share,
)
from gan.detector.spectrum import area_under_curve, spectrum_scores
from gan.modality import Items

JOURNEYS: dict[str, Journey] = {
    "as made": as_made,
    "delivered": delivered,
    "delivered, JPEG q75": delivered_jpeg,
    "screenshot": shot,
    "own size, JPEG q75": small_jpeg,
}
USUAL = "delivered"  # what the curve and unseen models are measured on
_MOST_REAL, _CALIBRATING, _FAKES = 1000, 300, 300  # at most
_EXAMPLES = 10  # of each kind, wrong and right
_CURVE_POINTS = 60

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Pupil:
    """A detector that was shown some models and not others."""

    judge: Judge
    shown: Sequence[Maker]
    not_shown: Sequence[Maker]


@dataclass(frozen=True)
class _Seen:
    """One kind of images after every journey.

    Attributes:
        logits: By journey, [N] each.
        mixed: Probability of each after one of the journeys in turn, [N].
        pictures: Those of `mixed` as the network read them, uint8 [N, 1 or 3, R, R].
        digests: Of each one's model; "" for a real image.
    """

    logits: Mapping[str, Scores]
    mixed: Scores
    pictures: Images
    digests: Sequence[str]


def measure(
    judge: Judge,
    pupils: Sequence[Pupil],
    real: Items,
    parts: Parts,
    makers: Sequence[Maker],
    seed: int,
) -> tuple[Measures, Images]:
    """Return what a detector can tell, and the pictures of its examples uint8 [n, 1 or 3, R, R].

    Args:
        judge: The detector.
        pupils: Others, which tell what it would know of models that it was not shown.
        real: The prepared images.
        parts: Which of them may be used for what.
        makers: The models that it was shown, the champion first.
        seed: Of all draws.
    """
    some = np.random.default_rng(seed)
    images = np.asarray(real.images[_some(parts.measured, _MOST_REAL, some)])
    calibrating = np.asarray(real.images[_some(parts.calibration, _CALIBRATING, some)])
    count = min(_FAKES, 2 * len(images))  # more would not make the rates of real images surer
    labels = some.choice(real.labels[parts.learnt], count)
    scale = _scale(judge, calibrating, makers, labels, seed)
    theirs, ours = _seen(judge, scale, images, [""] * len(images), "real", seed), []
    for name, group in (("champion", makers[:1]), ("older", makers[1:])):
        if group:
            fakes, by = drawn(group, labels, seed, name)
            ours.append(_seen(judge, scale, fakes, [each.bundle.digest for each in by], name, seed))
    mixed = np.concatenate([each.mixed for each in ours])
    error = bootstrap(calibration_error, theirs.mixed, mixed, seed)
    examples, pictures = _examples(scale, [theirs, *ours])
    usual = np.concatenate([each.logits[USUAL] for each in ours])
    found = Measures(
        temperature=scale.temperature,
        offset=scale.offset,
        threshold=scale.threshold,
        surest=scale.surest,
        conditions=[_condition(name, scale, theirs, ours) for name in JOURNEYS],
        unseen=[
            each for pupil in pupils for each in _unseen(pupil, images, calibrating, labels, seed)
        ],
        spectrum_auc=_spectrum(images, calibrating, makers[0], labels, seed),
        calibration_error=Rate.of(error, len(theirs.mixed) + len(mixed)),
        roc=_curve(theirs.logits[USUAL], usual),
        reliability=[
            Bin(probability=mean, share=part, weight=weight)
            for mean, part, weight in reliability(theirs.mixed, mixed)
        ],
        examples=examples,
    )
    return found, pictures


def _some(ordinals: NDArray[np.int64], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(random.permutation(ordinals)[:most])


def _scale(
    judge: Judge, real: Images, makers: Sequence[Maker], labels: NDArray[np.int64], seed: int
) -> Scale:
    """Calibrate on real images and on generated ones, after several journeys."""
    fake, _ = drawn(makers, labels, seed, "calibrating")
    both = [
        [
            judge.logits(after(journey, images, seed, "calibrating", kind, place))
            for place, journey in enumerate((delivered, travelled, shot, small_jpeg))
        ]
        for kind, images in enumerate((real, fake))
    ]
    return Scale.of(both[0], both[1], len(real))


def _seen(
    judge: Judge, scale: Scale, items: Images, digests: Sequence[str], kind: str, seed: int
) -> _Seen:
    """Send images on every journey and judge them."""
    logits, mixed, pictures = {}, np.empty(len(items)), None
    for place, (name, journey) in enumerate(JOURNEYS.items()):
        images = after(journey, items, seed, name, kind)
        logits[name] = judge.logits(images)
        turn = slice(place, None, len(JOURNEYS))
        mixed[turn] = scale.probability(logits[name][turn])
        pictures = np.empty_like(images) if pictures is None else pictures
        pictures[turn] = images[turn]
    assert pictures is not None
    return _Seen(logits, mixed, pictures, digests)


def _condition(name: str, scale: Scale, theirs: _Seen, ours: Sequence[_Seen]) -> Condition:
    rates = []
    for each in (theirs, *ours):
        found = scale.says_synthetic(scale.probability(each.logits[name]))
        rates.append(Rate.of(share(found), len(found)))
    return Condition(
        name=name, real=rates[0], champion=rates[1], older=rates[2] if len(rates) > 2 else None
    )


def _unseen(
    pupil: Pupil, real: Images, calibrating: Images, labels: NDArray[np.int64], seed: int
) -> list[Unseen]:
    """Measure models by a detector that was not shown them, on its own scale."""
    scale = _scale(pupil.judge, calibrating, pupil.shown, labels, seed)

    def asked(images: Images, kind: str) -> Scores:
        return pupil.judge.logits(after(delivered, images, seed, kind))

    theirs, found = asked(real, "unseen, real"), []
    for maker in pupil.not_shown:
        ours = asked(maker.draw(labels, seed, "unseen"), "unseen")
        precision = bootstrap(average_precision, theirs, ours, seed)
        found.append(
            Unseen(
                digest=maker.bundle.digest,
                average_precision=Rate.of(precision, len(theirs) + len(ours)),
                true_positives=Rate.of(
                    share(scale.says_synthetic(scale.probability(ours))), len(ours)
                ),
                is_relative=any(are_relatives(maker.bundle, each.bundle) for each in pupil.shown),
            )
        )
    return found


def _spectrum(
    real: Images, calibrating: Images, maker: Maker, labels: NDArray[np.int64], seed: int
) -> Rate:
    """Ask the radial spectrum alone, learnt from other images than it is asked about."""
    lesson = maker.draw(labels, seed, "spectrum")
    asked = maker.draw(labels, seed, "spectrum asked")
    scores = spectrum_scores(calibrating, lesson, real, asked)
    found = bootstrap(area_under_curve, scores[0], scores[1], seed)
    return Rate.of(found, len(real) + len(asked))


def _curve(real: Scores, fake: Scores) -> list[tuple[float, float]]:
    """Return the corners of the ROC curve, thinned to about 60."""
    false, true = roc(real, fake)
    step = max(1, len(false) // _CURVE_POINTS)
    points = [*zip(false[::step].tolist(), true[::step].tolist(), strict=True), (1.0, 1.0)]
    return list(dict.fromkeys(points))


def _examples(scale: Scale, kinds: Sequence[_Seen]) -> tuple[list[Example], Images]:
    """Return the most wrong and some right answers of each kind, real images first."""
    names, examples, pictures = list(JOURNEYS), [], []
    for seen in kinds:
        is_fake = bool(seen.digests[0])
        is_right = scale.says_synthetic(seen.mixed) == is_fake
        wrong = np.flatnonzero(~is_right)
        wrong = wrong[np.argsort(seen.mixed[wrong] * (1 if is_fake else -1), kind="stable")]
        right = np.flatnonzero(is_right)
        right = right[np.linspace(0, len(right) - 1, min(_EXAMPLES, len(right))).astype(int)]
        for place in (*wrong[:_EXAMPLES].tolist(), *right.tolist()):
            pictures.append(seen.pictures[place])
            examples.append(
                Example(
                    kind="synthetic" if is_fake else "real",
                    digest=seen.digests[place],
                    journey=names[place % len(names)],
                    probability=float(seen.mixed[place]),
                )
            )
    return examples, np.stack(pictures)
