"""The guards of a training that nobody watches: when they speak up, and what is then changed.

At each tick come the means of its steps, at each measurement the figures of the average. A sign is
held against the training only while it lasts: over a window at ticks, over two measurements. Only
then it is an alarm, and the training goes back to before the window (`gan.training.loop`).

Pure: no clock, no device, no randomness. The limits were set on short healthy, textbook and
sabotaged trainings; an untrained network is no fault, so limits that know nothing of what the
training itself has reached wait for a tenth of the run, and for a half where diversity is judged.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from gan.training.collapse import best_of, signs_of_collapse
from gan.training.signs import (
    Tick,
    Usual,
    signs_of_a_winning_critic,
    signs_of_odd_penalties,
    signs_of_saturation,
    signs_of_vanishing,
)

__all__ = ["Alarm", "Remedy", "Tick", "Watch", "remedy"]

_WINDOW_TICKS, _WINDOW_STEPS, _WINDOW_SHARE = 4, 100, 0.01  # all three make a window
_MEASUREMENTS_IN_A_ROW = 2
_SETTLED_TICK, _SETTLED_MEASUREMENT = 0.1, 0.5  # shares of the run
_SETTLED_STEPS, _MEASURED_STEPS = 200, 400  # before them a network is as good as untrained

_HISTORY_TICKS = 20  # of a running median
_HISTORY_LEAST = 5
_NONFINITE_MOST = 3  # steps of 100
_SPIKE, _SPIKES_SHARE = 20.0, 0.2  # times the median; of 100 steps
_TREND = ("grad_d", "grad_g", "r1", "r2", "gap")


@dataclass(frozen=True)
class Alarm:
    """A guard speaks up.

    Attributes:
        guard: Its name: nonfinite, spikes, critic, vanishing, penalty, saturation, collapse,
            coverage, class, distance.
        message: One sentence with the figures.
        since_nimg: What came after this moment is suspect: go back to it or before.
    """

    guard: str
    message: str
    since_nimg: int


@dataclass(frozen=True)
class Remedy:
    """What an attempt changes beside its randomness, all against the recipe's own values.

    Attributes:
        lr_factor: Of the learning rate.
        gamma_factor: Of the penalties' weight.
        augment_raise: Added to the augmentation's probability.
        float32_critic: Whether the critic computes in float32 whatever the recipe says.
        whole_penalty: Whether the penalties are taken on the whole batch.
    """

    lr_factor: float
    gamma_factor: float
    augment_raise: float
    float32_critic: bool
    whole_penalty: bool

    def __str__(self) -> str:
        """Return what changes, in words; `nothing but the randomness` where nothing else does."""
        changes = [
            (self.lr_factor != 1, f"lr x {self.lr_factor:.2g}"),
            (self.gamma_factor != 1, f"gamma x {self.gamma_factor:g}"),
            (self.augment_raise != 0, f"augment + {self.augment_raise:g}"),
            (self.float32_critic, "a float32 critic"),
            (self.whole_penalty, "penalties on the whole batch"),
        ]
        return ", ".join(word for holds, word in changes if holds) or "nothing but the randomness"


def remedy(attempt: int, *, penalised: bool = True) -> Remedy:
    """Return what attempt 0, 1, 2, 3 changes; later ones change no more than the third.

    A roll-back that changed nothing would meet the same end; one rung more each time. Beyond the
    third a training would be so tame that it learns nothing.

    Args:
        attempt: Roll-backs so far; 0 is the training as the recipe wants it.
        penalised: Whether the recipe has a penalty; without one only the learning rate falls.
    """
    rung = min(attempt, 3)
    lr_factor = 0.7**rung
    if not penalised:
        return Remedy(lr_factor, 1.0, 0.0, float32_critic=False, whole_penalty=False)
    hard = rung >= 2
    raised = 0.2 if hard else 0.0
    return Remedy(lr_factor, 2.0**rung, raised, float32_critic=hard, whole_penalty=hard)


@dataclass
class _Held:
    """A sign that lasts: since when, over how many looks and steps."""

    since_nimg: int
    looks: int = 0
    steps: int = 0


@dataclass
class _Memory:
    """What the guards know; plain JSON by `asdict`."""

    nimg: int = 0
    steps: int = 0
    measured_nimg: int = 0
    skips: list[list[int]] = field(default_factory=list)  # before, steps, nonfinite, spikes
    trend: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _TREND})
    held: dict[str, _Held] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)


class Watch:
    """The guards of one training."""

    def __init__(self, total_images: float, loss: str, *, penalised: bool) -> None:
        """Begin with no memory.

        Args:
            total_images: Planned for the whole training.
            loss: Of the recipe; the guards of the relativistic pairing are for it alone, since the
                textbook's critics win for long stretches and their training still goes well.
            penalised: Whether the critic's gradient is penalised.
        """
        self._total_images = max(1.0, total_images)
        self._paired = loss == "relativistic"
        self._penalised = penalised
        self._memory = _Memory()
        self._limits = (math.inf, math.inf)

    def tick(self, tick: Tick) -> Alarm | None:
        """Take a tick in; return the alarm that it completes, if any."""
        memory = self._memory
        alarm = self._skipped(tick)
        if tick.nonfinite * 2 < tick.steps:  # else its means say nothing
            signs = self._signs(tick)
            alarm = self._hold("tick", signs, memory.nimg, tick) or alarm
            self._remember(tick)
        memory.nimg, memory.steps = tick.nimg, memory.steps + tick.steps
        return alarm

    def measured(self, nimg: int, figures: Mapping[str, float]) -> Alarm | None:
        """Take a measurement of the average in; return the alarm that it completes, if any.

        Args:
            nimg: Real images shown so far.
            figures: Of the tracker, `fd` among them; none at all is no measurement.
        """
        memory = self._memory
        if not figures:
            return None
        signs = {}
        if memory.steps >= _MEASURED_STEPS:
            settled = nimg >= _SETTLED_MEASUREMENT * self._total_images
            signs = signs_of_collapse(figures, memory.best, settled=settled, paired=self._paired)
        alarm = self._hold("measurement", signs, memory.measured_nimg, None)
        memory.best = best_of(figures, memory.best)
        memory.measured_nimg = nimg
        return alarm

    def spike_limits(self) -> tuple[float, float]:
        """Return the gradient norms of D and G above which a step is skipped; inf at first."""
        return self._limits

    def record(self) -> dict[str, Any]:
        """Return all that the guards know, as plain JSON."""
        return asdict(self._memory)

    def restore(self, record: Mapping[str, Any]) -> None:
        """Take back what `record` gave: from here on the decisions are the same."""
        held = {name: _Held(**value) for name, value in record["held"].items()}
        trend = {name: list(values) for name, values in record["trend"].items()}
        rest = {"skips": [list(row) for row in record["skips"]], "best": dict(record["best"])}
        self._memory = _Memory(**{**record, **rest, "held": held, "trend": trend})
        self._set_limits()

    def _skipped(self, tick: Tick) -> Alarm | None:
        """Count the skips of the last ticks that together hold 100 steps."""
        memory = self._memory
        memory.skips.append([memory.nimg, tick.steps, tick.nonfinite, tick.spikes])
        while sum(row[1] for row in memory.skips[1:]) >= _WINDOW_STEPS:
            memory.skips.pop(0)
        since = memory.skips[0][0]
        steps, nonfinite, spikes = (sum(row[i] for row in memory.skips) for i in (1, 2, 3))
        if nonfinite >= _NONFINITE_MOST:
            said = f"{nonfinite} losses or gradients in the last {steps} steps were not finite."
            return Alarm("nonfinite", said, since)
        if steps >= _WINDOW_STEPS and spikes > _SPIKES_SHARE * steps:
            said = f"{spikes} gradients in the last {steps} steps were over {_SPIKE:g} x the usual."
            return Alarm("spikes", said, since)
        return None

    def _signs(self, tick: Tick) -> dict[str, str]:
        memory = self._memory
        usual = Usual(
            {name: self._usual(name) for name in _TREND},
            gap_before=next(iter(memory.trend["gap"][-_WINDOW_TICKS:]), None),
        )
        past = tick.nimg >= _SETTLED_TICK * self._total_images
        settled = past and memory.steps >= _SETTLED_STEPS
        signs = signs_of_vanishing(tick, usual, settled=settled)
        if settled:
            signs |= signs_of_saturation(tick)
        if settled and self._paired:
            signs |= signs_of_a_winning_critic(tick, usual)
        if self._penalised:
            signs |= signs_of_odd_penalties(tick, usual, settled=settled)
        return signs

    def _hold(
        self, kind: str, signs: dict[str, str], before_nimg: int, tick: Tick | None
    ) -> Alarm | None:
        """Go on holding the signs that are still there, drop the others; return a full one."""
        memory = self._memory
        gone = [key for key in memory.held if key.startswith(kind) and _guard(key) not in signs]
        for key in gone:
            del memory.held[key]
        alarm = None
        for guard, said in signs.items():
            held = memory.held.setdefault(f"{kind} {guard}", _Held(before_nimg))
            held.looks += 1
            held.steps += tick.steps if tick else 0
            if alarm is None and self._lasts(held, tick):
                sentence = f"{said}, since {held.since_nimg / 1000:.1f} kimg."
                alarm = Alarm(guard, sentence, held.since_nimg)
        return alarm

    def _lasts(self, held: _Held, tick: Tick | None) -> bool:
        if tick is None:
            return held.looks >= _MEASUREMENTS_IN_A_ROW
        long = tick.nimg - held.since_nimg >= _WINDOW_SHARE * self._total_images
        return long and held.looks >= _WINDOW_TICKS and held.steps >= _WINDOW_STEPS

    def _remember(self, tick: Tick) -> None:
        for name, values in self._memory.trend.items():
            value = getattr(tick, name)
            if math.isfinite(value):
                values.append(value)
                del values[:-_HISTORY_TICKS]
        self._set_limits()

    def _set_limits(self) -> None:
        d, g = (self._usual(f"grad_{name}") for name in "dg")
        self._limits = (_SPIKE * d if d else math.inf, _SPIKE * g if g else math.inf)

    def _usual(self, name: str) -> float | None:
        """Return the running median, or None as long as there are too few ticks for one."""
        values = self._memory.trend[name]
        return median(values) if len(values) >= _HISTORY_LEAST else None


def _guard(key: str) -> str:
    """Return the guard of a key of `held`, which is its kind and its name."""
    return key.split()[1]
