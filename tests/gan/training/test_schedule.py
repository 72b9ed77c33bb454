"""The schedules: their two ends, their middle, a start from a champion, a textbook's constant."""

from itertools import pairwise

import pytest

from gan.sections import BudgetSpec, TrainSpec
from gan.training.schedule import Values, gamma_from, values_at

PLANNED = 100_000
SPEC = TrainSpec(budget=BudgetSpec(kimg=100), lr=1e-3, ema_kimg=3.0, augment=0.5)


def _values(nimg: int, *, warm: bool = False) -> Values:
    return values_at(nimg, PLANNED, SPEC, gamma=2.0, warm=warm)


def test_it_begins_at_the_base_and_ends_at_the_final_values() -> None:
    """From scratch: full rate, plain average, no augmentation; final values after 40%."""
    first, last = _values(0), _values(40_000)

    assert (first.lr, first.gamma) == (1e-3, 2.0)
    assert first.beta2 == pytest.approx(0.9)
    assert (first.ema_half_life, first.augment) == (0.0, 0.0)
    assert (last.lr, last.gamma, last.beta2) == (2.5e-4, 0.2, 0.99)
    assert (last.ema_half_life, last.augment) == (3000.0, 0.5)
    assert _values(99_999) == last


def test_half_way_it_is_half_way() -> None:
    """The cosine's middle is the mean of its ends."""
    middle = _values(20_000)

    assert middle.lr == pytest.approx((1e-3 + 2.5e-4) / 2)
    assert middle.augment == pytest.approx(0.25)
    assert middle.beta2 == pytest.approx(0.945)


def test_it_moves_one_way() -> None:
    """Between its ends no value turns back."""
    walk = [_values(nimg) for nimg in range(0, 50_000, 500)]

    for earlier, later in pairwise(walk):
        assert later.lr <= earlier.lr
        assert later.gamma <= earlier.gamma
        assert later.beta2 >= earlier.beta2
        assert later.ema_half_life >= earlier.ema_half_life
        assert later.augment >= earlier.augment
    assert len({each.beta2 for each in walk}) <= 17  # a captured step holds it as a constant


def test_a_champion_goes_on_where_its_training_ended() -> None:
    """From a bundle: the final values at once, the rate warmed up over 1,000 images."""
    first, later = _values(0, warm=True), _values(1000, warm=True)

    assert first.augment == later.augment == 0.5
    assert first.lr == pytest.approx(2.5e-7)
    assert _values(499, warm=True).lr == pytest.approx(1.25e-4)
    assert later.lr == 2.5e-4


def test_the_textbook_changes_nothing_on_the_way() -> None:
    """Without decay every value is the same from the first image to the last."""
    spec = SPEC.model_copy(update={"decay": False})
    walk = {values_at(nimg, PLANNED, spec, gamma=0.0) for nimg in (0, 20_000, 99_999)}

    assert walk == {Values(lr=1e-3, beta2=0.999, gamma=0.0, ema_half_life=3000.0, augment=0.5)}


def test_gamma_follows_the_gradients_of_the_first_steps() -> None:
    """Steep critics get a small gamma, flat ones a large one, within what was ever used."""
    assert gamma_from(0.1) == pytest.approx(1.0)
    assert gamma_from(20.0) == pytest.approx(0.005)
    assert gamma_from(0.0) == 200.0
    assert gamma_from(1e9) == 1e-3
