"""A training on two processes as people meet it: one command, real kills, bytes compared."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn

from gan.bundle import open_bundle
from gan.durable import read_failure
from gan.errors import DamagedError, PreemptedError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.checkpoint import save_checkpoint
from gan.training.distributed import launch
from gan.training.guards import StopRequest
from gan.training.identity import begin as begin_training
from gan.training.identity import run_folder
from gan.training.loop import train
from gan.training.session import fresh_state, open_session
from gan.training.stats import STATS, read_stats
from gan.training.team import Team
from tests.gan.training.conftest import make_workspace

KIMG = 0.064  # 8 iterations

# A worker that saves after each iteration, and the elastic launcher that starts two of it.
WORKER = """
import sys
from pathlib import Path
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.distributed import join
from gan.training.guards import StopRequest
with StopRequest() as stop:
    from gan.training.loop import train
    layout = Layout(Path.cwd())
    recipe = load_recipe(layout.params, "tiny")
    with join(layout, recipe) as team:
        train(layout, recipe, stop, checkpoint_seconds=0.0, team=team)
"""
LAUNCHER = """
import sys
from pathlib import Path
from gan.training.distributed import _environment
from gan.training.guards import StopRequest
from gan.training.workers import Workers
command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
command += ["--max-restarts", "1", "worker.py"]
with StopRequest() as stop:
    sys.exit(Workers(command, Path.cwd(), _environment(2)).run(stop))
"""


def _until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _run(layout: Layout) -> Path:
    return run_folder(layout, load_recipe(layout.params, "tiny"))


def _checkpoints(layout: Layout) -> list[Path]:
    return sorted(_run(layout).glob("checkpoint-*.ckpt"))


def _spoilt(root: Path, gpus: int) -> Layout:
    """Return a workspace whose training begins with a NaN in a checkpoint, and so rolls back."""
    layout = make_workspace(root, kimg=KIMG, gpus=gpus)
    recipe = load_recipe(layout.params, "tiny")
    session = open_session(layout, recipe, begin_training(layout, recipe), Team())
    state = fresh_state(session)
    with torch.no_grad():
        next(state.networks["D"].parameters()).view(-1)[0] = math.nan
    state.nimg = 8
    save_checkpoint(session.folder, state)
    (root / "worker.py").write_text(WORKER)
    return layout


def _weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _below(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def begin() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Return what starts a command in a workspace; neither it nor its children outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(layout: Layout, *words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=layout.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(psutil.NoSuchProcess):  # it has ended, as it should
            for each in [*_below(process), psutil.Process(process.pid)]:
                each.kill()
        process.communicate()


Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, begin: Begin) -> Layout:
    """Return the workspace of an undisturbed training on two processes, with a roll-back."""
    layout = _spoilt(tmp_path_factory.mktemp("calm"), gpus=2)
    process = begin(layout, "-c", LAUNCHER)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return layout


def test_two_processes_agree_with_one(calm: Layout, tmp_path: Path) -> None:
    """The same global batch on one and on two processes: equal weights and rows, to rounding.

    They roll back together, and only the first process writes: each row is there once.
    """
    alone = _spoilt(tmp_path, gpus=1)
    with StopRequest() as stop:
        train(alone, load_recipe(alone.params, "tiny"), stop)
    torch.use_deterministic_algorithms(mode=False)

    bundles = [open_bundle(layout.bundle("tiny")) for layout in (alone, calm)]
    for kind in ("generator", "critic"):
        one, two = (_weights(getattr(bundle, kind)()) for bundle in bundles)
        # Adam makes whole steps of gradients that are rounding alone, so single weights may differ.
        assert (two - one).norm() < 2e-3 * one.norm()
    written = [read_stats(_run(layout) / STATS) for layout in (alone, calm)]
    places = [[(row["attempt"], row["nimg"], row.get("event")) for row in each] for each in written]
    assert places[0] == places[1]
    assert len(set(places[1])) == len(places[1])
    assert (0, 24, "rollback") in places[1]
    rows = [[row for row in each if row["attempt"] == 1] for each in written]
    assert len(rows[1]) == KIMG * 1000 / 8
    for name in ("loss_d", "loss_g", "r1", "r2", "gap", "positive", "grad_d", "grad_g"):
        figures = [[row[name] for row in each] for each in rows]
        np.testing.assert_allclose(figures[1], figures[0], rtol=0.02, atol=2e-3, err_msg=name)


@pytest.mark.faults
def test_a_killed_process_costs_no_bit(calm: Layout, tmp_path: Path, begin: Begin) -> None:
    """SIGKILL of one process: all go on from the last checkpoint, to the undisturbed bundle."""
    rough = _spoilt(tmp_path, gpus=2)
    process = begin(rough, "-c", LAUNCHER)
    stats = _run(rough) / STATS
    _until(lambda: any((row["attempt"], row["nimg"]) == (1, 16) for row in read_stats(stats)))
    os.kill(int(rough.lock("rank-1-tiny").read_text()), signal.SIGKILL)
    _, said = process.communicate(timeout=240)

    assert process.returncode == 0, said
    assert said.count("train tiny: resuming at ") == 2  # from the spoilt one, from the last one
    assert open_bundle(rough.bundle("tiny")).digest == open_bundle(calm.bundle("tiny")).digest


@pytest.mark.faults
def test_the_command_stops_and_none_outlives_it(tmp_path: Path, begin: Begin) -> None:
    """SIGTERM: every process saves and leaves within seconds, exit code 75, one line about it.

    Killed, it takes its processes along; they save first.
    """
    layout = make_workspace(tmp_path, kimg=1000.0, gpus=2)
    process = begin(layout, "-m", "gan", "train", "tiny")
    _until((_run(layout) / STATS).exists)
    _until(lambda: len(_below(process)) >= 3)
    ours = _below(process)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert time.monotonic() - asked < 10
    assert not any(each.is_running() for each in ours)
    assert "(SIGTERM); the same command resumes." in said.splitlines()[-1]
    assert said.count("the same command resumes") == 1
    assert "Traceback" not in said
    assert isinstance(read_failure(layout.failure("train", "tiny")), PreemptedError)
    (saved,) = _checkpoints(layout)[-1:]

    again = begin(layout, "-m", "gan", "train", "tiny")
    _until(lambda: (_run(layout) / STATS).stat().st_mtime > saved.stat().st_mtime)
    ours = _below(again)
    again.kill()
    again.wait()
    _until(lambda: not any(each.is_running() for each in ours), seconds=10)
    assert _checkpoints(layout)[-1] > saved


@pytest.mark.faults
def test_an_error_to_mend_is_not_tried_again(tmp_path: Path, begin: Begin) -> None:
    """What a worker cannot do is said once, with its class and exit code, and not retried."""
    layout = make_workspace(tmp_path, kimg=KIMG, gpus=2)
    (layout.train_data("tiny") / "images.npy").write_bytes(b"spoilt")
    process = begin(layout, "-m", "gan", "train", "tiny")
    _, said = process.communicate(timeout=120)

    assert process.returncode == 1
    (line,) = said.splitlines()
    assert "images.npy: SHA-256 is" in line
    failure = json.loads(layout.failure("train", "tiny").read_bytes())
    assert failure == {"error": DamagedError.__name__, "exit_code": 1, "message": line}


def test_batch_statistics_are_not_shared(tmp_path: Path) -> None:
    """A network with batch statistics would train otherwise in parts: refused before any start."""
    layout = make_workspace(tmp_path, kimg=KIMG, gpus=2)
    recipe = load_recipe(layout.params, "tiny")
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"preset": "conv28"})}
    )

    with (
        StopRequest() as stop,
        pytest.raises(UsageError, match=r"train\.gpus is 2, but model\.preset conv28 takes stat"),
    ):
        launch(layout, recipe, stop)
    assert not layout.lock("launch-tiny").exists()
