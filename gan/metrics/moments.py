"""Mean and scatter of feature vectors, gathered in any order and any portions, in float64.

The scatter is always about the mean (Chan, Golub, LeVeque 1979), never a difference of raw second
moments: with a mean far from zero those lose all their digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.errors import DivergedError, UsageError

Features = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and scatter of a set of vectors with D entries.

    Attributes:
        count: How many vectors, or the sum of their weights.
        mean: [D] float64.
        scatter: Sum of outer products about the mean, [D, D] float64, symmetric.
    """

    count: float
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @property
    def dims(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def is_low_rank(self) -> bool:
        """Whether there are too few vectors for a covariance of full rank."""
        return self.count <= self.dims

    @property
    def covariance(self) -> NDArray[np.float64]:
        """The unbiased covariance, [D, D] float64.

        Raises:
            UsageError: There are fewer than 2 vectors.
        """
        if self.count < 2:
            raise UsageError(
                f"moments: a covariance needs at least 2 samples, found {self.count:g}. "
                "Raise evaluate.samples, or give the class more images."
            )
        return self.scatter / (self.count - 1)


def moments_of(features: Features) -> Moments:
    """Return the moments of features [N, D]; N may be 0.

    Raises:
        DivergedError: A feature is not finite.
        ValueError: The array is not [N, D].
    """
    if features.ndim != 2:
        raise ValueError(f"features must be [N, D], found shape {features.shape}")
    values = features.astype(np.float64)
    if not np.isfinite(values).all():
        odd = int((~np.isfinite(values)).any(axis=1).sum())
        raise DivergedError(
            f"features: {odd} of {len(values)} samples have a feature that is not finite (NaN or "
            "infinite); no distance can be taken. Check the model's weights; train it again."
        )
    if len(values) == 0:
        dims = values.shape[1]
        return Moments(0, np.zeros(dims), np.zeros((dims, dims)))
    mean = values.mean(axis=0)
    centred = values - mean
    return Moments(len(values), mean, centred.T @ centred)


def effective_rank(moments: Moments) -> float:
    """Return how many directions a set varies in: exp of the entropy of its covariance's spectrum.

    From 1 to D, or 0 where all vectors are equal (Roy and Vetterli 2007).

    Raises:
        UsageError: There are fewer than 2 vectors.
    """
    values = np.clip(np.linalg.eigvalsh(moments.covariance), 0.0, None)
    total = values.sum()
    if not total > 0:
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def pooled(parts: list[Moments], weights: NDArray[np.float64] | None = None) -> Moments:
    """Return the moments of several sets taken together.

    Args:
        parts: One or more moments of equal D.
        weights: How often each vector of part i counts, [len(parts)], from 0 up; default 1.

    Returns:
        Moments whose count is the sum of the weights of all vectors.
    """
    counts = np.array([part.count for part in parts], dtype=np.float64)
    factors = np.ones(len(parts)) if weights is None else weights
    total = float(factors @ counts)
    if total == 0:
        return parts[0]
    mean = np.einsum("i,id->d", factors * counts / total, np.stack([p.mean for p in parts]))
    offsets = np.stack([part.mean for part in parts]) - mean  # [parts, D]
    within = np.tensordot(factors, np.stack([part.scatter for part in parts]), axes=1)
    between = (offsets * (factors * counts)[:, None]).T @ offsets
    return Moments(total, mean, within + between)


class BlockMoments:
    """Moments of a stream of known length, kept by block: sample i of N is in block i * B // N.

    Blocks are what an interval is made from (`frechet.interval`); portions may be of any size.
    """

    def __init__(self, total: int, blocks: int) -> None:
        """Prepare for `total` samples in `blocks` blocks, fewer where there are fewer samples."""
        self._total = total
        self._blocks: list[list[Moments]] = [[] for _ in range(max(1, min(blocks, total)))]
        self._seen = 0

    def add(self, features: Features) -> None:
        """Take the next features of the stream, [N, D].

        Raises:
            DivergedError: A feature is not finite.
            ValueError: There are more than were announced.
        """
        ordinals = np.arange(self._seen, self._seen + len(features))
        if self._seen + len(features) > self._total:
            raise ValueError(f"{self._total} samples were announced, and there are more")
        place = ordinals * len(self._blocks) // self._total
        for block in np.unique(place):
            part = moments_of(features[place == block])
            held = self._blocks[block]
            held[:] = [pooled([*held, part])]
        self._seen += len(features)

    def by_block(self) -> list[Moments]:
        """Return the moments of each block, in the stream's order.

        Raises:
            ValueError: There are fewer samples than were announced.
        """
        if self._seen != self._total:
            raise ValueError(f"{self._total} samples were announced, {self._seen} came")
        return [held[0] for held in self._blocks]
