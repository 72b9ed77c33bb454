"""The guards of a training: each planted fault raises its alarm, what is healthy raises none."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from gan.training.watch import Alarm, Remedy, Tick, Watch, remedy

TICKS = 40
STEPS = 50
BATCH = 16
TOTAL = TICKS * STEPS * BATCH
HEALTHY = Tick(
    nimg=0,
    steps=STEPS,
    nonfinite=0,
    spikes=0,
    gap=0.8,
    positive=0.85,
    r1=0.3,
    r2=0.35,
    penalty_share=0.15,
    grad_d=1.2,
    grad_g=3.0,
    saturation=0.06,
    loss_d=0.45,
    loss_g=1.3,
)
GOOD = {
    "fd": 6.0,
    "diversity": 0.9,
    "worst_diversity": 0.8,
    "coverage": 0.6,
    "worst_coverage": 0.5,
    "rank": 0.9,
    "samples": 1000.0,
}


def at(number: int, **planted: float) -> Tick:
    """Return tick `number` of 40, counted from 1, a healthy one but for what is planted."""
    return replace(HEALTHY, nimg=number * STEPS * BATCH, **planted)  # type: ignore[arg-type]


def watch(loss: str = "relativistic", *, penalised: bool = True) -> Watch:
    """Return the guards of a training of 40 ticks."""
    return Watch(TOTAL, loss, penalised=penalised)


def first_alarm(guards: Watch, ticks: Iterable[Tick]) -> Alarm | None:
    """Return the first alarm of ticks in a row."""
    return next((alarm for tick in ticks if (alarm := guards.tick(tick))), None)


def after_healthy(count: int = 20, **options: Any) -> Watch:
    """Return guards that have seen `count` healthy ticks."""
    guards = watch(**options)
    assert first_alarm(guards, (at(number) for number in range(1, count + 1))) is None
    return guards


PLANTED = [
    ("critic", {"gap": 23.0, "positive": 0.97}),
    ("critic", {"gap": 4.0, "positive": 0.995}),
    ("vanishing", {"grad_d": 1e-4}),
    ("vanishing", {"grad_g": 0.0}),
    ("penalty", {"r2": 9.0, "r1": 0.3}),
    ("penalty", {"r2": 0.01, "r1": 0.3}),
    ("penalty", {"r2": 40.0, "r1": 35.0}),
    ("saturation", {"saturation": 0.5}),
]


@pytest.mark.parametrize(("guard", "planted"), PLANTED)
def test_a_fault_that_lasts_raises_its_alarm(guard: str, planted: dict[str, float]) -> None:
    """Four ticks in a row: the alarm names its guard, its figures, and the moment before them."""
    guards = after_healthy()
    alarm = first_alarm(guards, (at(21 + i, **planted) for i in range(4)))

    assert alarm is not None
    assert (alarm.guard, alarm.since_nimg) == (guard, 20 * STEPS * BATCH)
    assert alarm.message.endswith("since 16.0 kimg.")
    assert "\n" not in alarm.message


@pytest.mark.parametrize(("guard", "planted"), PLANTED)
def test_a_fault_that_passes_raises_none(guard: str, planted: dict[str, float]) -> None:
    """Three bad ticks, a good one, three bad ones: a training may recover by itself."""
    guards = after_healthy()
    rows: list[dict[str, float]] = [*[planted] * 3, {}, *[planted] * 3, {}]

    assert first_alarm(guards, (at(21 + i, **row) for i, row in enumerate(rows))) is None


def test_a_gap_that_doubles_is_a_winning_critic() -> None:
    """The gap need not be wide yet: one that doubles within a window, again and again, is enough.

    It is doubled against the tick four before, and below 5 nothing is held against it.
    """
    guards = after_healthy()
    gaps = [2.0, 3.0, 4.0, 5.5, 6.5, 8.0, 9.5]
    alarm = first_alarm(guards, (at(21 + i, gap=gap) for i, gap in enumerate(gaps)))

    assert alarm is not None
    assert alarm.guard == "critic"
    assert first_alarm(after_healthy(), (at(21 + i, gap=4.9) for i in range(19))) is None


def test_an_untrained_network_raises_none() -> None:
    """A cold start: a critic that wins at once, fakes that saturate, penalties apart."""
    cold = {"gap": 60.0, "positive": 1.0, "saturation": 0.9, "r2": 40.0, "grad_d": 300.0}
    guards = watch()

    assert first_alarm(guards, (at(number, **cold) for number in range(1, 4))) is None


def test_a_training_of_a_few_steps_raises_none() -> None:
    """40 ticks of a single step each tell nothing, whatever they show."""
    guards = Watch(40 * BATCH, "relativistic", penalised=True)
    bad = [replace(HEALTHY, nimg=i * BATCH, steps=1, gap=50.0, saturation=1.0) for i in range(40)]

    assert first_alarm(guards, bad) is None
    assert guards.measured(20 * BATCH, {**GOOD, "fd": 70.0, "diversity": 0.1}) is None
    assert guards.measured(30 * BATCH, {**GOOD, "fd": 71.0, "diversity": 0.1}) is None
    assert guards.measured(40 * BATCH, {**GOOD, "fd": 72.0, "diversity": 0.1}) is None


@pytest.mark.parametrize("loss", ["minimax", "least_squares"])
def test_a_textbook_critic_may_win(loss: str) -> None:
    """Without penalty and pairing, telling all pairs apart is how these trainings look."""
    guards = after_healthy(0, loss=loss, penalised=False)
    ticks = (at(number, gap=15.0, positive=1.0, r1=0.0, r2=0.0) for number in range(1, 41))

    assert first_alarm(guards, ticks) is None


def test_a_relativistic_critic_without_penalty_is_watched() -> None:
    """A gamma of 0 leaves the penalties unwatched, and the winning critic all the more."""
    guards = after_healthy(penalised=False)

    assert first_alarm(guards, (at(21 + i, r1=90.0, r2=0.1) for i in range(9))) is None
    alarm = first_alarm(guards, (at(30 + i, gap=103.0, positive=1.0) for i in range(4)))
    assert alarm is not None
    assert alarm.guard == "critic"


def test_three_steps_of_a_hundred_that_are_not_finite() -> None:
    """Two within 100 steps are skipped and forgotten; the third raises the alarm at once."""
    guards = after_healthy()
    spread_out = [1, 0, 1, 0, 1, 0, 1, 1]
    ticks = (at(21 + i, nonfinite=count) for i, count in enumerate(spread_out))
    assert first_alarm(guards, ticks) is None

    alarm = guards.tick(at(29, nonfinite=2))
    assert alarm is not None
    assert alarm == Alarm(
        "nonfinite",
        "3 losses or gradients in the last 100 steps were not finite.",
        27 * STEPS * BATCH,
    )


def test_a_tick_without_a_finite_step_says_nothing_else() -> None:
    """Where all steps were skipped the means are zeros, and no gradient is said to vanish."""
    guards = after_healthy()
    nothing = {"grad_d": 0.0, "grad_g": 0.0, "gap": 0.0, "r1": 0.0, "r2": 0.0}
    alarms = [guards.tick(at(21 + i, nonfinite=STEPS, **nothing)) for i in range(4)]

    assert {alarm.guard for alarm in alarms if alarm} == {"nonfinite"}
    assert guards.spike_limits() == pytest.approx((24.0, 60.0))


def test_a_gradient_spike_is_twenty_times_the_usual() -> None:
    """No limit until five ticks are known, then 20 medians; a single wild tick moves it not."""
    guards = watch()
    for number in range(1, 5):
        guards.tick(at(number))
    assert guards.spike_limits() == (math.inf, math.inf)

    guards.tick(at(5))
    assert guards.spike_limits() == pytest.approx((20 * 1.2, 20 * 3.0))
    guards.tick(at(6, grad_d=1e9, grad_g=math.inf))
    assert guards.spike_limits() == pytest.approx((20 * 1.2, 20 * 3.0))


def test_too_many_skipped_spikes() -> None:
    """A spike now and then is skipped and forgotten; a fifth of the last 100 steps is an alarm."""
    guards = after_healthy()
    assert first_alarm(guards, (at(21 + i, spikes=8) for i in range(5))) is None

    alarm = guards.tick(at(26, spikes=13))
    assert alarm is not None
    assert (alarm.guard, alarm.since_nimg) == ("spikes", 24 * STEPS * BATCH)
    assert "21 gradients in the last 100 steps" in alarm.message


def test_a_record_in_json_gives_the_same_decisions() -> None:
    """Killed and resumed at any tick, the guards say what undisturbed ones say."""
    rows: list[dict[str, float]] = [{}] * 20
    rows += [{"gap": 30.0}] * 3 + [{"nonfinite": 1}] * 4 + [{"spikes": 14, "grad_d": 40.0}] * 4
    rows += [{"r2": 8.0}] * 5
    for cut in range(len(rows)):
        guards, resumed = watch(), watch()
        for number, row in enumerate(rows, 1):
            if number == cut:
                resumed.restore(json.loads(json.dumps(resumed.record(), allow_nan=False)))
                assert resumed.record() == guards.record()
            tick = at(number, **row)
            figures = {**GOOD, "fd": 5.0 + number}
            assert resumed.tick(tick) == guards.tick(tick)
            assert resumed.measured(tick.nimg, figures) == guards.measured(tick.nimg, figures)
            assert resumed.spike_limits() == guards.spike_limits()


def test_a_record_is_not_touched_by_what_comes_after() -> None:
    """The record in a checkpoint stays as it was written, and restoring it shares nothing."""
    guards = after_healthy(6)
    guards.measured(4800, GOOD)
    record = guards.record()
    written = json.dumps(record)
    other = watch()
    other.restore(record)
    for number in range(7, 12):
        guards.tick(at(number, gap=50.0))
        other.tick(at(number, gap=50.0))
    other.measured(9000, {**GOOD, "fd": 1.0})

    assert json.dumps(record) == written


def test_the_ladder() -> None:
    """Each attempt is tamer than the one before; from the second on also otherwise computed."""
    assert remedy(0) == Remedy(1.0, 1.0, 0.0, float32_critic=False, whole_penalty=False)
    assert remedy(1) == Remedy(0.7, 2.0, 0.0, float32_critic=False, whole_penalty=False)
    second, third = remedy(2), remedy(3)
    assert second == Remedy(0.7**2, 4.0, 0.2, float32_critic=True, whole_penalty=True)
    assert third == Remedy(0.7**3, 8.0, 0.2, float32_critic=True, whole_penalty=True)
    assert remedy(4) == remedy(10) == third


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_without_a_penalty_only_the_rate_falls(attempt: int) -> None:
    """A textbook recipe stays the textbook's."""
    same = remedy(0, penalised=False)

    assert replace(remedy(attempt, penalised=False), lr_factor=1.0) == same
    assert remedy(attempt, penalised=False).lr_factor == pytest.approx(0.7**attempt)
