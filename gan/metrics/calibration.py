"""What the chosen number of samples can tell apart, found out on what is known to be equal.

    A/A         the same model with other seeds, again and again: each difference that an interval
                calls real is a false alarm; 5 % of them are what a 95 % interval promises
    real/real   one random half of the real images against the other: the kernel distance is about
                0, and its interval holds 0 in 95 of 100

The smallest difference that can be seen is what two independent sets show at 5 % false alarms with
80 % power. Models on the same latents, as the gate has them, share noise: there it is smaller.
"""

from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from gan.bundle import Bundle
from gan.durable import write_json
from gan.errors import UsageError
from gan.metrics.calibration_plot import CALIBRATION as PICTURE
from gan.metrics.calibration_plot import write_calibration
from gan.metrics.intervals import Interval, Measured, apart
from gan.metrics.meter import Meter
from gan.metrics.moments import moments_of
from gan.metrics.sampling import asked_classes
from gan.metrics.scores import within_classes
from gan.seeding import seed_at

CALIBRATION = "calibration.json"
_NORMAL_95, _NORMAL_80 = 1.959964, 0.841621
_HALVINGS = 10


@dataclass(frozen=True)
class Calibration:
    """What was found out about a metric at the recipe's number of samples.

    Attributes:
        metric: The distance.
        metric_id: Names how the model is measured.
        samples: Images of each set.
        sets: Sets of samples of the one model.
        distance: Mean of their distances.
        differences: Of each two of them, with its interval; all of them are 0 in truth.
        false_alarms: How many of those intervals leave 0 out.
        refused: How many of them the gate would refuse for being worse.
        spread: Standard deviation of the sets' distances, as found.
        expected_spread: The same, as the intervals say.
        smallest: The smallest difference that can be seen.
        allowed: How much worse than the champion the gate lets a candidate be: margin * distance.
        halves: Distance of one half of the real images to the other, mean over halvings.
        halves_kernel: Their kernel distances with intervals; all of them are 0 in truth.
        halves_missed: How many of those intervals leave 0 out.
    """

    metric: str
    metric_id: str
    samples: int
    sets: int
    distance: float
    differences: list[Interval]
    false_alarms: int
    refused: int
    spread: float
    expected_spread: float
    smallest: float
    allowed: float
    halves: float
    halves_kernel: list[Interval]
    halves_missed: int

    @property
    def can_decide(self) -> bool:
        """Whether a model as much worse as the gate allows can be told from one that is equal."""
        return self.smallest <= self.allowed


def calibrate(
    bundle: Bundle, meter: Meter, margin: float, destination: Path, *, sets: int
) -> Calibration:
    """Measure one model with several seeds, and the real images against themselves.

    Args:
        bundle: The model.
        meter: What measures it; its seed draws the others.
        margin: Of the recipe's gate.
        destination: The folder for `calibration.json` and `calibration.png`.
        sets: How many sets of samples, at least 2; each costs an evaluation.

    Raises:
        UsageError: There are fewer than 2 sets.
        DivergedError: A generated image or a feature is not finite.
    """
    if sets < 2:
        raise UsageError(f"calibrate: {sets} sets of samples; at least 2 are needed.")
    measured = [_distance(bundle, meter, number) for number in range(sets)]
    values = np.array([each.value for each in measured])
    errors = np.array([each.se for each in measured])
    differences = [
        apart(one.interval(), other.interval()) for one, other in combinations(measured, 2)
    ]
    error = float(np.sqrt((errors**2).mean()))
    distance = float(values.mean())
    allowed = margin * distance
    halvings = [meter.halve(number) for number in range(_HALVINGS)]
    kernels = [each.kernel.interval() for each in halvings]
    found = Calibration(
        metric=meter.extractor.card.distance,
        metric_id=meter.metric_id(),
        samples=meter.spec.samples,
        sets=sets,
        distance=distance,
        differences=differences,
        false_alarms=sum(not each.low <= 0 <= each.high for each in differences),
        refused=sum(each.high > allowed for each in differences),
        spread=float(values.std(ddof=1)),
        expected_spread=error,
        smallest=(_NORMAL_95 + _NORMAL_80) * float(np.sqrt(2)) * error,
        allowed=allowed,
        halves=float(np.mean([each.distance.value for each in halvings])),
        halves_kernel=kernels,
        halves_missed=sum(not each.low <= 0 <= each.high for each in kernels),
    )
    document: dict[str, Any] = asdict(found) | {"can_decide": found.can_decide}
    write_json(destination / CALIBRATION, document)
    write_calibration(
        destination / PICTURE,
        f"{bundle.card.recipe} {bundle.digest[:8]}",
        [(each.value, each.low, each.high) for each in differences],
        margin=allowed,
        visible=found.smallest,
        samples=found.samples,
    )
    return found


def _distance(bundle: Bundle, meter: Meter, number: int) -> Measured:
    seed = seed_at(meter.spec.seed, "calibrate", number) % 2**31
    other = meter.another(meter.spec.model_copy(update={"seed": seed}))
    features = other.generated(bundle).features
    measured = meter.real.reference.measure(features, moments_of(features))
    return within_classes(measured, asked_classes(meter.data, other.spec))
