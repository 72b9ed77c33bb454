"""The schedules: their two ends, their middle, and a start from a champion."""

from itertools import pairwise

import pytest

from gan.recipe import TrainSpec
from gan.training.schedule import values_at

SPEC = TrainSpec(kimg=100, lr=1e-3, gamma=2.0, ema_kimg=3.0, augment=0.5)


def test_it_begins_at_the_base_and_ends_at_the_final_values() -> None:
    """From scratch: full rate, plain average, no augmentation; final values after 40%."""
    first, last = values_at(0, SPEC, warm=False), values_at(40_000, SPEC, warm=False)

    assert (first.lr, first.gamma, first.beta2) == (1e-3, 2.0, 0.9)
    assert (first.ema_half_life, first.augment) == (0.0, 0.0)
    assert (last.lr, last.gamma, last.beta2) == (2.5e-4, 0.2, 0.99)
    assert (last.ema_half_life, last.augment) == (3000.0, 0.5)
    assert values_at(99_999, SPEC, warm=False) == last


def test_half_way_it_is_half_way() -> None:
    """The cosine's middle is the mean of its ends."""
    middle = values_at(20_000, SPEC, warm=False)

    assert middle.lr == pytest.approx((1e-3 + 2.5e-4) / 2)
    assert middle.augment == pytest.approx(0.25)


def test_it_moves_one_way() -> None:
    """Between its ends no value turns back."""
    walk = [values_at(nimg, SPEC, warm=False) for nimg in range(0, 50_000, 500)]

    for earlier, later in pairwise(walk):
        assert later.lr <= earlier.lr
        assert later.gamma <= earlier.gamma
        assert later.beta2 >= earlier.beta2
        assert later.ema_half_life >= earlier.ema_half_life
        assert later.augment >= earlier.augment


def test_a_champion_goes_on_where_its_training_ended() -> None:
    """From a bundle: the final values at once, the rate warmed up over 1,000 images."""
    first, later = values_at(0, SPEC, warm=True), values_at(1000, SPEC, warm=True)

    assert first.augment == later.augment == 0.5
    assert first.lr == pytest.approx(2.5e-7)
    assert values_at(499, SPEC, warm=True).lr == pytest.approx(1.25e-4)
    assert later.lr == 2.5e-4
