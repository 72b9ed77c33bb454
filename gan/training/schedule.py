"""R3GAN's schedules: five values on one cosine, counted in real images shown.

    v(n) = f + (b - f) (1 + cos(pi n / T)) / 2   for n <= T, then f

from base b to final f over T images. T is 0.4 of the planned images, so that a short job spends
most of its budget at the final values. A training that starts from a champion is past T already:
it stays at the final values, after a short warm-up of the learning rate (Adam starts empty).
"""

import math
from dataclasses import dataclass

from gan.recipe import TrainSpec

_RAMP_SHARE = 0.4
_FINAL_LR = 0.25
_FINAL_GAMMA = 0.1
_BETA2 = (0.9, 0.99)
_WARM_UP_IMAGES = 1000


@dataclass(frozen=True)
class Values:
    """The schedule at one moment.

    Attributes:
        lr: Learning rate of both networks.
        beta2: Adam's second decay; the first is 0.
        gamma: Weight of the penalties.
        ema_half_life: In images; 0 means the average is the network itself.
        augment: Probability of each transform.
    """

    lr: float
    beta2: float
    gamma: float
    ema_half_life: float
    augment: float


def values_at(nimg: int, spec: TrainSpec, *, warm: bool) -> Values:
    """Return the schedule after `nimg` real images; `warm` when training starts from a bundle."""
    ramp_images = _RAMP_SHARE * spec.kimg * 1000
    left = 0.0 if warm or nimg >= ramp_images else (1 + math.cos(math.pi * nimg / ramp_images)) / 2

    def between(base: float, final: float) -> float:
        return final + (base - final) * left

    warm_up = min(1.0, (nimg + 1) / _WARM_UP_IMAGES) if warm else 1.0
    return Values(
        lr=between(spec.lr, spec.lr * _FINAL_LR) * warm_up,
        beta2=between(*_BETA2),
        gamma=between(spec.gamma, spec.gamma * _FINAL_GAMMA),
        ema_half_life=between(0.0, spec.ema_kimg * 1000),
        augment=between(0.0, spec.augment),
    )
