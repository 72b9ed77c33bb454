"""The README's commands, run as they stand there, in a workspace with a small `stickers` recipe."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = """
recipes:
  stickers:
    data:
      source: glyphs
      path: gan/image/glyphs.py
      resolution: 32
      channels: 3
      glyphs: {count: 280, seed: 1}
      contract: {min_images: 200, min_images_per_class: 10}
    model: {preset: tiny}
    train: {budget: {kimg: 0.64}, batch_size: 16}
    evaluate: {samples: 280}
    gate:
      {max_fd_share: 1.0, margin: 1.0, diversity: 1.0, worst_class: 1.0, memorisation: false,
       resources: null}
    assets:
      count: 14
      size_px: 64
      screens: {off_class: 0.0}  # which a network that was trained for a moment cannot tell
      campaigns:
        chat: {count: 9, classes: {faces: 1, hearts: 1, cats: 1}, platforms: [whatsapp, telegram]}
    detector: {kimg: 0.64}
    schedule: {generate: "0 6 1 1 *"}
"""


def commands() -> list[str]:
    """Return the lines of the README's `sh` blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """Yield a git folder with what a workspace needs and free ports; its servers end with it."""
    root = tmp_path / "ganmill"
    root.mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "Makefile"):
        shutil.copy(REPOSITORY / name, root)
    machine_own = shutil.ignore_patterns("cache", "tmp")
    shutil.copytree(REPOSITORY / ".dvc", root / ".dvc", ignore=machine_own)
    (root / "params.yaml").write_text(SMALL)
    (root / "models" / "stickers").mkdir(parents=True)
    shutil.copy(REPOSITORY / "models/stickers/start.json", root / "models/stickers")
    for room in ("gan", "flows"):
        (root / room).symlink_to(REPOSITORY / room)
    (root / ".venv").symlink_to(sys.prefix)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    pets = tmp_path / "home" / "pets"
    for kind, colour in (("cats", (200, 120, 40)), ("dogs", (60, 90, 160))):
        (pets / kind).mkdir(parents=True)
        for number in range(24):
            shade = tuple(part + number for part in colour)
            picture = Image.new("RGB", (40, 40), shade)
            picture.paste((250, 250, 250), (number % 20, 5, number % 20 + 12, 30))
            picture.save(pets / kind / f"{number}.png")
    (root.parent / "home" / "downloads").mkdir()
    picture.save(root.parent / "home" / "downloads" / "sticker.webp")
    yield root
    run("ganmill down", root)


def run(line: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run one line as a person's shell would, at home in the test's folder."""
    home = root.parent / "home"
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GANMILL_PREFECT_PORT": str(ports(root)[0]),
        "GANMILL_MLFLOW_PORT": str(ports(root)[1]),
        "GANMILL_METRICS_PORT": str(ports(root)[2]),
    }
    return subprocess.run(
        ["bash", "-c", line],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def ports(root: Path) -> tuple[int, ...]:
    """Return three free ports, the same three for one workspace."""
    kept = root.parent / "ports"
    if not kept.exists():
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            for each in (one, two, three):
                each.bind(("127.0.0.1", 0))
            kept.write_text(" ".join(str(each.getsockname()[1]) for each in (one, two, three)))
    return tuple(int(port) for port in kept.read_text().split())


@pytest.mark.timeout(1500)  # it is every command there is, some of them twice
def test_every_command_of_the_readme_works_as_it_stands(workspace: Path) -> None:
    """A newcomer may type the README from top to bottom, and every line ends with success."""
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    told = []
    for line in commands():
        if line.startswith("make "):
            assert line.split()[1] in targets
            line = "ganmill demo" if line == "make demo" else "true"  # noqa: PLW2901
        if line == "ganmill retrain my-pets":
            shrink(workspace / "params.yaml")
        began = time.monotonic()
        done = run(line, workspace)
        print(f"{time.monotonic() - began:5.1f} s  {line}")
        told.append(line)

        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, line

    assert any(line.startswith("ganmill promote") for line in told)


def shrink(params: Path) -> None:
    """Give the recipe that `init` wrote a budget of seconds; its gate is not what is tried here."""
    text = params.read_text().replace("kimg: 40.0", "kimg: 0.64")
    text = text.replace("memorisation: false\n", "memorisation: false\n      max_fd_share: 1.0\n")
    params.write_text(text)
