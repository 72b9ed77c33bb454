"""`ganmill retrain --dry-run`: what would run and what it takes, with nothing started."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.commands.outlook import Expected, Outlook, show
from gan.paths import Layout
from tests.gan.training.conftest import make_workspace

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with our own DVC configuration and stage graph, and prepared data."""
    root = tmp_path_factory.mktemp("outlook")
    layout = make_workspace(root, kimg=0.08)
    (root / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore", "dvc.yaml"):
        (root / name).write_bytes((REPO / name).read_bytes())
    (root / "gan").symlink_to(REPO / "gan")
    (root / "flows").symlink_to(REPO / "flows")
    (root / "images").mkdir()
    (root / "images" / "one.png").write_bytes(b"not looked at")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return layout


def _retrain(layout: Layout, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", "retrain", "tiny", "--dry-run", *words]
    environment = {**os.environ, "GANMILL_PREFECT_PORT": "9", "GANMILL_MLFLOW_PORT": "9"}
    return subprocess.run(
        command, cwd=layout.root, env=environment, capture_output=True, text=True, check=False
    )


def test_it_says_what_would_run_and_what_training_takes(layout: Layout) -> None:
    """Exit code 0, one JSON document, stages with reasons, figures; nothing was trained."""
    done = _retrain(layout, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)

    stages = {each["stage"]: each for each in found["stages"]}
    assert list(stages) == ["ingest", "validate", "prepare", "extractor", "train", "evaluate"]
    assert stages["ingest"] == {"stage": "ingest", "state": "runs", "because": ["never ran"]}
    assert found["training"]["planned_images"] == 80
    assert found["training"]["images_per_second"] > 0
    assert found["refused"] is False
    assert not layout.bundle("tiny").exists()
    assert not layout.run("tiny").exists()
    assert not (layout.root / "dvc.lock").exists()


def test_without_data_the_figures_come_later(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """People get a line a stage; until the data are prepared nothing can be measured."""
    stages = [
        Expected("ingest", "runs", ["data.resolution: 16 -> 32"]),
        Expected("validate", "follows", ["if ingest changes what it reads"]),
        Expected("extractor", "unchanged", []),
    ]
    show(Outlook("tiny", stages, None, refused=True), as_json=False)

    fresh = "to leave it and start anew: ganmill retrain tiny --fresh"
    assert capsys.readouterr().out.splitlines() == [
        "ingest      runs        data.resolution: 16 -> 32",
        "validate    follows     if ingest changes what it reads",
        "extractor   unchanged",
        "",
        "The training's figures come once the data are prepared.",
        f"A stopped training of other data or parameters is in the way; {fresh}",
    ]
