"""A figure, how each sample moves it, and its 95 % interval; differences of figures.

One rule for every metric, the infinitesimal jackknife (Efron 1981): the variance of a figure of n
samples is the sum of its squared influences over n (n - 1). Two models on the same latents are
compared sample by sample, by subtracting influences: what they share cancels.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_NORMAL = 1.959963984540054  # 97.5 % of a standard normal lie below


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval, in the value's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Measured:
    """A figure with the influence of each sample on it.

    Attributes:
        value: The figure.
        influence: d value / d weight of sample i, times n: [n] float64, mean about 0, n from 2 up.
        extra_variance: Variance that the influences do not see; or, below 0, less the variance that
            they see twice: near its minimum a distance is quadratic in the samples, and squared
            influences count that part double (Efron and Stein 1981). Where nothing else is left,
            half of the squares and this are two estimates of one variance; no less than their
            geometric mean is used, which made the intervals of equal sets hold 0 most nearly as
            often as they claim.
        is_share: The value is a share, 0..1; its interval is Wilson's and never of width 0.
        other: The same for each sample of the set that the value is held against, [m]; empty where
            that set is taken as given.
        least: No value is smaller; neither is the lower end of the interval.
        most: No value is larger; neither is the upper end.
    """

    value: float
    influence: NDArray[np.float64]
    extra_variance: float = 0.0
    is_share: bool = False
    other: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    least: float = -math.inf
    most: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what has no spread.

        Raises:
            ValueError: There are fewer than 2 samples.
        """
        if len(self.influence) < 2:
            raise ValueError(f"{len(self.influence)} samples have no spread; at least 2 are needed")

    @property
    def se(self) -> float:
        """The standard error, from 0 up, in the value's unit."""
        seen = _variance(self.influence) + _variance(self.other)
        least = math.sqrt(seen / 2 * max(0.0, -self.extra_variance))
        return math.sqrt(max(seen + self.extra_variance, least))

    def interval(self) -> Interval:
        """Return the value with its 95 % interval."""
        if self.is_share:
            return self._wilson()
        reach = _NORMAL * self.se
        low, high = self.value - reach, self.value + reach
        return Interval(self.value, max(self.least, low), min(self.most, high))

    def _wilson(self) -> Interval:
        """Return Wilson's interval (1927) for as many independent samples as the variance says."""
        share, binomial = self.value, self.value * (1 - self.value)
        variance, n = self.se**2, float(len(self.influence))
        if binomial > 0 and variance > 0:
            n = binomial / variance
        pull = _NORMAL**2 / n
        middle = (share + pull / 2) / (1 + pull)
        reach = math.sqrt(pull * binomial + pull**2 / 4) / (1 + pull)
        low, high = max(0.0, middle - reach), min(1.0, middle + reach)
        return Interval(share, min(share, low), max(share, high))


def difference(a: Measured, b: Measured) -> Interval:
    """Return a - b with its 95 % interval, paired sample by sample.

    Sample i of both must come from the same latent, and the other sets must be the same. What is
    seen twice in one value is not taken off here (it may not be in the difference): where both sets
    are about as near as they can be, the interval is too wide, by up to 1.4.

    Raises:
        ValueError: The sets are not of one size, or only one of the values is a share.
    """
    sizes = [(len(each.influence), len(each.other)) for each in (a, b)]
    if sizes[0] != sizes[1] or a.is_share != b.is_share:
        raise ValueError(f"not the same samples or not the same metric: sizes {sizes}")
    value = a.value - b.value
    if a.is_share:
        return _of_shares(a, b)
    seen = _variance(a.influence - b.influence) + _variance(a.other - b.other)
    unseen = max(0.0, a.extra_variance) + max(0.0, b.extra_variance)
    reach = _NORMAL * math.sqrt(seen + unseen)
    return Interval(value, value - reach, value + reach)


def apart(a: Interval, b: Interval) -> Interval:
    """Return a - b with its 95 % interval, of two values that share no sample.

    The distances of the bounds from the values are joined (Zou and Donner 2008).
    """
    value = a.value - b.value
    down = math.hypot(a.value - a.low, b.high - b.value)
    up = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, value - down, value + up)


def _of_shares(a: Measured, b: Measured) -> Interval:
    """Return the difference of paired shares from their own intervals (Newcombe 1998, method 10).

    Unlike a normal interval it has a width where both shares are 0 or 1.
    """
    norms = float(np.linalg.norm(a.influence) * np.linalg.norm(b.influence))
    together = float(a.influence @ b.influence) / norms if norms > 0 else 0.0

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 + second**2 - 2 * together * first * second))

    mine, theirs, value = a.interval(), b.interval(), a.value - b.value
    return Interval(
        value,
        value - reach(mine.value - mine.low, theirs.high - theirs.value),
        value + reach(mine.high - mine.value, theirs.value - theirs.low),
    )


def _variance(influence: NDArray[np.float64]) -> float:
    """Return the variance of a value with these influences; 0 where there are none."""
    n = len(influence)
    return float(influence @ influence) / (n * (n - 1)) if n > 1 else 0.0
