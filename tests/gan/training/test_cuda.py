"""The engine on a CUDA device; `make gpu` runs these where there is one."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.durable import write_json
from gan.errors import GanmillError, PreemptedError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from gan.sections import ModelSpec
from gan.training.capture import WARM_UP, Captured
from gan.training.feed import Feed
from gan.training.fit import FIT, choose_fit, device_name, difference, settle_fit
from gan.training.forecast import forecast
from gan.training.guards import StopRequest
from gan.training.identity import run_folder
from gan.training.loop import Training, train
from gan.training.session import Session, build_stepper, fresh_state, open_session
from gan.training.step import Dials
from gan.training.team import Team
from gan.training.trial import Trial, release, try_out
from gan.training.watch import remedy
from tests.gan.training.conftest import make_workspace

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.set_per_process_memory_fraction(1.0)
    release(GPU)


def _workspace(root: Path, **train: Any) -> tuple[Layout, Recipe]:
    layout = make_workspace(root, **{"device": "cuda", "batch_size": 16, **train})
    return layout, load_recipe(layout.params, "tiny")


def _session(root: Path, preset: str = "tiny", **train: Any) -> tuple[Session, Feed]:
    layout, recipe = _workspace(root, **train)
    recipe = recipe.model_copy(update={"model": ModelSpec(preset=preset)})  # type: ignore[arg-type]
    folder = run_folder(layout, recipe)
    session = open_session(layout, recipe, folder, Team())
    feed = Feed(session.data, session.train, session.room, recipe.train, session.z_dim)
    feed.place(session.hardware.device, Team())
    return session, feed


def _tried(session: Session, feed: Feed, **how: Any) -> Trial:
    trial = try_out(session, feed, **{"parts": 1, "seconds": 0.0, **how})
    release(GPU)
    return trial


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_runs_on_a_gpu_in_both_formats(tmp_path: Path, precision: str) -> None:
    """The same recipe trains on a GPU, and its bundle opens on any machine."""
    layout, recipe = _workspace(tmp_path, precision=precision)
    with StopRequest() as stop:
        bundle = train(layout, recipe, stop)

    with torch.no_grad():
        images = bundle.generator()(torch.randn(4, bundle.card.z_dim), torch.tensor([0, 1, 0, 1]))

    assert images.isfinite().all()
    assert bundle.card.precision == precision


@pytest.mark.parametrize("captures", [False, True])
def test_no_step_between_two_ticks_waits_for_the_device(tmp_path: Path, *, captures: bool) -> None:
    """An iteration of the loop, its inputs included, is started without a host sync."""
    layout, recipe = _workspace(tmp_path, adapt=False)
    session = open_session(layout, recipe, run_folder(layout, recipe), Team())
    chosen = {"device": device_name(GPU), "processes": 1, "parts": 1, "captures": captures}
    write_json(session.folder / FIT, {**chosen, "because": "a test says so"})
    with StopRequest() as stop:
        training = Training(session, stop, None, 1e9)
        for _ in range(WARM_UP + 2):
            training._iterate()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(4):
            training._iterate()
        torch.cuda.set_sync_debug_mode("default")

    assert training.state.nimg == (WARM_UP + 6) * recipe.train.batch_size


@pytest.mark.parametrize("preset", ["tiny", "small", "conv28", "dense32"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_captured_step_is_the_eager_one(tmp_path: Path, preset: str, precision: str) -> None:
    """Steps that are replayed bring the weights where eager steps bring them."""
    session, feed = _session(tmp_path, preset, precision=precision)
    eager = _tried(session, feed)
    graph = _tried(session, feed, captures=True)

    assert graph.failure is None
    assert difference(session, eager, graph) < 0.01


def test_a_captured_step_follows_the_schedule(tmp_path: Path) -> None:
    """Rate and dials are inputs of a graph; a new beta2 makes a new one. Both end alike."""
    session, feed = _session(tmp_path)
    ends = []
    for captures in (False, True):
        state, said = fresh_state(session), list[str]()
        stepper = build_stepper(session, state, remedy(0), Team())
        captured = Captured(stepper, state.optimizers.values(), said.append)
        take = captured.take if captures else stepper.take
        for place in range(12):
            for optimizer in state.optimizers.values():
                group = optimizer.param_groups[0]
                group["lr"].fill_(2e-3 / (1 + place))
                group["betas"] = (0.0, 0.9 if place < 8 else 0.99)
            numbers = torch.tensor([1.0, 0.9, 0.05 * place, torch.inf, torch.inf])
            take(*feed.at(place * 16), Dials(*numbers.to(GPU)))
        assert not said
        networks = state.networks.values()
        ends.append(torch.cat([p.detach().flatten() for n in networks for p in n.parameters()]))
        sums = stepper.sums.isfinite().all()
        assert sums

    begun = fresh_state(session).networks.values()
    start = torch.cat([p.detach().flatten() for n in begun for p in n.parameters()])
    assert (ends[0] - ends[1]).norm() < 0.01 * (ends[0] - start).norm()


def test_a_step_that_cannot_be_captured_is_taken_as_it_is(tmp_path: Path) -> None:
    """One line says so, and the weights end where eager steps bring them."""
    session, feed = _session(tmp_path)
    eager = _tried(session, feed)

    class Waits(type(session.room)):  # type: ignore[misc]  # the room, with a sync in it
        def __getattr__(self, name: str) -> Any:
            return getattr(session.room, name)

        def from_uint8(self, items: torch.Tensor) -> torch.Tensor:
            items.sum().item()
            return session.room.from_uint8(items)

    waiting = replace(session, room=Waits("waits"))
    graph = _tried(waiting, feed, captures=True)

    assert graph.failure is not None
    assert "\n" not in graph.failure
    assert difference(session, eager, graph) < 0.01
    assert not choose_fit(waiting, feed).captures


def test_the_choice_of_a_gpu_is_measured_and_kept(tmp_path: Path) -> None:
    """Captured only where that is faster; the figures of both are in the reason."""
    session, feed = _session(tmp_path)
    fit = settle_fit(session, feed)

    assert fit.device == device_name(GPU)
    assert fit.parts == 1
    assert "img/s" in fit.because
    assert settle_fit(session, feed) == fit


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_deterministic_trainings_are_equal_to_the_bit(tmp_path: Path, precision: str) -> None:
    """With `deterministic: true` two trainings, and one stopped and resumed, give one bundle."""
    digests = []
    for name, stops in (("one", False), ("two", False), ("resumed", True)):
        layout, recipe = _workspace(tmp_path / name, precision=precision, deterministic=True)
        if stops:
            with StopRequest() as stop:
                signal.raise_signal(signal.SIGTERM)
                with pytest.raises(PreemptedError):
                    train(layout, recipe, stop)
        with StopRequest() as stop:
            digests.append(train(layout, recipe, stop).digest)

    assert digests[0] == digests[1] == digests[2]


def test_a_step_too_large_is_cut_when_a_training_begins(tmp_path: Path) -> None:
    """The batch is taken in as many parts as the GPU has memory for, to the same end."""
    session, feed = _session(tmp_path, "small", batch_size=64, precision="float32")
    whole, cut = _tried(session, feed), _tried(session, feed, parts=4)
    total = torch.cuda.get_device_properties(GPU).total_memory
    assert cut.peak_bytes < whole.peak_bytes
    assert difference(session, whole, cut) < 0.01
    middle = (whole.peak_bytes + cut.peak_bytes) / 2
    torch.cuda.set_per_process_memory_fraction(middle / total)

    assert 1 < choose_fit(session, feed).parts <= 16


def test_too_little_memory_in_mid_training_is_told(tmp_path: Path) -> None:
    """What fitted once and no longer does ends the training with a line, not with parts."""
    layout, recipe = _workspace(tmp_path)
    chosen = {"device": device_name(GPU), "processes": 1, "parts": 1, "captures": False}
    write_json(run_folder(layout, recipe) / FIT, {**chosen, "because": "it did fit"})
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction(4e6 / total)

    with StopRequest() as stop, pytest.raises(GanmillError, match="out of memory with 16 images"):
        train(layout, recipe, stop)


def test_streamed_images_are_the_resident_ones(tmp_path: Path) -> None:
    """Read from disk and sent through pinned memory, each batch is the one that lies there."""
    session, resident = _session(tmp_path)
    streamed = Feed(session.data, session.train, session.room, session.recipe.train, session.z_dim)
    streamed.place(GPU, Team(), allowance_bytes=0)

    for nimg in (0, 16, 32, 16):
        for ours, theirs in zip(resident.at(nimg), streamed.at(nimg), strict=True):
            for name in ("reals", "c", "z", "draws"):
                assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_a_forecast_counts_in_gpu_hours(tmp_path: Path) -> None:
    """Cost is of the GPU; energy is there exactly where the driver tells its power."""
    layout, recipe = _workspace(tmp_path)
    found = forecast(layout, recipe)

    assert found.cost_of == "GPU"
    assert found.cost_hours == pytest.approx(found.seconds / 3600)
    assert found.energy_wh is None or found.energy_wh > 0
    assert found.memory_bytes > 1_000_000
