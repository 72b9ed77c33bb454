"""R3GAN's schedules: five values on one cosine, counted in real images shown.

    v(n) = f + (b - f) (1 + cos(pi n / T)) / 2   for n <= T, then f

from base b to final f over T images. T is 0.4 of the planned images, so that a short job spends
most of its budget at the final values. A training that starts from a champion is past T already:
it stays at the final values, after a short warm-up of the learning rate (Adam starts empty).
Without `decay` every value stays at its base, as in the textbook's trainings.
"""

import math
from dataclasses import dataclass

from gan.sections import TrainSpec

_RAMP_SHARE = 0.4
_FINAL_LR = 0.25
_FINAL_GAMMA = 0.1
_BETA2 = (0.9, 0.99)
_BETA2_STEPS = 16  # beta2 is a constant of a captured step: few values, few captures
_CONSTANT_BETA2 = 0.999
_WARM_UP_IMAGES = 1000
WARM_UP_STEPS = 100  # before gamma is chosen, where the recipe leaves that to the data
WARM_UP_GAMMA = 1.0
_PENALTY_SHARE = 0.1
_GAMMA_RANGE = (1e-3, 200.0)


@dataclass(frozen=True)
class Values:
    """The schedule at one moment.

    Attributes:
        lr: Learning rate of both networks.
        beta2: Adam's second decay.
        gamma: Weight of the penalties.
        ema_half_life: In images; 0 means the average is the network itself.
        augment: Probability of each transform, before what overfitting adds.
    """

    lr: float
    beta2: float
    gamma: float
    ema_half_life: float
    augment: float


def values_at(
    nimg: int, planned: float, spec: TrainSpec, *, gamma: float, warm: bool = False
) -> Values:
    """Return the schedule after `nimg` real images.

    Args:
        nimg: Real images shown so far.
        planned: Images in the whole training.
        spec: The recipe's section.
        gamma: The base that the recipe gives or that was chosen from the data.
        warm: Whether the training started from a bundle.
    """
    if not spec.decay:
        half_life = spec.ema_kimg * 1000
        return Values(spec.lr, _CONSTANT_BETA2, gamma, half_life, spec.augment)
    left = 0.0 if warm else _left(nimg, planned)

    def between(base: float, final: float) -> float:
        return final + (base - final) * left

    warm_up = min(1.0, (nimg + 1) / _WARM_UP_IMAGES) if warm else 1.0
    beta2, final_beta2 = _BETA2
    return Values(
        lr=between(spec.lr, spec.lr * _FINAL_LR) * warm_up,
        beta2=final_beta2 + (beta2 - final_beta2) * round(left * _BETA2_STEPS) / _BETA2_STEPS,
        gamma=between(gamma, gamma * _FINAL_GAMMA),
        ema_half_life=between(0.0, spec.ema_kimg * 1000),
        augment=between(0.0, spec.augment),
    )


def gamma_from(squared_gradients: float) -> float:
    """Return the gamma with which the penalties begin as a tenth of a loss of 1.

    Narrow data need much more than diverse data, and published values follow no formula; what the
    first steps show does: gamma = 0.1 / (R1 + R2), from 0.001 to 200.

    Args:
        squared_gradients: R1 + R2, their mean over the first steps.
    """
    low, high = _GAMMA_RANGE
    return min(high, max(low, _PENALTY_SHARE / max(squared_gradients, _PENALTY_SHARE / high)))


def _left(nimg: int, planned: float) -> float:
    """Return how much of the way from base to final is left, in [0, 1]."""
    ramp_images = _RAMP_SHARE * planned
    return 0.0 if nimg >= ramp_images else (1 + math.cos(math.pi * nimg / ramp_images)) / 2
