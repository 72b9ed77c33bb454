"""What the flow costs beside the stages' work: cold, with servers up, with nothing to do."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.figures import show

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).parent / "ganmill")
STAGES = ("gan", "flows.expectations")  # `python -m` of these is a stage's own work

PARAMS = """\
recipes:
  tiny:
    data:
      source: glyphs
      path: gan/image/glyphs.py
      resolution: 16
      glyphs: {count: 280, seed: 1}
      contract: {min_images: 100, min_images_per_class: 5}
    model: {preset: tiny}
    train: {budget: {kimg: 1}, batch_size: 32, device: cpu}
    evaluate: {samples: 200}
    gate: {max_fd_share: 1.0, margin: 1.0}
    assets: {count: 8, size_px: 64}
"""


def _workspace(root: Path) -> None:
    """Fill a folder as a clone would be, with one tiny recipe and no shipped bundle."""
    for name in ("gan", "flows"):
        ignored = shutil.ignore_patterns("__pycache__", "shipped")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    (root / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "params.yaml").write_text(PARAMS)
    subprocess.run(["git", "init", "-q", str(root)], check=True)


def _environment() -> dict[str, str]:
    """Return this environment with free ports for servers of our own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PREFECT_API_URL", "MLFLOW_TRACKING_URI"}
    }
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        ports = [str(probe.getsockname()[1]) for probe in (first, second)]
    return {**kept, "GANMILL_PREFECT_PORT": ports[0], "GANMILL_MLFLOW_PORT": ports[1]}


def _is_stage(process: psutil.Process) -> bool:
    """Return whether a process is `python -m gan ...`, not the shell around it."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return len(words) > 2 and words[1] == "-m" and words[2] in STAGES


def _run(root: Path, environment: dict[str, str], *words: str) -> tuple[float, float]:
    """Run `ganmill`; return its seconds, and those in which a stage's command was at work."""
    started = at = time.perf_counter()
    working = 0.0
    with (root / "said.txt").open("wb") as said:
        process = psutil.Popen(
            [COMMAND, *words], cwd=root, env=environment, stdout=said, stderr=said
        )
        while process.poll() is None:
            time.sleep(0.02)
            busy = any(_is_stage(child) for child in process.children(recursive=True))
            now = time.perf_counter()
            working, at = working + (now - at if busy else 0.0), now
    if process.returncode:
        raise SystemExit((root / "said.txt").read_text())
    return at - started, working


def main() -> None:
    """Print the seconds of three runs of `ganmill retrain`, less those of the stages' commands."""
    with tempfile.TemporaryDirectory() as folder:
        root, environment = Path(folder), _environment()
        _workspace(root)
        try:
            for what, words in (
                ("cold (starts the servers)", ()),
                ("servers up, training forced", ("--force",)),
                ("servers up, nothing to do", ()),
            ):
                taken, working = _run(root, environment, "retrain", "tiny", *words)
                note = f"of {taken:.1f} s, the stages' commands took {working:.1f} s"
                show(f"{what}: the flow's own", taken - working, "s", note)
        finally:
            subprocess.run([COMMAND, "down"], cwd=root, env=environment, check=False)
