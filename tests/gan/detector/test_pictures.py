"""What the network is shown of any picture, and what befalls pictures on their way."""

from typing import Any

import numpy as np
import pytest
import torch

from gan.detector.measuring import JOURNEYS
from gan.detector.models import shared_out
from gan.detector.network import DetectorNetwork, logits_of
from gan.detector.parts import parts_of
from gan.detector.pictures import Journey, after, over_white, reduced, travelled
from gan.image.dataset import Dataset


def test_a_picture_is_reduced_by_areas() -> None:
    """Each pixel that the network sees is the mean of those it stands for."""
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    means = picture.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))

    found = reduced([picture], 16, 3)[0].transpose(1, 2, 0)
    assert np.abs(found - means).max() <= 1.0  # Pillow rounds after rows and after columns


def test_alpha_lies_over_white_and_the_middle_of_an_oblong_is_read() -> None:
    """Colour below what is transparent is not seen, and bars beside a square are cut off."""
    clear = np.zeros((20, 20, 4), np.uint8)
    half = np.full((20, 20, 4), (0, 0, 0, 128), np.uint8)
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = (10, 200, 30)

    assert (reduced([clear], 16, 3) == 255).all()
    assert (reduced([half], 16, 3) == 127).all()
    assert (reduced([wide], 16, 3)[0] == np.array([10, 200, 30])[:, None, None]).all()
    assert reduced([wide, half], 16, 1).shape == (2, 1, 16, 16)


def test_stored_transparency_is_what_the_same_file_shows() -> None:
    """A premultiplied item and its file with straight alpha are the same picture to the network."""
    straight = np.random.default_rng(1).integers(0, 256, (1, 4, 16, 16), np.uint8)
    alpha = straight[:, 3:].astype(np.uint16)
    stored = np.concatenate([(straight[:, :3] * alpha + 127) // 255, alpha], 1).astype(np.uint8)
    file = reduced([straight[0].transpose(1, 2, 0)], 16, 3)

    shown = over_white(stored)[0].transpose(2, 0, 1).astype(int)
    assert np.abs(shown - file[0]).max() <= 1


@pytest.mark.parametrize("name", [*JOURNEYS, "training"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_journey_depends_on_the_place_alone(name: str, channels: int) -> None:
    """The same images at the same place come out alike, of the network's kind and size."""
    journey: Journey = JOURNEYS.get(name, travelled)
    items = np.random.default_rng(1).integers(0, 256, (6, channels, 16, 16), np.uint8)
    items = np.minimum(items, items[:, -1:]) if channels == 4 else items
    found = after(journey, items, 5, name, 0)

    assert found.shape == (6, 1 if channels == 1 else 3, 16, 16)
    assert (found == after(journey, items, 5, name, 0)).all()


def test_what_is_delivered_is_nearly_what_was_made() -> None:
    """Enlarged and reduced again a smooth picture stays; JPEG at its own small size does not."""
    rows, columns = np.mgrid[:32, :32]
    smooth = (127 + 100 * np.sin(rows / 5) * np.cos(columns / 4)).astype(np.uint8)
    items = np.repeat(smooth[None, None], 3, axis=1)

    for name, most in (("as made", 0), ("delivered", 2), ("delivered, JPEG q75", 4)):
        moved = after(JOURNEYS[name], items, 1, name).astype(int) - items
        assert np.abs(moved).mean() <= most


def test_large_images_are_judged_window_by_window() -> None:
    """The answer of an image of 128 px is the mean of its four quarters, whoever stands beside."""
    torch.manual_seed(1)
    network = DetectorNetwork(3, 128, 8).eval()
    images = torch.rand(3, 3, 128, 128) * 2 - 1
    halves = (slice(0, 64), slice(64, 128))
    with torch.no_grad():
        quarters = [network(images[:, :, a, b]) for a in halves for b in halves]

    whole = logits_of(network, images)
    assert whole.tolist() == pytest.approx(torch.stack(quarters).mean(0).tolist(), abs=1e-5)
    assert logits_of(network, images[1:2]).tolist() == pytest.approx(whole[1:2].tolist(), abs=1e-5)


def test_no_image_is_learnt_from_and_measured_on() -> None:
    """Three parts without overlap; what belongs together is never torn apart."""
    count = 900
    groups = np.arange(count, dtype=np.int64) // 3
    blank, labels = np.zeros((count, 3, 16, 16), np.uint8), np.zeros(count, np.int64)
    parts = parts_of(Dataset(blank, labels, groups, ["a"], "5" * 64, 16, 3), 1)
    sides = [set(part.tolist()) for part in (parts.learnt, parts.calibration, parts.measured)]

    assert sorted(ordinal for side in sides for ordinal in side) == list(range(count))
    belongs = [{int(groups[ordinal]) for ordinal in side} for side in sides]
    assert not belongs[0] & belongs[1] | belongs[0] & belongs[2] | belongs[1] & belongs[2]
    assert min(map(len, sides)) > 50


def test_every_model_is_shown_as_often_as_any_other() -> None:
    """What cannot be shared evenly goes to each model in turn."""
    makers: Any = ["a", "b", "c"]  # any names will do
    shares = [dict(shared_out(64, makers, turn)) for turn in range(3)]

    assert [sum(each.values()) for each in shares] == [64] * 3
    assert [sum(each[name] for each in shares) for name in makers] == [64] * 3
