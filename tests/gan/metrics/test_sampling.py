"""Which images are measured."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan.bundle import Bundle
from gan.errors import UsageError
from gan.image.dataset import Dataset
from gan.metrics import sampling
from gan.metrics.sampling import (
    asked_classes,
    generated_at,
    generated_portions,
    noise_portions,
    real_ordinals,
    real_portions,
)
from gan.sections import EvaluateSpec
from gan.split import split
from tests.gan.metrics.portions import drawn as drawn_from

SPEC = EvaluateSpec(samples=300, seed=3)
Draw = Callable[..., Dataset]
MakeBundle = Callable[..., Bundle]


def test_a_sample_is_the_same_image_whatever_the_number(bundle: Bundle, data: Dataset) -> None:
    """The first 200 of 300 samples are the 200 samples, and any of them can be had again."""
    few = EvaluateSpec(samples=200, seed=3)
    long, short = (drawn_from(generated_portions(bundle, data, spec), data) for spec in (SPEC, few))
    places = np.array([299, 0, 7, 250])

    np.testing.assert_array_equal(long[:200], short)
    np.testing.assert_array_equal(generated_at(bundle, data, SPEC, places), long[places])


def test_no_place_is_no_image(bundle: Bundle, data: Dataset) -> None:
    """Asked for nothing, it gives nothing, in the right shape."""
    found = generated_at(bundle, data, SPEC, np.empty(0, np.int64))

    assert found.shape == (0, 3, 16, 16)


def test_generated_classes_have_the_shares_of_the_data(data: Dataset) -> None:
    """A model is asked for each class as often as the data has it."""
    asked = asked_classes(data, EvaluateSpec(samples=240, seed=3))

    np.testing.assert_array_equal(np.sort(asked), np.sort(data.labels))


def test_real_images_come_in_their_order(data: Dataset) -> None:
    """All images of a small data set are measured, each once."""
    found = drawn_from(real_portions(real_ordinals(data)), data)

    np.testing.assert_array_equal(found, data.images)


def test_of_many_real_images_some_are_drawn(
    data: Dataset, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drawn ones depend on the data alone, and those held out of training are among them."""
    monkeypatch.setattr(sampling, "_REAL_AT_MOST", 500)
    many = draw(1000, data.classes)
    drawn = real_ordinals(many)
    _, held_out = split(1000, many.digest)

    assert len(drawn) == len(set(drawn.tolist())) == 500
    assert (np.diff(drawn) > 0).all()
    assert set(held_out.tolist()) <= set(drawn.tolist())
    np.testing.assert_array_equal(drawn, real_ordinals(draw(1000, data.classes)))


def test_noise_has_the_shades_of_the_data(data: Dataset) -> None:
    """Its mean is the data's in each channel, up to what clipping costs."""
    made = drawn_from(noise_portions(data, EvaluateSpec(samples=500, seed=3)), data)

    difference = made.mean(axis=(0, 2, 3)) - data.images.mean(axis=(0, 2, 3))
    assert (np.abs(difference) < 4).all()
    assert made.dtype == np.uint8


def test_noise_of_cut_outs_is_a_set_of_pictures(draw: Draw) -> None:
    """No colour is above its alpha, as in every premultiplied image."""
    cut_outs = draw(60, ["all"], channels=4)
    made = drawn_from(noise_portions(cut_outs, EvaluateSpec(samples=200, seed=3)), cut_outs)

    assert (made[:, :3] <= made[:, 3:]).all()


def test_a_bundle_of_other_images_is_refused(
    bundle: Bundle, draw: Draw, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """The error says what the bundle makes and what the data holds."""
    grey = draw(60, ["bars", "checks", "dots"], channels=1)
    with pytest.raises(UsageError, match="3 channels, the data has 16 px with 1"):
        generated_portions(bundle, grey, SPEC)
    fewer = make_bundle(tmp_path, draw(60, ["bars"]), seed=1)
    with pytest.raises(UsageError, match="knows no class 'checks'"):
        generated_portions(fewer, draw(60, ["bars", "checks"]), SPEC)
