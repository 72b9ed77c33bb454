"""Faults planted into real trainings: each guard answers, and what it does is told and kept."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan.bundle import Bundle, pack
from gan.errors import DivergedError
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.checkpoint import save_checkpoint
from gan.training.guards import StopRequest
from gan.training.identity import begin, run_folder
from gan.training.loop import train
from gan.training.session import fresh_state, open_session
from gan.training.stats import STATS, read_stats
from gan.training.team import Team

Workspace = Callable[..., Layout]
HEALTHY = {"fd": 5.0, "diversity": 0.9, "coverage": 0.8, "rank": 0.9}
# Small and gentle: a thousand steps take seconds, and nothing but what is planted goes wrong.
GENTLE = {"preset": "dense32", "batch_size": 4, "lr": 1e-4, "decay": True, "augment": 0.1}
GENTLE |= {"loss": "relativistic", "gamma": 10.0}
COLLAPSED = {"fd": 50.0, "diversity": 0.02, "coverage": 0.01, "rank": 0.05}


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


def _train(layout: Layout, **options: Any) -> Bundle:
    with StopRequest() as stop:
        return train(layout, load_recipe(layout.params, "tiny"), stop, **options)


def _folder(layout: Layout) -> Path:
    return run_folder(layout, load_recipe(layout.params, "tiny"))


def _events(layout: Layout, kind: str) -> list[dict[str, Any]]:
    return [row for row in read_stats(_folder(layout) / STATS) if row.get("event") == kind]


def _spoil(layout: Layout) -> None:
    """Leave a checkpoint whose critic holds a NaN, as a broken device might."""
    recipe = load_recipe(layout.params, "tiny")
    session = open_session(layout, recipe, begin(layout, recipe), Team())
    state = fresh_state(session)
    with torch.no_grad():
        next(state.networks["D"].parameters()).view(-1)[0] = math.nan
    state.nimg = 8
    save_checkpoint(_folder(layout), state)


def test_weights_that_are_not_finite_are_left_behind(workspace: Workspace) -> None:
    """A NaN is noticed at the next tick, no step is taken on it, and the training starts over.

    The roll-back changes something, is told, and the bundle is as sound as any.
    """
    layout = workspace(kimg=0.4)
    _spoil(layout)
    bundle = _train(layout)

    (back,) = _events(layout, "rollback")
    assert back["guard"] == "nonfinite"
    assert "Back to 0.0 kimg, roll-back 1 of 3 with lr x 0.7, gamma x 2" in back["message"]
    assert bundle.card.rollbacks == 1
    assert bundle.card.status == "healthy"


def test_without_anything_healthy_it_ends_with_an_error(workspace: Workspace) -> None:
    """When roll-backs are used up and nothing healthy was ever saved, nothing is packed."""
    layout = workspace(kimg=0.4, max_rollbacks=0)
    _spoil(layout)

    with pytest.raises(DivergedError, match=r"nonfinite: .*nothing healthy.*Lower train\.lr"):
        _train(layout)
    assert not layout.bundle("tiny").exists()


def _collapsing(after: int, until: int = 10**9) -> Callable[[nn.Module], dict[str, float]]:
    """Return what measures `after` healthy averages, then collapsed ones up to number `until`."""
    calls = iter(range(10**9))

    def measure(average: nn.Module) -> dict[str, float]:
        assert not average.training
        number = next(calls)
        fails = after <= number < until
        return dict(COLLAPSED) if fails else {**HEALTHY, "fd": 5.0 - number / 100}

    return measure


def test_a_collapse_goes_back_and_changes_something(workspace: Workspace) -> None:
    """A collapse that lasts is answered by the last healthy checkpoint, not by the newest one."""
    layout = workspace(kimg=3.2, **GENTLE)
    bundle = _train(layout, measure=_collapsing(after=7, until=9))

    (back,) = _events(layout, "rollback")
    assert back["guard"] in {"collapse", "distance"}
    kimg = float(back["message"].split("Back to ")[1].split(" kimg")[0])
    assert 0 < kimg * 1000 < back["nimg"]
    assert bundle.card.rollbacks == 1
    rows = read_stats(_folder(layout) / STATS)
    assert {row["attempt"] for row in rows} == {0, 1}
    assert rows[-1]["gamma"] == pytest.approx(2 * 10.0 / 10)  # the final tenth, doubled
    assert bundle.card.kimg == 3.2


@pytest.mark.faults
def test_a_collapse_that_stays_ends_as_degraded(workspace: Workspace) -> None:
    """After the last roll-back the best healthy weights are packed, and the card says so."""
    layout = workspace(kimg=3.2, max_rollbacks=1, **GENTLE)
    bundle = _train(layout, measure=_collapsing(after=7))

    assert len(_events(layout, "rollback")) == 1
    (stop,) = _events(layout, "stop")
    assert stop["message"].endswith("packed as degraded")
    assert (_folder(layout) / "training.gif").exists()
    assert bundle.card.status == "degraded"
    assert bundle.card.kimg < 3.2


@pytest.mark.faults
def test_a_roll_back_is_the_same_after_a_kill(workspace: Workspace) -> None:
    """Resumed from before the alarm, the training rolls back the same way to the same bytes."""
    whole, cut = workspace("whole", kimg=0.4), workspace("cut", kimg=0.4)
    for layout in (whole, cut):
        _spoil(layout)
    first = _train(whole)
    shutil.copytree(_folder(whole), _folder(cut), dirs_exist_ok=True)
    for path in _folder(cut).glob("checkpoint-*.ckpt"):
        path.unlink()
    _spoil(cut)

    assert _train(cut).digest == first.digest


def test_patience_ends_a_training_that_no_longer_improves(workspace: Workspace) -> None:
    """Without a new best for so many measurements it stops, and packs the best, not the last."""
    layout = workspace(budget={"kimg": 1.6, "patience": 2})
    distances = iter([9.0, 5.0, 6.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    bundle = _train(layout, measure=lambda _: {**HEALTHY, "fd": next(distances)})

    assert bundle.card.kimg == pytest.approx(0.32)  # the second of ten measurements
    assert next(distances) == 1.0  # the fifth was never taken


def test_what_measured_best_is_packed(workspace: Workspace) -> None:
    """A training that went past its best packs that and says so; asked again, it does it again."""
    layout = workspace(kimg=0.8)
    distances = iter([9.0, 5.0, 3.0, *([4.0] * 7)])
    bundle = _train(layout, measure=lambda _: {**HEALTHY, "fd": next(distances)})

    assert bundle.card.kimg == pytest.approx(0.24)
    (said,) = _events(layout, "best")
    assert said["message"] == ("packing the average of 0.2 kimg, which measured best (fd 3.00)")
    shutil.rmtree(layout.bundle("tiny"))
    assert _train(layout).digest == bundle.digest
    assert len(_events(layout, "best")) == 1


def test_gamma_is_chosen_from_the_data_and_told(workspace: Workspace) -> None:
    """`gamma: auto` looks at the first 100 steps; the choice is an event and is in the card."""
    layout = workspace(kimg=0.8, batch_size=4, gamma="auto")
    bundle = _train(layout)

    (chosen,) = _events(layout, "gamma")
    assert chosen["nimg"] == 400
    assert "chosen from the data" in chosen["message"]
    assert bundle.card.gamma == chosen["gamma"]
    assert 1e-3 <= chosen["gamma"] <= 200


@pytest.mark.parametrize(
    ("chosen", "train", "wanted"), [(0.5, {"gamma": "auto"}, 0.5), (None, {"gamma": 3.0}, 3.0)]
)
def test_gamma_is_handed_on(
    workspace: Workspace,
    pack_bundle: Callable[..., Bundle],
    chosen: float | None,
    train: dict[str, Any],
    wanted: float,
) -> None:
    """From a champion, `gamma: auto` goes on with the champion's: no choice drifts over nights."""
    layout = workspace()
    made = pack_bundle(layout.root / "champion")
    of_champion = {"classes": ["dark", "light"], "gamma": chosen, "train": train}
    card = made.card.model_copy(update=of_champion)
    champion = pack(made.folder, made.generator(), made.critic(), card)
    shutil.copytree(champion.folder, layout.bundle_store / champion.digest)
    layout = workspace(pin=champion.digest, kimg=0.048, gamma="auto")
    bundle = _train(layout)

    (told,) = _events(layout, "gamma")
    assert (told["nimg"], told["gamma"], bundle.card.gamma) == (0, wanted, wanted)
    assert read_stats(_folder(layout) / STATS)[-1]["gamma"] == pytest.approx(wanted / 10)


def test_minutes_end_a_training_too(workspace: Workspace) -> None:
    """Whichever comes first: a budget in minutes ends a training that has images left."""
    layout = workspace(budget={"kimg": 1000.0, "minutes": 0.02})
    bundle = _train(layout)

    assert 0 < bundle.card.kimg < 1000
    assert bundle.card.status == "healthy"
