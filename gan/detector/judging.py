"""A trained network as something to ask, and its scores as calibrated probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gan.detector.network import DetectorNetwork, logits_of
from gan.modality import modality

_PORTION = 64
_FALSE_POSITIVES = 0.05
_LEAST_THRESHOLD = 0.5
_TEMPERATURES = np.geomspace(0.1, 20.0, 54)
_OFFSETS = np.linspace(-4.0, 4.0, 65)

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """A network in evaluation mode, for images of `resolution` px."""

    network: DetectorNetwork
    resolution: int

    def logits(self, images: NDArray[np.uint8]) -> Scores:
        """Return the logits of images uint8 [N, 1 or 3, R, R], float64 [N]."""
        parts = [
            logits_of(self.network, modality("image").from_uint8(torch.from_numpy(part)))
            for start in range(0, len(images), _PORTION)
            if len(part := np.ascontiguousarray(images[start : start + _PORTION]))
        ]
        return torch.cat(parts).double().numpy() if parts else np.empty(0)


@dataclass(frozen=True)
class Scale:
    """How logits become probabilities, and from which one on it says "synthetic".

    Attributes:
        temperature: Logits are divided by it (Guo 2017), above 0.
        offset: Then this is added (Platt 1999): what has travelled looks more real than it is.
        threshold: A probability.
        surest: No probability is above it, none below 1 - it: more no set of images of the size
            that it was calibrated on could show (Laplace's rule of succession).
    """

    temperature: float
    offset: float
    threshold: float
    surest: float

    @classmethod
    def of(cls, real: Sequence[Scores], fake: Sequence[Scores], count: int) -> "Scale":
        """Calibrate on logits that no training step saw, real and generated of equal weight.

        The threshold lets 5 % of the real ones pass for synthetic after the journey that suits
        them least, and fewer after the others. It is never below one half.

        Args:
            real: Logits of real images, [N] after each journey.
            fake: Logits of generated ones, [M] after each.
            count: How many different real images they are of.
        """
        surest = 1 - 1 / (count + 2)
        theirs, ours = np.concatenate(real), np.concatenate(fake)
        _, divisor, offset = min(
            (_loss(theirs / divisor + offset, ours / divisor + offset), divisor, offset)
            for divisor in _TEMPERATURES.tolist()
            for offset in _OFFSETS.tolist()
        )
        plain = cls(divisor, offset, _LEAST_THRESHOLD, surest)
        usual = [np.quantile(plain.probability(each), 1 - _FALSE_POSITIVES) for each in real]
        return cls(divisor, offset, max(_LEAST_THRESHOLD, *map(float, usual)), surest)

    def probability(self, logits: Scores) -> Scores:
        """Return probabilities [N] of logits [N]."""
        plain = 1 / (1 + np.exp(-np.clip(logits / self.temperature + self.offset, -50, 50)))
        found: Scores = np.clip(plain, 1 - self.surest, self.surest)
        return found

    def says_synthetic(self, probability: Scores) -> NDArray[np.bool_]:
        """Return where a probability [N] is at the threshold or above."""
        found: NDArray[np.bool_] = probability >= self.threshold
        return found


def _loss(real: Scores, fake: Scores) -> float:
    """Return the mean negative log-likelihood of logits, both kinds of equal weight."""
    return float(np.logaddexp(0, real).mean() + np.logaddexp(0, -fake).mean())
