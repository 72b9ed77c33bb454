"""Figures of a detector from its scores: shares, average precision, calibration; with intervals.

Real and generated images weigh alike in all of them, whatever their numbers, so figures of sets of
unlike sizes compare. Scores are probabilities or logits: higher is more synthetic.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gan.metrics.intervals import Interval
from gan.seeding import seed_at

_NORMAL = 1.959963984540054
_RESAMPLES = 300
BINS = 10

Scores = NDArray[np.float64]


def share(found: NDArray[np.bool_]) -> Interval:
    """Return the share of True among [N], N from 1 up, with its interval (Wilson 1927)."""
    value, pull = float(found.mean()), _NORMAL**2 / len(found)
    middle = (value + pull / 2) / (1 + pull)
    reach = math.sqrt(pull * value * (1 - value) + pull**2 / 4) / (1 + pull)
    return Interval(
        value, max(0.0, min(value, middle - reach)), min(1.0, max(value, middle + reach))
    )


def roc(real: Scores, fake: Scores) -> tuple[Scores, Scores]:
    """Return false and true positive rates from the strictest threshold to the loosest.

    Both begin with 0 and end with 1; scores that are equal are passed at once.
    """
    levels = np.unique(np.concatenate([real, fake]))[::-1]
    false = 1 - np.searchsorted(np.sort(real), levels, side="left") / len(real)
    true = 1 - np.searchsorted(np.sort(fake), levels, side="left") / len(fake)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def average_precision(real: Scores, fake: Scores) -> float:
    """Return the average precision at equal weights: 1 is perfect, 0.5 is chance."""
    false, true = roc(real, fake)
    precision = true[1:] / (true[1:] + false[1:])
    return float(np.diff(true) @ precision)


def calibration_error(real: Scores, fake: Scores) -> float:
    """Return the expected calibration error of probabilities, 0..1 (Naeini 2015, ten bins)."""
    return sum(weight * abs(mean - found) for mean, found, weight in reliability(real, fake))


def reliability(real: Scores, fake: Scores) -> list[tuple[float, float, float]]:
    """Return (mean probability, share of synthetic images, weight) of each bin that has any."""
    bins = []
    placed = [np.minimum((side * BINS).astype(int), BINS - 1) for side in (real, fake)]
    for place in range(BINS):
        in_real, in_fake = real[placed[0] == place], fake[placed[1] == place]
        reals, fakes = len(in_real) / len(real) / 2, len(in_fake) / len(fake) / 2
        if weight := reals + fakes:
            total = in_real.sum() / len(real) / 2 + in_fake.sum() / len(fake) / 2
            bins.append((float(total / weight), fakes / weight, weight))
    return bins


def bootstrap(
    figure: Callable[[Scores, Scores], float], real: Scores, fake: Scores, seed: int
) -> Interval:
    """Return a figure with its interval from 300 resamples of each side (Efron 1979)."""
    random = np.random.default_rng(seed_at(seed, "detector", "bootstrap"))
    drawn = [
        figure(random.choice(real, len(real)), random.choice(fake, len(fake)))
        for _ in range(_RESAMPLES)
    ]
    value = figure(real, fake)
    low, high = (float(each) for each in np.quantile(drawn, [0.025, 0.975]))
    return Interval(value, min(value, low), max(value, high))
