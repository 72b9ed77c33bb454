"""How a step is laid on the device."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan import hardware
from gan.durable import read_json, write_json
from gan.errors import GanmillError
from gan.recipe import load_recipe
from gan.sections import ModelSpec
from gan.training.feed import Feed
from gan.training.fit import FIT, Fit, choose_fit, difference, possible_parts, settle_fit
from gan.training.recovery import too_large
from gan.training.session import Session, open_session
from gan.training.team import Team
from gan.training.trial import BEFORE, try_out
from tests.gan.training.conftest import make_workspace

BATCH = 32


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Return an open training, batch 32."""
    layout = make_workspace(tmp_path_factory.mktemp("fit"), batch_size=BATCH)
    recipe = load_recipe(layout.params, "tiny")
    return open_session(layout, recipe, layout.run("tiny") / "fit", Team())


@pytest.fixture
def session(opened: Session, tmp_path: Path) -> Session:
    """Return it with an empty folder."""
    return replace(opened, folder=tmp_path)


def _feed(session: Session) -> Feed:
    spec = session.recipe.train
    feed = Feed(session.data, session.train, session.room, spec, session.z_dim)
    feed.place(session.hardware.device, Team())
    return feed


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that describes a container: write `memory.max` to limit it."""
    folder = tmp_path / "container"
    folder.mkdir()
    (folder / "memory.current").write_text("0\n")
    (folder / "memory.stat").write_text("anon 5\ninactive_file 0\n")
    monkeypatch.setattr(hardware, "_CONTAINER", folder)
    return folder


def test_parts_are_multiples_of_four_and_ever_smaller() -> None:
    """Every part holds whole quarters, so each has its share of the penalised pairs."""
    assert list(possible_parts(64)) == [1, 2, 4, 8, 16]
    assert list(possible_parts(12)) == [1, 3]
    assert list(possible_parts(4)) == [1]
    for images in range(4, 200, 4):
        assert all(images % (4 * parts) == 0 for parts in possible_parts(images))


def test_a_step_that_fits_stays_whole(session: Session) -> None:
    """With memory to spare a processor takes the batch in one, and nothing is captured."""
    fit = settle_fit(session, _feed(session))

    assert fit == Fit("cpu", 1, 1, captures=False, because="no GPU")
    assert Fit(**read_json(session.folder / FIT)) == fit


def test_too_little_memory_cuts_the_step(session: Session, container: Path) -> None:
    """In a container too small for the batch, a step is taken in parts, the fewest that fit."""
    parts = []
    for limit in (60e6, 40e6, 25e6, 18e6):
        (container / "memory.max").write_text(f"{limit:.0f}\n")
        parts.append(choose_fit(session, _feed(session)).parts)

    assert parts == [1, 2, 4, 8]


def test_memory_for_no_step_is_told(session: Session, container: Path) -> None:
    """The message says what is needed, what is free, and what to change, before any step."""
    (container / "memory.max").write_text("1000000\n")

    with pytest.raises(
        GanmillError, match=r"4 images of 16 px .* GB; 0\.0009 GB are free .* smaller model\.preset"
    ):
        choose_fit(session, _feed(session))


def test_a_network_that_normalises_by_its_batch_is_not_cut(
    session: Session, container: Path
) -> None:
    """conv28 in parts would be another training, so too little memory is an error."""
    recipe = session.recipe.model_copy(update={"model": ModelSpec(preset="conv28")})
    (container / "memory.max").write_text("16000000\n")

    with pytest.raises(GanmillError, match="conv28 normalises by the batch"):
        choose_fit(replace(session, recipe=recipe, z_dim=100), _feed(session))


def test_the_choice_is_kept(session: Session, container: Path) -> None:
    """Who resumes with less memory takes the same parts: the bits of a training stay its own."""
    first = settle_fit(session, _feed(session))
    (container / "memory.max").write_text("1000000\n")

    assert settle_fit(session, _feed(session)) == first


def test_another_device_is_chosen_for_anew(session: Session) -> None:
    """What was measured on one GPU says nothing of another, nor of fewer processes."""
    other = {"device": "GPU of yesterday", "processes": 1, "parts": 8}
    write_json(session.folder / FIT, {**other, "captures": True, "because": "so it was"})

    assert settle_fit(session, _feed(session)).parts == 1
    assert read_json(session.folder / FIT)["device"] == "cpu"


def test_a_trial_leaves_nothing(session: Session) -> None:
    """Steps are taken on a copy: no file appears, and the figures are of this machine."""
    trial = try_out(session, _feed(session), parts=1, seconds=0.0)

    assert not list(session.folder.iterdir())
    assert (trial.images, trial.watts, trial.failure) == (BATCH, None, None)
    assert trial.images_per_second == BATCH / trial.seconds > 0
    assert trial.peak_bytes > 10_000_000
    assert 0 < trial.processors < 64


def test_parts_take_the_same_steps(session: Session) -> None:
    """After five steps the weights agree to float rounding, in one part and in four.

    Another training is far away by the same measure.
    """
    feed = _feed(session)
    whole, cut = (try_out(session, feed, parts=parts, seconds=0.0) for parts in (1, 4))
    feed.restart(1)
    other = try_out(session, feed, parts=1, seconds=0.0)

    assert BEFORE == 5
    assert difference(session, whole, whole) == 0.0
    assert difference(session, whole, cut) < 0.01 < difference(session, whole, other)


def test_out_of_memory_in_mid_training_says_how_to_go_on(session: Session) -> None:
    """Nothing shrinks unnoticed: the message has the step, the device, and three ways out."""
    said = too_large(session)

    assert said.startswith("train tiny: out of memory with 32 images of 16 px a step on cpu, ")
    assert "run the same command: it goes on from the last checkpoint" in said
    assert str(session.folder / FIT) in said
    assert "\n" not in said
