"""What a training would take, said before it begins."""

import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import torch

from gan.__main__ import main
from gan.durable import read_json
from gan.errors import DamagedError
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.fit import FIT
from gan.training.forecast import Forecast, forecast
from gan.training.guards import StopRequest
from gan.training.identity import run_folder
from gan.training.loop import train
from tests.gan.training.conftest import make_workspace


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with prepared data and no training."""
    return make_workspace(tmp_path_factory.mktemp("forecast"), kimg=6.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for as short as possible: two steps."""
    monkeypatch.setattr("gan.training.forecast._SECONDS", 0.0)


def _forecast(layout: Layout) -> Forecast:
    return forecast(layout, load_recipe(layout.params, "tiny"))


def _files(layout: Layout) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in layout.root.rglob("*")}


def test_a_forecast_adds_up_and_changes_nothing(layout: Layout) -> None:
    """Time is images over speed, cost is time times processors; no file appears or changes."""
    before = _files(layout)
    found = _forecast(layout)

    assert _files(layout) == before
    assert (found.recipe, found.device, found.processes) == ("tiny", "cpu", 1)
    assert (found.planned_images, found.done_images, found.ends) == (6000, 0, "6 kimg")
    assert (found.batch, found.parts, found.captured) == (8, 1, False)
    assert (found.precision, found.precision_because) == ("float32", "as the recipe says")
    assert found.images_resident
    assert found.images_per_second == pytest.approx(8 / found.seconds_per_step)
    assert found.seconds == pytest.approx(6000 / found.images_per_second)
    assert 0 < found.cost_hours < found.seconds / 3600 * 64
    assert found.cost_of == "processor"
    assert found.energy_wh is None  # no driver tells what a processor draws
    assert 10e6 < found.memory_bytes < 64e9
    assert 0 < found.disk_bytes < found.free_disk_bytes
    left = datetime.fromisoformat(found.finishes_at).timestamp() - time.time()
    assert abs(left - found.seconds) < 70


def test_people_read_it_in_a_few_lines(layout: Layout) -> None:
    """One thing a line, each with its unit; what nobody measured is not there."""
    lines = list(_forecast(layout).lines())

    assert [line.split()[0] for line in lines] == [
        *("device", "precision", "step", "ends", "speed", "time", "memory", "disk", "cost")
    ]
    assert re.fullmatch(r"speed +\d+ img/s, [\d.e-]+ s/step", lines[4])
    assert re.search(r"cost +[\d.e-]+ processor-hours", lines[8])


def test_two_processes_are_one_times_two(layout: Layout) -> None:
    """One process measures its half of the batch; speed and cost are of both."""
    shared = make_workspace(layout.root, kimg=6.0, gpus=2)
    found = _forecast(shared)
    make_workspace(layout.root, kimg=6.0)

    assert (found.processes, found.batch) == (2, 8)
    assert found.images_per_second == pytest.approx(2 * 4 / found.seconds_per_step)
    assert "cpu x 2 processes" in next(found.lines())


def test_a_stopped_training_is_forecast_from_where_it_is(layout: Layout) -> None:
    """Images that are shown are not counted again, and what was chosen for it is taken over."""
    started = make_workspace(layout.root, kimg=0.016, seed=9)
    recipe = load_recipe(started.params, "tiny")
    with StopRequest() as stop:
        train(started, recipe, stop)
    folder = run_folder(started, recipe)
    before = read_json(folder / FIT)
    longer = make_workspace(layout.root, kimg=0.064, seed=9)
    found = _forecast(longer)
    make_workspace(layout.root, kimg=6.0)

    assert (found.planned_images, found.done_images) == (64, 16)
    assert found.seconds == pytest.approx(48 / found.images_per_second)
    assert read_json(folder / FIT) == before
    assert sum(path.suffix == ".ckpt" for path in folder.glob("checkpoint-*")) == 1


def test_minutes_bound_the_time(layout: Layout) -> None:
    """The nearer of two ends is the one that is forecast."""
    bounded = make_workspace(layout.root, budget={"kimg": 1e6, "minutes": 1.5, "patience": 3})
    found = _forecast(bounded)
    make_workspace(layout.root, kimg=6.0)

    assert found.seconds == 90.0
    assert found.ends.startswith("1e+06 kimg or 1.5 minutes, or 3 measurements without a better")


def test_the_engine_stops_after_a_dry_run(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m gan train RECIPE --dry-run` prints it on stdout and ends with 0."""
    monkeypatch.chdir(layout.root)
    before = _files(layout)

    assert main(["train", "tiny", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("device      cpu; images in its memory\n")
    assert _files(layout) == before


def test_only_a_training_can_be_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """No other stage has a dry run; it is refused as a wrong command line."""
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "tiny", "--dry-run"])
    assert "--dry-run goes with train alone" in capsys.readouterr().err


def test_data_that_are_not_prepared_are_told(tmp_path: Path, layout: Layout) -> None:
    """Without data there is nothing to measure; the message names the folder."""
    (tmp_path / "params.yaml").write_bytes(layout.params.read_bytes())

    with pytest.raises(DamagedError, match=r"data/tiny/train"):
        _forecast(Layout(tmp_path))
