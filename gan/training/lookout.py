"""What looks at a training while it runs: rows of figures, the guards, the measurements.

The device is read once a tick. About ten of the ticks are measurements: of the average, with
pictures. All is a function of the images shown, so a resumed training sees what it would have seen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from gan.errors import DivergedError
from gan.training.album import Album
from gan.training.checkpoint import State
from gan.training.machine import snapshot
from gan.training.schedule import WARM_UP_STEPS, Values, gamma_from
from gan.training.session import Session
from gan.training.stats import Stats
from gan.training.step import Stepper
from gan.training.ticks import Meter, adapted
from gan.training.watch import Alarm, Tick, Watch

Measure = Callable[[nn.Module], dict[str, float]]

_TICKS = 40  # per training, at least
_TICK_STEPS = 250  # and never farther apart than this
_MEASUREMENTS = 10  # per training


@dataclass(frozen=True)
class Look:
    """What a look brought.

    Attributes:
        alarm: Of the first guard that spoke up, if any.
        measured: Figures of the average; None where this was no measurement, empty where the
            training has nothing to measure with.
    """

    alarm: Alarm | None
    measured: dict[str, float] | None


class Lookout:
    """Looks at one state until a roll-back replaces it."""

    def __init__(
        self, session: Session, state: State, stats: Stats, measure: Measure | None, planned: int
    ) -> None:
        """Take up what the state knows of earlier ticks.

        Args:
            session: The training.
            state: Looked at, and changed where the augmentation adapts or gamma is chosen.
            stats: Where rows and events go.
            measure: The average -> figures, or None.
            planned: Images in the whole training.
        """
        self._session, self._state, self._stats, self._measure = session, state, stats, measure
        self._planned = planned
        spec = session.recipe.train
        wanted = max(_TICKS, planned / (_TICK_STEPS * spec.batch_size))
        self._ticks = _MEASUREMENTS * math.ceil(wanted / _MEASUREMENTS)
        self._album = Album(
            session.folder, session.room, len(session.data.classes), session.z_dim, spec.seed
        )
        self._watch = Watch(planned, spec.loss, penalised=spec.gamma == "auto" or spec.gamma > 0)

    def attach(self, stepper: Stepper) -> None:
        """Read this stepper's sums from here on."""
        self._meter = Meter(stepper.sums, self._session.team)
        if self._state.watch:
            self._watch.restore(self._state.watch["guards"])
            self._meter.restore(self._state.watch["meter"])

    def spike_limits(self) -> tuple[float, float]:
        """Return the gradient norms of critic and generator above which a step is skipped."""
        return self._watch.spike_limits()

    def count(self) -> None:
        """Count a step."""
        self._meter.steps += 1

    def record(self) -> dict[str, Any]:
        """Return what a resumed training must know, as plain JSON."""
        return {"guards": self._watch.record(), "meter": self._meter.record()}

    def look(self, before: int, values: Values, *, over: bool) -> Look:
        """Tick and measure where a boundary was crossed.

        Args:
            before: Images shown before the last step.
            values: The schedule now.
            over: Whether the training ends here.
        """
        spec, nimg, team = self._session.recipe.train, self._state.nimg, self._session.team
        chooses = spec.gamma == "auto" and self._state.gamma is None
        chooses = chooses and nimg >= WARM_UP_STEPS * spec.batch_size
        if not (over or chooses or self._crosses(before, self._ticks)):
            return Look(None, None)
        measured, broken = None, None
        if over or self._crosses(before, _MEASUREMENTS):
            measured, broken = self._measured()
        tick, row = self._meter.read(nimg, values)
        boost = adapted(self._session, self._state, self._ticks) if team.leads else 0.0
        self._state.boost = team.told(boost)  # it judges by the sign of a difference
        if tick.nonfinite or tick.spikes:
            said = f"{tick.nonfinite} of {tick.steps} steps skipped as not finite, "
            self._event("skip", f"{said}{tick.spikes} as spikes")
        shown = {**row, "boost": self._state.boost, **(measured or {}), **snapshot()}
        self._stats.row(nimg, self._share(), **shown)
        if chooses:
            self._choose_gamma(tick)
        if broken:
            return Look(Alarm("nonfinite", broken, nimg - self._planned // _MEASUREMENTS), None)
        alarm = self._watch.tick(tick)
        if measured and alarm is None:
            alarm = self._watch.measured(nimg, measured)
        return Look(alarm, measured)

    def finish(self) -> None:
        """Write the pictures of a training that has ended."""
        if self._session.team.leads:
            self._album.finish(self._state.networks["G_ema"])

    def _share(self) -> float:
        """Return how much of the budget is spent, by the end that is nearer."""
        minutes, state = self._session.recipe.train.budget.minutes, self._state
        of_time = state.seconds / (60 * minutes) if minutes is not None else 0.0
        return min(1.0, max(state.nimg / self._planned, of_time))

    def _crosses(self, before: int, parts: int) -> bool:
        """Return whether a boundary of equal parts of the training lies in (before, now]."""
        return before * parts // self._planned != self._state.nimg * parts // self._planned

    def _measured(self) -> tuple[dict[str, float], str | None]:
        """Measure the average, once for the whole team, and picture it.

        Returns:
            The figures, and why there are none where the average draws what is not finite.
        """
        average = self._state.networks["G_ema"]
        figures: dict[str, float] = {}
        broken: str | None = None
        if self._session.team.leads:
            try:
                self._album.tick(self._state.nimg, average)
                figures = self._measure(average) if self._measure else {}
            except DivergedError as error:
                broken = str(error)
        figures = self._session.team.told(figures)
        return figures, self._session.team.told(broken)

    def _choose_gamma(self, tick: Tick) -> None:
        gradients = tick.r1 + tick.r2
        self._state.gamma = gamma_from(gradients)
        said = f"gamma {self._state.gamma:.3g} chosen from the data: squared gradients of "
        self._event("gamma", f"{said}{gradients:.3g} in the first steps", gamma=self._state.gamma)

    def _event(self, event: str, message: str, **about: Any) -> None:
        self._stats.event(self._state.nimg, event, message, **about)
