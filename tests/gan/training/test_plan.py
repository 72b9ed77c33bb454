"""How many images a training plans, and which of two ends it comes to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.bundle import Bundle
from gan.durable import read_json
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from gan.sections import BudgetSpec
from gan.training.feed import Feed
from gan.training.fit import choose_fit
from gan.training.guards import StopRequest
from gan.training.identity import run_folder
from gan.training.loop import train
from gan.training.plan import PLAN, images_of, planned_images
from gan.training.session import open_session
from gan.training.stats import STATS, read_stats
from gan.training.team import Team
from tests.gan.training.conftest import make_workspace


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a workspace that each test gives another recipe and seed."""
    return tmp_path_factory.mktemp("plan")


def _given(root: Path, seed: int, **budget: float) -> tuple[Layout, Recipe]:
    """Return the workspace with another budget; another seed is another training."""
    layout = make_workspace(root, seed=seed, budget=budget)
    return layout, load_recipe(layout.params, "tiny")


def _train(layout: Layout, recipe: Recipe) -> Bundle:
    with StopRequest() as stop:
        return train(layout, recipe, stop)


def _rows(layout: Layout, recipe: Recipe) -> list[dict[str, Any]]:
    return read_stats(run_folder(layout, recipe) / STATS)


def test_kimg_are_what_they_say() -> None:
    """Thousands of images, whatever the speed and beside whichever minutes."""
    assert images_of(BudgetSpec(kimg=0.5), 7.0) == 500
    assert images_of(BudgetSpec(kimg=0.5, minutes=9.0), 7.0) == 500


def test_minutes_are_images_at_a_speed() -> None:
    """Two minutes at 100 images a second are 12,000; the shortest plan has an image."""
    assert images_of(BudgetSpec(minutes=2.0), 100.0) == 12_000
    assert images_of(BudgetSpec(minutes=1e-6), 1.0) == 1


def test_a_measured_plan_is_kept(root: Path) -> None:
    """Minutes alone are planned by a speed that is measured once: a resumed training has it too.

    Twice the minutes are twice the images.
    """
    layout, recipe = _given(root, seed=2, minutes=1.0)
    session = open_session(layout, recipe, run_folder(layout, recipe), Team())
    feed = Feed(session.data, session.train, session.room, recipe.train, session.z_dim)
    feed.place(session.hardware.device, Team())
    planned = planned_images(session, feed, choose_fit(session, feed))
    _, longer = _given(root, seed=2, minutes=2.0)
    again = open_session(layout, longer, run_folder(layout, longer), Team())

    assert again.folder == session.folder
    assert planned == round(60 * read_json(session.folder / PLAN)["images_per_second"])
    assert abs(planned_images(again, feed, choose_fit(again, feed)) - 2 * planned) <= 1


def test_minutes_alone_end_a_training(root: Path) -> None:
    """It ends within its time or at its planned images; the same command then only packs."""
    layout, recipe = _given(root, seed=3, minutes=0.01)
    first = _train(layout, recipe)
    rows = _rows(layout, recipe)

    assert first.card.kimg > 0
    assert rows[-1]["share"] == 1.0
    assert _train(layout, recipe).digest == first.digest
    assert _rows(layout, recipe) == rows


@pytest.mark.parametrize(
    ("seed", "budget", "ends_by_images"),
    [(4, {"kimg": 0.016, "minutes": 90.0}, True), (5, {"kimg": 900.0, "minutes": 0.004}, False)],
)
def test_the_first_of_two_ends_counts(
    root: Path, seed: int, budget: dict[str, float], *, ends_by_images: bool
) -> None:
    """With images and minutes given, a training ends at whichever comes first."""
    layout, recipe = _given(root, seed=seed, **budget)
    card, last = _train(layout, recipe).card, _rows(layout, recipe)[-1]

    assert (card.kimg == budget["kimg"]) is ends_by_images
    assert (last["seconds"] >= 60 * budget["minutes"]) is not ends_by_images
    assert last["share"] == 1.0
    assert not (run_folder(layout, recipe) / PLAN).exists()


def test_a_longer_budget_goes_on_and_a_shorter_one_packs(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An ended training with more kimg goes on from its last checkpoint, no image shown twice.

    With fewer than it has shown, it packs what there is, at once.
    """
    layout, short = _given(root, seed=6, kimg=0.024)
    _train(layout, short)
    shown = [row["nimg"] for row in _rows(layout, short)]
    layout, long = _given(root, seed=6, kimg=0.048)
    longer = _train(layout, long)
    rows = [row["nimg"] for row in _rows(layout, long)]

    assert "resuming at 0.0 kimg" in capsys.readouterr().err
    assert run_folder(layout, long) == run_folder(layout, short)
    assert rows[: len(shown)] == shown
    assert rows == sorted(set(rows))
    assert longer.card.kimg == 0.048
    layout, short = _given(root, seed=6, kimg=0.024)
    assert _train(layout, short).card.kimg == 0.048
    assert [row["nimg"] for row in _rows(layout, short)] == rows
