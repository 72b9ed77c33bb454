"""The figures of a detector against values known by hand, and against torch-free definitions."""

import numpy as np
import pytest

from gan.detector.judging import Scale
from gan.detector.rates import (
    average_precision,
    bootstrap,
    calibration_error,
    reliability,
    roc,
    share,
)
from gan.detector.spectrum import area_under_curve, spectrum_scores


def test_perfect_useless_and_inverted_scores_are_told() -> None:
    """Average precision is 1 for a perfect order and one half where all scores are equal."""
    low, high = np.arange(10.0), np.arange(10.0) + 20

    assert average_precision(low, high) == 1.0
    assert average_precision(low * 0, high * 0) == 0.5
    assert average_precision(high, low) < 0.35
    assert (area_under_curve(low, high), area_under_curve(high, low)) == (1.0, 0.0)
    assert area_under_curve(low * 0, high * 0) == 0.5


def test_unlike_numbers_of_images_do_not_change_a_figure() -> None:
    """Real and generated images weigh alike: ten times as many of one kind are the same figure."""
    random = np.random.default_rng(1)
    real, fake = random.uniform(0, 0.8, 50), random.uniform(0.2, 1, 50)

    for figure in (average_precision, calibration_error):
        assert figure(np.repeat(real, 10), fake) == pytest.approx(figure(real, fake))


def test_the_curve_is_that_of_counting() -> None:
    """At each threshold the rates are the shares of scores at or above it."""
    real, fake = np.array([0.1, 0.4, 0.4, 0.7]), np.array([0.3, 0.4, 0.8, 0.9])
    false, true = roc(real, fake)
    levels = [0.9, 0.8, 0.7, 0.4, 0.3, 0.1]

    assert false.tolist() == [0.0, *((real >= level).mean() for level in levels)]
    assert true.tolist() == [0.0, *((fake >= level).mean() for level in levels)]


def test_honest_odds_have_no_calibration_error() -> None:
    """Where 20 % of what is said to be 20 % synthetic is so, the error is 0; boasting shows."""
    real, fake = np.array([0.2] * 4 + [0.8]), np.array([0.2] + [0.8] * 4)

    assert calibration_error(real, fake) == pytest.approx(0.0)
    assert calibration_error(np.round(real), np.round(fake)) == pytest.approx(0.2)
    assert reliability(real, fake) == [
        pytest.approx((0.2, 0.2, 0.5)),
        pytest.approx((0.8, 0.8, 0.5)),
    ]


def test_intervals_hold_the_value_and_have_a_width() -> None:
    """A share of 0 is not known to be 0, and a bootstrap moves with its samples."""
    none = share(np.zeros(224, bool))
    random = np.random.default_rng(1)
    found = bootstrap(average_precision, random.normal(0, 1, 99), random.normal(1, 1, 99), 1)

    assert none.low == none.value == 0.0
    assert 0.015 < none.high < 0.018
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.2


def test_the_scale_mends_odds_that_are_too_sure_and_one_sided() -> None:
    """Logits that are thrice too large and moved to one side become honest probabilities."""
    random = np.random.default_rng(1)
    real, fake = random.normal(-1, 1.414, 4000), random.normal(1, 1.414, 4000)
    scale = Scale.of([3 * real - 4], [3 * fake - 4], 4000)

    assert scale.temperature == pytest.approx(3.0, rel=0.12)
    odds = [scale.probability(3 * side - 4) for side in (real, fake)]
    assert calibration_error(odds[0], odds[1]) < 0.02
    assert np.mean(scale.says_synthetic(odds[0])) == pytest.approx(0.05, abs=0.002)
    assert scale.surest == 1 - 1 / 4002


def test_the_threshold_is_that_of_the_journey_that_harms_real_images_most() -> None:
    """Of real images that one journey makes look synthetic, no more than 5 % pass either."""
    random = np.random.default_rng(1)
    easy, hard = random.normal(-6, 1, 400), random.normal(1, 1, 400)
    scale = Scale.of([easy, hard], [random.normal(6, 1, 400)] * 2, 400)

    assert np.mean(scale.says_synthetic(scale.probability(hard))) <= 0.05
    assert not scale.says_synthetic(scale.probability(easy)).any()


def test_a_perfect_detector_does_not_call_a_real_image_synthetic() -> None:
    """The threshold never falls below one half, however far apart the scores lie."""
    scale = Scale.of([np.full(20, -9.0)], [np.full(20, 9.0)], 20)

    assert scale.threshold == 0.5
    assert not scale.says_synthetic(scale.probability(np.array([-9.0, -1.0]))).any()
    assert scale.probability(np.array([99.0])) == pytest.approx(1 - 1 / 22)


def test_the_spectrum_gives_doubled_pixels_away() -> None:
    """Images whose pixels were doubled are told from noise by their radial spectrum alone."""
    random = np.random.default_rng(1)
    plain = random.integers(0, 256, (80, 3, 16, 16), np.uint8)
    doubled = random.integers(0, 256, (80, 3, 8, 8), np.uint8).repeat(2, 2).repeat(2, 3)
    scores = spectrum_scores(plain[:40], doubled[:40], plain[40:], doubled[40:])
    nothing = spectrum_scores(plain[:40], plain[40:], plain[:20], plain[20:40])

    assert area_under_curve(scores[0], scores[1]) > 0.99
    assert 0.2 < area_under_curve(nothing[0], nothing[1]) < 0.8
