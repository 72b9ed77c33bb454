"""A workspace with a prepared data set of 16 px, small enough that a training takes seconds."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from gan.durable import write_json, write_sums
from gan.image.dataset import GROUPS, IMAGES, LABELS, META, _digest, open_dataset
from gan.metrics.domain import train_extractor
from gan.paths import Layout

CLASSES = ["dark", "light"]
COUNT = 96

# What `python -m gan train` does, with checkpoints as often as the second argument says.
TRAINS = """
import sys
from pathlib import Path
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.guards import StopRequest
with StopRequest() as stop:
    from gan.training.loop import train
    layout = Layout(Path(sys.argv[1]))
    recipe = load_recipe(layout.params, "tiny")
    train(layout, recipe, stop, checkpoint_seconds=float(sys.argv[2]))
"""


def write_data(folder: Path) -> str:
    """Write what `prepare` writes: 96 RGB images of 16 px in two classes; return their digest."""
    random = np.random.default_rng(1)
    labels = np.arange(COUNT, dtype=np.int64) % 2
    base = np.where(labels == 1, 200, 50)[:, None, None, None]
    images = (base + random.integers(-40, 40, (COUNT, 3, 16, 16))).astype(np.uint8)
    folder.mkdir(parents=True)
    np.save(folder / IMAGES, images, allow_pickle=False)
    np.save(folder / LABELS, labels, allow_pickle=False)
    np.save(folder / GROUPS, np.arange(COUNT, dtype=np.int64), allow_pickle=False)
    sums = [sha256((folder / name).read_bytes()).hexdigest() for name in (IMAGES, LABELS)]
    digest = _digest([*sums, CLASSES])
    meta = {
        "classes": CLASSES,
        "resolution": 16,
        "channels": 3,
        "count": COUNT,
        "keys_sha256": "0" * 64,
        "digest": digest,
    }
    write_json(folder / META, meta)
    write_sums(folder)
    return digest


def make_workspace(
    root: Path,
    pin: str | None = None,
    *,
    kimg: float = 0.32,
    preset: str = "tiny",
    **train: Any,
) -> Layout:
    """Write params, pin, data and extractor of the recipe `tiny`, with `train` in its section."""
    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)
    section = {
        "budget": {"kimg": kimg},
        "batch_size": 8,
        "ema_kimg": 0.05,
        "device": "cpu",
        "precision": "float32",
        **train,
    }
    recipe = {"data": {"source": "files", "path": "images", "resolution": 16}, "train": section}
    recipe["model"] = {"preset": preset}
    with layout.params.open("w") as file:
        YAML(typ="safe", pure=True).dump({"recipes": {"tiny": recipe}}, file)
    write_json(layout.pin("tiny"), {"bundle": pin})
    if not layout.train_data("tiny").exists():  # else the same workspace with another recipe
        write_data(layout.train_data("tiny"))
        data = open_dataset(layout.train_data("tiny"))
        train_extractor(data, layout.extractor("tiny"), 1, lambda _: None, images_shown=128)
    return layout


def start(
    layout: Layout, checkpoint_seconds: float | None = None, *, through_shell: bool = False
) -> subprocess.Popen[str]:
    """Start the training in a process: the engine's own command, or with other checkpoints."""
    command = [sys.executable, "-m", "gan", "train", "tiny"]
    if checkpoint_seconds is not None:
        command = [sys.executable, "-c", TRAINS, str(layout.root), str(checkpoint_seconds)]
    if through_shell:
        command = ["sh", "-c", '"$@"; true', "sh", *command]
    return subprocess.Popen(
        command,
        cwd=layout.root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # sums of more threads have other last bits
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # one group, so that a test can end it whole
    )


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts a training, with the arguments of `start`; none outlives the test."""
    started = []

    def begin(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(start(*arguments, **options))
        return started[-1]

    yield begin
    for process in started:
        with suppress(ProcessLookupError):  # it has ended, as it should
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Layout]:
    """Return what makes a workspace: (name, pin=None, **train)."""

    def make(name: str = "w", pin: str | None = None, **train: Any) -> Layout:
        return make_workspace(tmp_path / name, pin, **train)

    return make
