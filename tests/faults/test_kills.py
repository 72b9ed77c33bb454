"""Trainings that are killed without warning, again and again: each ends as if it never happened."""

import random
import signal
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from gan.bundle import open_bundle
from gan.durable import read_sealed, write_json
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.identity import run_folder
from gan.training.stats import STATS, read_stats
from tests.faults.conftest import Server
from tests.faults.seam import KILLED
from tests.gan.training.conftest import write_data

# 20 steps, each with a checkpoint; a measurement every second step.
_RECIPE = {
    "data": {"source": "files", "path": "images", "resolution": 16},
    "train": {
        "budget": {"kimg": 0.16},
        "batch_size": 8,
        "ema_kimg": 0.05,
        "device": "cpu",
        "precision": "float32",
    },
}


def _workspace(root: Path) -> Layout:
    """Return a workspace whose data are prepared."""
    root.mkdir()
    layout = Layout(root)
    write_json(layout.params, {"recipes": {"tiny": _RECIPE}})  # JSON is YAML
    write_json(layout.pin("tiny"), {"bundle": None})
    write_data(layout.train_data("tiny"))
    return layout


@dataclass(frozen=True)
class Outcome:
    """What must not depend on kills."""

    bundle: str
    state: str  # digest of every tensor of the last checkpoint: weights and moments, float32
    shown: tuple[int, ...]  # nimg of each row of figures


def _outcome(layout: Layout) -> Outcome:
    folder = run_folder(layout, load_recipe(layout.params, "tiny"))
    payload = read_sealed(max(folder.glob("checkpoint-*.ckpt")))
    tensors = payload[8 + int.from_bytes(payload[:8], "little") :]
    rows = read_stats(folder / STATS)
    assert not list(folder.glob(".*.partial"))
    return Outcome(
        bundle=open_bundle(layout.bundle("tiny")).digest,
        state=sha256(tensors).hexdigest(),
        shown=tuple(row["nimg"] for row in rows if "event" not in row),
    )


def _said(layout: Layout) -> str:
    return Path(f"{layout.root}.said").read_text()


@dataclass(frozen=True)
class Calm:
    """A training that nobody disturbed."""

    outcome: Outcome
    seconds: float


@pytest.fixture(scope="module")
def calm(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """Return how the training ends, and how long it takes."""
    layout = _workspace(tmp_path_factory.mktemp("calm") / "w")
    ended = server.run("training", layout.root)
    assert ended.status == 0, _said(layout)
    return Calm(_outcome(layout), ended.seconds)


def _killed_until_done(layout: Layout, calm: Calm, server: Server, moments: random.Random) -> int:
    """Start the training again and again, each time with a kill on the way; return the kills."""
    kills = 0
    while True:
        # Up to half of its work, so that most trainings are killed more than once.
        after = moments.uniform(0, calm.seconds / 2)
        ended = server.run("training", layout.root, kill_after=after)
        if ended.status == 0:
            return kills
        assert ended.status == -signal.SIGKILL, _said(layout)
        kills += 1


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("wanted", [5, pytest.param(200, marks=pytest.mark.faults)])
def test_killed_at_any_moment_every_training_ends_with_the_same_bits(
    tmp_path: Path, calm: Calm, server: Server, wanted: int
) -> None:
    """After SIGKILL at random moments, the same command ends with the bits of an undisturbed run.

    Weights, averages and moments in float32, the packed bundle, and the rows of figures: no image
    is counted twice, no checkpoint is lost, nothing of a killed writer stays.
    """
    moments = random.Random(wanted)  # noqa: S311  # moments, not secrets
    kills = trainings = 0
    while kills < wanted:
        layout = _workspace(tmp_path / str(trainings))
        kills += _killed_until_done(layout, calm, server, moments)
        trainings += 1

        assert _outcome(layout) == calm.outcome, f"after {kills} kills, training {trainings}"
    print(f"{kills} kills in {trainings} trainings")


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_dying_at_any_change_of_the_disk_ends_with_the_same_bits(
    tmp_path: Path, calm: Calm, server: Server
) -> None:
    """A training that dies at its first change of the disk, then at its fourth, and so on, ends.

    What is resumed each time is what the one before left, so every kind of remains is met.
    """
    layout = _workspace(tmp_path / "w")
    deaths = 0
    while (ended := server.run("training", layout.root, die_at=3 * deaths + 1)).status:
        assert ended.status == KILLED, _said(layout)
        deaths += 1

    assert deaths > 30
    assert _outcome(layout) == calm.outcome
