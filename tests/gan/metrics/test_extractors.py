"""Extractors of each kind behind one interface; training and opening the domain extractor."""

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan.durable import SUMS, drop_partials, sha256, verify_sums, write_sums
from gan.errors import DamagedError, GanmillError, SourceError, UsageError
from gan.image.dataset import Dataset
from gan.image.networks.features import FeatureNetwork
from gan.metrics.cards import STANDARD_SHA256, DomainCard, InceptionCard
from gan.metrics.domain import _parts, train_extractor
from gan.metrics.extractors import Extractor, _to_rgb, load_extractor, write_extractor
from gan.split import split
from tests.faults.seam import failing_at

CLASSES = ["bars", "checks", "dots"]
Draw = Callable[..., Dataset]


def _domain(extractor: Extractor) -> DomainCard:
    """Return the card of a domain extractor."""
    assert isinstance(extractor.card, DomainCard)
    return extractor.card


def test_it_learns_the_classes(extractor: Extractor, data: Dataset) -> None:
    """The held-out accuracy is in the card and far above guessing."""
    card = _domain(extractor)

    assert (card.task, card.held_out) == ("classes", len(data) // 10)
    assert card.accuracy > 0.8
    assert card.data_digest == data.digest
    assert (card.name, card.distance, card.kernel) == ("domain", "fd_domain", "kd_domain")
    assert card.standard is False
    assert extractor.knows(data)


def test_the_same_training_gives_the_same_bytes(data: Dataset, tmp_path: Path) -> None:
    """Data and seed decide every byte; another seed gives another network."""
    quiet: list[str] = []
    digests = [
        train_extractor(data, tmp_path / name, seed, quiet.append, images_shown=512)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]

    assert digests[0] == digests[1] != digests[2]
    assert sha256(tmp_path / "a/extractor.safetensors") == sha256(
        tmp_path / "b/extractor.safetensors"
    )
    assert any("held out" in line for line in quiet)


def test_one_class_learns_rotations(draw: Draw, tmp_path: Path) -> None:
    """A data set without classes still gets an extractor, by telling quarter turns."""
    single = draw(60, ["all"], channels=1)
    train_extractor(single, tmp_path, 1, images_shown=256)
    extractor = load_extractor(tmp_path)

    reading = extractor.read(single.images[:3])

    assert _domain(extractor).task == "rotation"
    assert not extractor.knows(single)
    assert reading.predicted is None
    assert reading.features.shape == (3, 128)


class _Watched(np.ndarray):
    """Images that remember which of them were asked for."""

    asked: set[int]

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, np.ndarray):
            self.asked.update(place.tolist())
        return np.asarray(self)[place]


def test_it_learns_from_what_a_training_sees(draw: Draw, tmp_path: Path) -> None:
    """The images held out of the training teach it nothing; on all of them it is tested."""
    many = draw(700, CLASSES)
    watched = many.images.view(_Watched)
    watched.asked = set()
    learnt, held_out = split(700, many.digest)
    seen = replace(many, images=watched)
    train_extractor(seen, tmp_path, 1, lambda _: None, images_shown=1280)

    assert len(held_out) == 64
    assert set(held_out.tolist()) <= watched.asked <= set(learnt.tolist()) | set(held_out.tolist())
    assert _domain(load_extractor(tmp_path)).held_out == 64
    parts = _parts(many, 1)
    assert np.array_equal(parts[0], learnt)
    assert np.array_equal(parts[1], held_out)


def test_it_outlives_other_classes(extractor: Extractor, draw: Draw) -> None:
    """New, fewer or renamed classes leave a pinned extractor usable; it only knows no accuracy."""
    other = draw(30, ["bars", "more"], seed=3)
    extractor.require_fit(other)

    assert not extractor.knows(other)
    assert extractor.features(other.images).shape == (30, 128)


def test_another_shape_needs_another_extractor(extractor: Extractor, draw: Draw) -> None:
    """Other channels are refused with the command that renews it."""
    with pytest.raises(UsageError, match=r"with 1\. Make another: ganmill extractor renew"):
        extractor.require_fit(draw(30, CLASSES, channels=1))


def test_bfloat16_is_near_float32(
    extractor: Extractor, extractor_folder: Path, data: Dataset
) -> None:
    """Half the digits give features to a percent or two, for measurements during a training."""
    quick = load_extractor(extractor_folder, precision=torch.bfloat16)
    exact = extractor.features(data.images[:50])
    found = quick.features(data.images[:50])

    assert (quick.precision, extractor.precision) == (torch.bfloat16, torch.float32)
    assert quick.digest == extractor.digest
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_another_extractor_than_asked_for_is_refused(extractor_folder: Path) -> None:
    """A recipe that asks for another network than the pinned one is told how to change to it."""
    assert load_extractor(extractor_folder, wanted="domain").card.name == "domain"
    with pytest.raises(UsageError, match=r"asks for 'inception'.*ganmill extractor renew"):
        load_extractor(extractor_folder, wanted="inception")


def test_only_the_standard_file_is_called_fid() -> None:
    """Other weights in the same network have another name; a card that claims more is refused."""
    with pytest.raises(ValueError, match="standard"):
        InceptionCard(dims=2048, source="w.safetensors", source_sha256="0" * 64, standard=True)
    other = InceptionCard(dims=2048, source="w", source_sha256="0" * 64, standard=False)
    fid = InceptionCard(dims=2048, source="w", source_sha256=STANDARD_SHA256, standard=True)

    assert (other.distance, other.kernel) == ("fd_inception", "kd_inception")
    assert (fid.distance, fid.kernel) == ("fid", "kid")


def test_a_card_of_another_format_is_refused(extractor_folder: Path, tmp_path: Path) -> None:
    """What an older version wrote is named with the command that makes it anew."""
    folder = shutil.copytree(extractor_folder, tmp_path / "old")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "format": 1}))
    write_sums(folder)

    with pytest.raises(DamagedError, match=r"format.*ganmill extractor renew"):
        load_extractor(folder)


def test_a_full_disk_never_leaves_half_an_extractor(tmp_path: Path) -> None:
    """Whichever change of the disk fails, the folder is the old one, the new one, or none."""
    card = InceptionCard(dims=2048, source="w", source_sha256="0" * 64, standard=False)
    old, new = {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    folder = tmp_path / "pinned"
    whole = {write_extractor(folder, state, card) for state in (new, old)}
    with failing_at(10**9, errno.ENOSPC) as passed:
        write_extractor(folder, old, card)
    for n in range(1, len(passed) + 1):
        write_extractor(folder, old, card)
        with failing_at(n, errno.ENOSPC, lasting=True), pytest.raises(GanmillError):
            write_extractor(folder, new, card)
        if (folder / SUMS).exists():
            drop_partials(folder)
            assert verify_sums(folder) in whole


def test_three_channels_are_made_of_one_and_of_four() -> None:
    """Grey is repeated; what is transparent shows white, what is opaque its own colour."""
    grey = np.array([[[[0, 7, 255]]]], np.uint8)  # [1, 1, 1, 3]
    rgba = np.zeros((1, 4, 1, 3), np.uint8)  # clear, half of a red, opaque green
    rgba[0, :, 0, 1] = (100, 0, 0, 128)
    rgba[0, :, 0, 2] = (0, 255, 0, 255)

    assert np.array_equal(_to_rgb(grey), np.repeat(grey, 3, axis=1))
    assert _to_rgb(rgba)[0, :, 0, :].T.tolist() == [[255, 255, 255], [227, 127, 127], [0, 255, 0]]


def test_features_do_not_depend_on_the_neighbours(extractor: Extractor, data: Dataset) -> None:
    """One image alone, among 240, or in reverse order has the same features."""
    together = extractor.features(data.images)
    alone = np.concatenate([extractor.features(data.images[i : i + 1]) for i in range(5)])

    assert together.dtype == np.float32
    np.testing.assert_allclose(together[:5], alone, atol=1e-6)
    np.testing.assert_allclose(together, extractor.features(data.images[::-1])[::-1], atol=1e-6)
    assert extractor.features(data.images[:0]).shape == (0, 128)


@pytest.mark.parametrize(("channels", "resolution"), [(3, 16), (1, 32), (3, 64), (3, 256)])
def test_the_network_takes_each_shape(channels: int, resolution: int) -> None:
    """Every resolution of a recipe gives 128 features, and train() changes nothing."""
    network = FeatureNetwork(channels, resolution, 5)
    images = torch.rand(2, channels, resolution, resolution) * 2 - 1
    features, logits = network.train()(images)

    assert features.shape == (2, 128)
    assert logits.shape == (2, 5)
    assert torch.equal(features, network.eval()(images)[0])


def test_a_flipped_bit_is_refused(extractor_folder: Path, tmp_path: Path) -> None:
    """Weights that are not those that were pinned are never used."""
    folder = shutil.copytree(extractor_folder, tmp_path / "damaged")
    weights = bytearray((folder / "extractor.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "extractor.safetensors").write_bytes(bytes(weights))

    with pytest.raises(DamagedError, match=r"extractor\.safetensors"):
        load_extractor(folder)


def test_a_card_for_another_network_is_refused(extractor_folder: Path, tmp_path: Path) -> None:
    """Shapes are compared with the card, also where the digests were made to fit."""
    folder = shutil.copytree(extractor_folder, tmp_path / "forged")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "classes": [*CLASSES, "more"]}))
    (folder / SUMS).unlink()
    write_sums(folder)

    with pytest.raises(DamagedError, match="does not fit its card"):
        load_extractor(folder)


def test_a_missing_extractor_names_the_command(tmp_path: Path) -> None:
    """An absent folder is one line with the next step."""
    with pytest.raises(DamagedError, match="dvc repro extractor"):
        load_extractor(tmp_path)


def test_images_of_another_size_are_refused(extractor: Extractor) -> None:
    """Nothing is resized silently."""
    with pytest.raises(UsageError, match="wanted uint8"):
        extractor.features(np.zeros((2, 3, 32, 32), np.uint8))


def test_too_few_images_are_refused(draw: Draw, tmp_path: Path) -> None:
    """Nine images are too few to hold one out."""
    with pytest.raises(SourceError, match="at least 10"):
        train_extractor(draw(9, CLASSES), tmp_path, 1)
