"""What a training is watched by, on generators whose figures are known beforehand."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan.errors import DivergedError, GanmillError, SourceError, UsageError
from gan.image.dataset import Dataset
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import Extractor, load_extractor
from gan.metrics.tracking import SAMPLES, Tracker, open_tracker
from gan.modality import modality
from gan.split import split

Z_DIM = 8
Draw = Callable[..., Dataset]
FIGURES = {
    "fd", "diversity", "worst_diversity", "coverage", "worst_coverage", "class_accuracy",
    "rank", "samples",
}  # fmt: skip


class Replay(nn.Module):
    """A generator that draws from the real images of the class; of a dead class always one."""

    def __init__(self, data: Dataset, dead: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.reals = nn.Parameter(modality("image").from_uint8(torch.from_numpy(data.images)))
        self.rows = [np.flatnonzero(data.labels == n) for n in range(len(data.classes))]
        self.dead = dead

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return a real image for each z [N, z_dim] and c [N]."""
        chances = torch.special.ndtr(z[:, 0]).tolist()  # uniform, of a normal latent
        chosen = [
            self.rows[k][0 if k in self.dead else int(chance * len(self.rows[k]))]
            for chance, k in zip(chances, c.tolist(), strict=True)
        ]
        return self.reals[torch.tensor(np.array(chosen))]


class Normalised(nn.Module):
    """A generator with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(Z_DIM, 3 * 16 * 16), nn.BatchNorm1d(3 * 16 * 16)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return images [N, 3, 16, 16], whatever the class."""
        images: Tensor = self.norm(self.linear(z)).tanh()
        return images.view(len(c), 3, 16, 16)


@pytest.fixture(scope="module")
def tracker(extractor: Extractor, data: Dataset) -> Tracker:
    """Return a tracker of the small world."""
    return open_tracker(extractor, data, 1, Z_DIM)


def test_a_perfect_generator_has_the_figures_of_the_reals(tracker: Tracker, data: Dataset) -> None:
    """Real images played back: no distance to speak of, full diversity, full coverage."""
    torch.manual_seed(1)
    found, poor = tracker.measure(Replay(data)), tracker.measure(Normalised())

    assert set(found) == FIGURES
    assert found["samples"] == SAMPLES
    assert found["fd"] < 0.01 * poor["fd"]
    assert found["diversity"] == pytest.approx(1, abs=0.03)
    assert found["worst_diversity"] == pytest.approx(1, abs=0.06)
    assert found["rank"] == pytest.approx(1, abs=0.03)
    assert found["coverage"] > 0.95
    assert found["worst_coverage"] > 0.9
    assert found["class_accuracy"] > 0.8


def test_a_constant_generator_has_no_diversity(tracker: Tracker, data: Dataset) -> None:
    """One image for every seed of a class: collapsed, and every figure but accuracy says so."""
    found = tracker.measure(Replay(data, dead=(0, 1, 2)))

    assert found["diversity"] == found["worst_diversity"] == 0
    assert found["coverage"] < 0.2
    assert found["rank"] < 0.5


def test_a_dead_class_is_seen_in_the_worst_class(tracker: Tracker, data: Dataset) -> None:
    """One class of three collapses: its own figures fall to the ground, the others stay."""
    whole, found = tracker.measure(Replay(data)), tracker.measure(Replay(data, dead=(1,)))

    assert found["worst_diversity"] == 0
    assert found["worst_coverage"] < 0.2
    assert 3 * (whole["diversity"] - found["diversity"]) == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(
        (2 * whole["coverage"] + found["worst_coverage"]) / 3, abs=0.03
    )


def test_the_same_weights_give_the_same_figures(
    tracker: Tracker, extractor: Extractor, data: Dataset
) -> None:
    """Time, an earlier measurement and torch's own randomness change nothing; the seed does."""
    first = tracker.measure(Replay(data))
    torch.manual_seed(7)
    tracker.measure(Normalised())

    assert tracker.measure(Replay(data), "cpu") == first
    assert open_tracker(extractor, data, 1, Z_DIM).measure(Replay(data)) == first
    assert open_tracker(extractor, data, 2, Z_DIM).measure(Replay(data)) != first


def test_the_network_is_left_as_it_was(tracker: Tracker) -> None:
    """Running statistics do not move, and each part is back in the mode it was in."""
    network = Normalised().train()
    network.linear.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tracker.measure(network)

    assert network.norm.training
    assert not network.linear.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_held_out_images_are_never_read(extractor: Extractor, data: Dataset, draw: Draw) -> None:
    """The reals are of the training part alone, and every class has its share of them."""
    large = draw(3000, data.classes)
    tracker = open_tracker(extractor, large, 1, Z_DIM)
    trained, held_out = split(len(large), large.digest)
    shares = np.bincount(large.labels[trained]) / len(trained)

    assert len(held_out) == 64
    assert len(np.unique(tracker._chosen)) == 2000
    assert not set(tracker._chosen) & set(held_out)
    np.testing.assert_allclose(np.bincount(large.labels[tracker._chosen]), 2000 * shares, atol=1)
    np.testing.assert_allclose(np.bincount(tracker._classes), SAMPLES * shares, atol=1)


def test_a_rare_class_does_not_count(extractor: Extractor, data: Dataset) -> None:
    """Six images of a class are too few to say that it collapsed."""
    few = np.r_[:160, 160:166]
    uneven = dataclasses.replace(data, images=data.images[few], labels=data.labels[few])
    tracker = open_tracker(extractor, uneven, 1, Z_DIM)
    found = tracker.measure(Replay(uneven, dead=(2,)))

    assert len(tracker._real.groups) == 2
    assert found["worst_diversity"] > 0.9


def test_many_small_classes_are_taken_together(draw: Draw, tmp_path: Path) -> None:
    """Where no class has enough images, the whole set stands for one."""
    many = draw(240, [f"class {n:02}" for n in range(60)])
    train_extractor(many, tmp_path, 1, images_shown=1280)
    tracker = open_tracker(load_extractor(tmp_path), many, 1, Z_DIM)
    found = tracker.measure(Replay(many))

    assert found["diversity"] == found["worst_diversity"] == pytest.approx(1, abs=0.03)
    assert found["coverage"] == found["worst_coverage"] > 0.9
    assert len(tracker._real.groups) == 1


def test_an_extractor_of_rotations_tells_no_accuracy(draw: Draw, tmp_path: Path) -> None:
    """What cannot be known is absent, also in grey."""
    single = draw(60, ["all"], channels=1)
    train_extractor(single, tmp_path, 1, images_shown=256)
    found = open_tracker(load_extractor(tmp_path), single, 1, Z_DIM).measure(Replay(single))

    assert set(found) == FIGURES - {"class_accuracy"}


def test_an_image_that_is_not_finite_is_refused(tracker: Tracker) -> None:
    """Broken weights end in an error, not in a figure; the network's modes are put back."""
    network = Normalised()
    with torch.no_grad():
        network.linear.weight.fill_(torch.nan)

    with pytest.raises(DivergedError, match="not finite"):
        tracker.measure(network)
    assert network.norm.training


def test_other_classes_cost_the_accuracy_alone(
    extractor: Extractor, data: Dataset, draw: Draw
) -> None:
    """A pinned extractor goes on measuring when a class comes or goes."""
    fewer = draw(120, data.classes[:2])
    found = open_tracker(extractor, fewer, 1, Z_DIM).measure(Replay(fewer))

    assert set(found) == FIGURES - {"class_accuracy"}
    assert found["coverage"] > 0.9


def test_data_that_do_not_fit_are_refused(extractor: Extractor, data: Dataset, draw: Draw) -> None:
    """Another shape, too few images, all alike: one line each."""
    grey = draw(60, data.classes, channels=1)
    alike = dataclasses.replace(data, images=np.full_like(data.images, 9))

    with pytest.raises(UsageError, match="16 px images with 3 channels"):
        open_tracker(extractor, grey, 1, Z_DIM)
    with pytest.raises(SourceError, match="5 images; at least 6"):
        open_tracker(extractor, draw(5, data.classes), 1, Z_DIM)
    with pytest.raises(GanmillError, match="all alike"):
        open_tracker(extractor, alike, 1, Z_DIM).measure(Replay(alike))
