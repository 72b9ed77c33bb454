"""The measured figures: what counts as a collapse, and what is only youth or chance."""

import math
from typing import Any

import pytest

from gan.training.watch import Tick, Watch

TICKS = 40
TICK_IMAGES, STEPS = 800, 50
GOOD = {
    "fd": 6.0,
    "diversity": 0.9,
    "worst_diversity": 0.8,
    "coverage": 0.6,
    "worst_coverage": 0.5,
    "rank": 0.9,
    "samples": 1000.0,
}


def at(number: int) -> Tick:
    """Return tick `number` of 40, counted from 1, a healthy one."""
    figures = dict.fromkeys(Tick.__dataclass_fields__, 0.3)
    counts = {"nimg": number * TICK_IMAGES, "steps": STEPS, "nonfinite": 0, "spikes": 0}
    return Tick(**{**figures, **counts, "saturation": 0.06})  # type: ignore[arg-type]


def watch(loss: str = "relativistic", *, penalised: bool = True) -> Watch:
    """Return the guards of a training of 40 ticks."""
    return Watch(TICKS * TICK_IMAGES, loss, penalised=penalised)


def after_healthy(count: int, **options: Any) -> Watch:
    """Return guards that have seen `count` healthy ticks."""
    guards = watch(**options)
    assert not any(guards.tick(at(number)) for number in range(1, count + 1))
    return guards


COLLAPSES = [
    ("distance", {"fd": 19.0}),
    ("distance", {"fd": math.nan}),
    ("collapse", {"fd": 7.0, "diversity": 0.55}),
    ("collapse", {"fd": 7.0, "rank": 0.2}),
    ("coverage", {"fd": 7.0, "coverage": 0.2}),
    ("class", {"fd": 7.0, "coverage": 0.55, "worst_coverage": 0.1}),
    ("class", {"fd": 7.0, "worst_diversity": 0.2}),
]


@pytest.mark.parametrize(("guard", "planted"), COLLAPSES)
def test_a_collapse_is_seen_at_the_second_measurement(
    guard: str, planted: dict[str, float]
) -> None:
    """One bad measurement is chance; two in a row go back to the last one before them."""
    guards = after_healthy(24)
    assert guards.measured(12_000, GOOD) is None
    assert guards.measured(16_000, {**GOOD, **planted}) is None
    alarm = guards.measured(19_200, {**GOOD, **planted})

    assert alarm is not None
    assert (alarm.guard, alarm.since_nimg) == (guard, 12_000)
    assert "at best it was" in alarm.message


@pytest.mark.parametrize(("guard", "planted"), COLLAPSES)
def test_a_measurement_that_recovers_raises_none(guard: str, planted: dict[str, float]) -> None:
    """Bad, good, bad, good."""
    guards = after_healthy(24)
    for number in range(8):
        figures = {**GOOD, **planted} if number % 2 else GOOD
        assert guards.measured(8000 + number, figures) is None


def test_a_collapsed_start_is_seen_once_half_the_run_is_over() -> None:
    """A generator that never became diverse: nothing before the half, then the alarm."""
    guards = watch()
    stuck = {**GOOD, "diversity": 0.2, "worst_diversity": 0.1, "coverage": 0.01, "rank": 0.4}
    alarms = {}
    for number in range(1, TICKS + 1):
        assert guards.tick(at(number)) is None
        if number % 4 == 0:
            figures = {**stuck, "fd": 71.0 + number / 100}
            alarms[number] = guards.measured(number * TICK_IMAGES, figures)

    raised = {number for number, alarm in alarms.items() if alarm}
    assert raised == {24, 28, 32, 36, 40}
    assert alarms[24] is not None
    assert (alarms[24].guard, alarms[24].since_nimg) == ("collapse", 16 * TICK_IMAGES)


def test_a_slow_start_that_gets_better_raises_none() -> None:
    """As long as the distance has a new best each time, low diversity is only youth."""
    guards = watch()
    for number in range(1, TICKS + 1):
        assert guards.tick(at(number)) is None
        if number % 4 == 0:
            diversity = 0.9 if number == 4 else 0.2  # noise is diverse too
            figures = {**GOOD, "fd": 80.0 - number, "diversity": diversity, "rank": 0.3}
            assert guards.measured(number * TICK_IMAGES, figures) is None


@pytest.mark.parametrize("loss", ["minimax", "least_squares"])
def test_a_textbook_generator_may_draw_few_images(loss: str) -> None:
    """Low diversity that swings is how it trains (these figures are conv28's); a fall is one."""
    diversities = [0.33, 0.27, 0.21, 0.22, 0.22, 0.23, 0.21, 0.29, 0.29]
    distances = [26.9, 16.1, 18.5, 25.9, 18.1, 12.2, 18.8, 13.0, 11.0]
    guards = after_healthy(24, loss=loss, penalised=False)
    for number, (diversity, distance) in enumerate(zip(diversities, distances, strict=True)):
        low = {"diversity": diversity, "worst_diversity": 0.15, "coverage": 0.05, "rank": 0.4}
        assert guards.measured(20_000 + number, {"fd": distance, **low}) is None

    guards.measured(21_000, {"fd": 10.0, "diversity": 0.6})
    guards.measured(22_000, {"fd": 16.0, "diversity": 0.1})
    alarm = guards.measured(23_000, {"fd": 16.0, "diversity": 0.1})
    assert alarm is not None
    assert alarm.guard == "collapse"


def test_without_figures_nothing_is_measured() -> None:
    """A training without a tracker, or a figure that the extractor cannot give, is no fault."""
    guards = after_healthy(24)
    for nimg in (10_000, 14_000, 18_000):
        assert guards.measured(nimg, {}) is None
        assert guards.measured(nimg, {"fd": 6.0, "samples": 1000.0}) is None
