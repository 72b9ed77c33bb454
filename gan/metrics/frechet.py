"""The Frechet distance between two sets of features, and how sure we are of it.

    d = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)

With C1 = L L^T, the last trace is the sum of the roots of the eigenvalues of L^T C2 L: a symmetric
eigenvalue problem in place of a matrix root, and L belongs to the reference, so it is made once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.errors import DivergedError
from gan.metrics.moments import Moments, pooled

BLOCKS = 20
REPLICATES = 200
_TAIL_PERCENT = 2.5


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval, in the value's own unit."""

    value: float
    low: float
    high: float


class Reference:
    """One side of a distance, with its factor made once."""

    def __init__(self, moments: Moments) -> None:
        """Factor the covariance.

        Raises:
            UsageError: It is of fewer than 2 samples.
        """
        self.moments = moments
        covariance = moments.covariance
        self._trace = float(np.trace(covariance))
        self._factor = _factor(covariance)

    def distance(self, other: Moments) -> float:
        """Return the Frechet distance to `other`: from 0 up, in squared feature units.

        Raises:
            UsageError: `other` is of fewer than 2 samples.
            DivergedError: The result is not finite.
        """
        covariance = other.covariance
        inner = self._factor.T @ covariance @ self._factor
        roots = np.sqrt(np.clip(np.linalg.eigvalsh((inner + inner.T) / 2), 0.0, None))
        gap = self.moments.mean - other.mean
        distance = float(gap @ gap + self._trace + np.trace(covariance) - 2.0 * roots.sum())
        if not np.isfinite(distance):
            raise DivergedError("frechet: the distance is not finite; the features are too large.")
        return max(0.0, distance)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the Frechet distance between two sets: from 0 up, in squared feature units.

    It is symmetric and zero for equal moments, both up to rounding: about 1e-12 of the traces for
    covariances of full rank, 1e-7 of them where the rank is deficient (the root magnifies).

    Raises:
        UsageError: A set has fewer than 2 samples.
        DivergedError: The result is not finite.
    """
    return Reference(a).distance(b)


def block_weights(blocks: int, seed: int) -> NDArray[np.float64]:
    """Return Bayesian bootstrap weights, [REPLICATES, blocks], uniform on the simplex, mean 1.

    Two models are paired by giving the same weights to the same blocks of latents.
    """
    random = np.random.default_rng([seed, blocks])
    return random.dirichlet(np.ones(blocks), size=REPLICATES) * blocks


def replicates(reference: Reference, blocks: list[Moments], seed: int) -> NDArray[np.float64]:
    """Return the distance under each of the block weights, [REPLICATES]."""
    weights = block_weights(len(blocks), seed)
    return np.array([reference.distance(pooled(blocks, row)) for row in weights])


def interval(value: float, reweighted: NDArray[np.float64]) -> Interval:
    """Return `value` with the 95 % percentile interval of its replicates, centred on it.

    A reweighted set is worth fewer samples (about half), and a Frechet distance grows as samples
    get fewer, so the replicates lie too high as a whole. Only their spread is used.
    """
    spread = reweighted - reweighted.mean()
    low, high = np.percentile(spread, [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT])
    return Interval(value, value + min(0.0, float(low)), value + max(0.0, float(high)))


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return L with L L^T = covariance, [D, D], also where the rank is deficient."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None)), dtype=np.float64)
