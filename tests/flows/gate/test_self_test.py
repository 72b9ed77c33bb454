"""The gate's self-test: it says no to what is planted, and tells when a gate cannot."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flows.gate.decision import decide
from flows.gate.gathering import Contenders, Parts, weigh
from flows.gate.plants import Copier, broken_workspace, worsened
from flows.gate.reports import meter
from flows.gate.self_test import try_out
from gan.bundle import Bundle, latents, open_bundle
from gan.durable import verify_sums
from gan.errors import DamagedError
from gan.image.dataset import open_dataset
from gan.inference import generate
from gan.metrics.report import evaluate
from gan.modality import modality
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import EvaluateSpec, GateSpec
from gan.split import split
from tests.flows import worlds
from tests.flows.patterns import CLASSES, LAX, furnish, recipe_of
from tests.gan.bundles import pack_untrained

NAME = "patterns"
STRICT = GateSpec(max_fd_share=0.3, margin=0.1)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with 700 images, of which 64 are held out, and an extractor."""
    layout = Layout(tmp_path_factory.mktemp("patterns"))
    furnish(layout, NAME)
    return layout


@pytest.fixture(scope="module")
def model(layout: Layout) -> Bundle:
    """Return a model of two classes."""
    return pack_untrained(layout.root / "model", CLASSES, recipe=NAME)


def _recipe(gate: GateSpec, samples: int = 800) -> Recipe:
    spec = EvaluateSpec(samples=samples)
    return recipe_of(NAME, gate).model_copy(update={"evaluate": spec})


def _files(layout: Layout) -> set[Path]:
    return {path for path in layout.root.rglob("*") if path.is_file()}


def test_the_gate_says_no_to_each_plant(layout: Layout, model: Bundle) -> None:
    """Worse and copying models fail, a broken evaluator is unknown; nothing is left behind."""
    before = _files(layout)
    trials = try_out(layout, _recipe(STRICT), model)

    assert [(trial.name, trial.found) for trial in trials] == [
        ("a worse model", "fail"),
        ("a broken evaluator", "unknown"),
        ("a copying model", "fail"),
    ]
    assert all(trial.expected == trial.found for trial in trials)
    assert trials[0].says.startswith("fail: fd_share")
    assert "extractor.safetensors: SHA-256 is" in trials[1].says
    assert trials[2].says.startswith("fail: it copies training images")
    assert _files(layout) == before


def test_a_gate_that_lets_all_through_is_told(model: Bundle, tmp_path: Path) -> None:
    """Limits that stop nothing are found out; copies cannot be seen where none is held out."""
    small = Layout(tmp_path)
    furnish(small, NAME, count=200)
    worse, broken, copying = try_out(small, _recipe(LAX, samples=200), model)

    assert (worse.expected, worse.found) == ("fail", "unknown")
    assert broken.found == "unknown"
    assert (copying.expected, copying.found) == ("unknown", "unknown")
    assert "add images or set gate.memorisation: false" in copying.says


def test_the_copier_draws_what_was_trained_on(layout: Layout, model: Bundle) -> None:
    """Each image is a training image of the class asked for, a shade off, and none held out."""
    data = open_dataset(layout.train_data(NAME))
    copier = Copier.of(model, data)
    c = torch.arange(60) % len(CLASSES)
    z = latents(1, "test", count=60, z_dim=model.card.z_dim)
    made = generate(modality("image"), copier.generator(), z, c).astype(int)
    trained, _ = split(len(data), data.digest)
    known = data.images[trained].astype(int)
    apart = np.stack([np.abs(known - image).mean(axis=(1, 2, 3)) for image in made])
    nearest = apart.argmin(axis=1)

    assert apart.min(axis=1).max() <= 6
    assert (data.labels[trained][nearest] == c.numpy()).all()
    assert len(set(nearest.tolist())) > 40


def test_the_plants_are_what_they_are_called(layout: Layout, model: Bundle, tmp_path: Path) -> None:
    """The worse model is a whole bundle of other weights; of the evaluator one byte is off."""
    worse = worsened(model, tmp_path / "worse")
    assert open_bundle(worse.folder).digest == worse.digest != model.digest
    assert worsened(model, tmp_path / "again").digest == worse.digest
    broken = broken_workspace(layout, NAME, tmp_path / "broken")
    ours, theirs = (
        (each.extractor(NAME) / "extractor.safetensors").read_bytes() for each in (layout, broken)
    )

    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) == 1
    with pytest.raises(DamagedError, match="SHA-256"):
        verify_sums(broken.extractor(NAME))
    assert verify_sums(broken.train_data(NAME)) == verify_sums(layout.train_data(NAME))


@pytest.mark.slow
def test_the_shipped_gate_on_drawn_stickers(tmp_path: Path) -> None:
    """With the shipped model and limits the plants are refused, and the model itself is not."""
    layout, recipe = Layout(tmp_path), worlds.recipe_of("stickers", max_fd_share=0.3)
    worlds.furnish(layout, "stickers")
    recipe = recipe.model_copy(update={"evaluate": EvaluateSpec(samples=2000)})
    shipped = open_bundle(worlds.SHIPPED)
    trials = try_out(layout, recipe, shipped)
    measuring = meter(layout, recipe)
    report = evaluate(shipped, measuring, tmp_path / "report").document
    itself = Contenders(shipped.digest, shipped.digest, shipped, shipped)
    found = weigh(Parts(), "stickers", itself, measuring, report, (None, None))
    reasons = decide(found, recipe.gate).reasons

    assert [trial.found for trial in trials] == ["fail", "unknown", "fail"]
    assert [reason for reason in reasons if not reason.startswith("pass: ")] == [
        "unknown: it was not tried in a clean process."
    ]
