"""Training and opening the domain extractor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gan.durable import SUMS, sha256, write_sums
from gan.errors import DamagedError, SourceError, UsageError
from gan.image.dataset import Dataset
from gan.image.networks.features import FeatureNetwork
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import Extractor, load_extractor

CLASSES = ["bars", "checks", "dots"]
Draw = Callable[..., Dataset]


def test_it_learns_the_classes(extractor: Extractor, data: Dataset) -> None:
    """The held-out accuracy is in the card and far above guessing."""
    assert extractor.card.task == "classes"
    assert extractor.card.held_out == len(data) // 10
    assert extractor.card.accuracy > 0.8
    assert extractor.card.data_digest == data.digest


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

    assert extractor.card.task == "rotation"
    assert not extractor.knows_classes
    assert extractor.features(single.images[:3]).shape == (3, 128)


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
