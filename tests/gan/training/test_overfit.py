"""Adaptive augmentation: what the critic's scores say, and how fast it is answered."""

import math

import pytest

from gan.training.overfit import raise_of

TICKS = 40


def test_a_critic_that_knows_its_images_raises_it() -> None:
    """Held-out images scored like fakes: up, to the most in a quarter of the run, then no more."""
    boost = 0.0
    boosts = []
    for _ in range(TICKS):
        boost = raise_of(boost, 2.0, -1.0, -1.2, TICKS)
        boosts.append(boost)

    assert boosts[0] == pytest.approx(0.03)
    assert boosts[8] < 0.3
    assert boosts[9] == pytest.approx(0.3)
    assert max(boosts) <= 0.3


def test_a_critic_that_generalises_lowers_it() -> None:
    """Held-out images scored like training images: down to none, and never below."""
    boost = 0.1
    for _ in range(5):
        boost = raise_of(boost, 2.0, 1.9, -1.2, TICKS)

    assert boost == 0.0


@pytest.mark.parametrize(("heldout_score", "rises"), [(0.4, True), (0.6, False)])
def test_the_target_is_half_way(heldout_score: float, *, rises: bool) -> None:
    """With training images at 1 and fakes at 0 the turning point is 0.5."""
    assert (raise_of(0.1, 1.0, heldout_score, 0.0, TICKS) > 0.1) == rises


@pytest.mark.parametrize(
    "scores",
    [
        (1.0, 0.2, 1.0),
        (1.0, -7.0, 0.95),
        (0.0, -1.0, 2.0),
        (math.nan, 0.0, -1.0),
        (1.0, math.inf, -1.0),
        (math.inf, 0.0, math.inf),
    ],
)
def test_scores_that_tell_nothing_change_nothing(scores: tuple[float, float, float]) -> None:
    """A critic that cannot tell training images from fakes, or a score that is not finite."""
    assert raise_of(0.12, *scores, TICKS) == 0.12


def test_a_run_of_few_ticks_never_jumps_over_the_most() -> None:
    """Asked once or twice in a training it goes up by the most at once, not beyond."""
    assert raise_of(0.0, 2.0, -1.0, -1.2, 2) == pytest.approx(0.3)
    assert raise_of(0.29, 2.0, -1.0, -1.2, 2) == 0.3
