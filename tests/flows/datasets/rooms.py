"""A workspace with two data versions, as real as it can be made in seconds.

Real DVC with our configuration, real ingest, facts and arrays; the three stages are one, and the
data contract, which has tests of its own, is not asked.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from flows.datasets.catalog import DatasetRecord, record
from flows.versions import push, reproduce
from gan.paths import Layout
from gan.recipe import load_recipe

REPO = Path(__file__).resolve().parents[3]
RECIPE = "a"
PIPELINE = """
stages:
  prepare:
    foreach: ${recipes}
    do:
      cmd: python work.py ${key}
      deps: ['${item.data.path}']
      outs: ['data/${key}/raw', 'data/${key}/facts', 'data/${key}/train', 'data/${key}/kind.json']
"""
WORK = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(REPO)!r})
from gan.__main__ import VERBS
from gan.durable import write_json
from gan.image.facts import FACTS, VERDICT, collect, write_facts
from gan.paths import Layout
from gan.recipe import load_recipe
layout, name = Layout(Path.cwd()), sys.argv[1]
recipe = load_recipe(layout.params, name)
VERBS["ingest"](layout, recipe)
facts = layout.facts(name)
write_facts(facts / FACTS, collect(layout.raw(name), 1))
write_json(facts / VERDICT, {{"success": True}})
VERBS["prepare"](layout, recipe)
"""
PARAMS = """
recipes:
  a:
    data: {source: files, path: images, resolution: 16, licence: CC0-1.0}
"""


def make_room(root: Path, remote: str = "") -> Layout:
    """Return a git workspace with 24 images of two classes; nothing has run.

    Args:
        root: The folder to make.
        remote: URL of the DVC remote; our own configuration's if "".
    """
    (root / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore"):
        (root / name).write_bytes((REPO / name).read_bytes())
    if remote:
        (root / ".dvc" / "config.local").write_text(f"['remote \"store\"']\n    url = {remote}\n")
    for name, text in (("dvc.yaml", PIPELINE), ("work.py", WORK), ("params.yaml", PARAMS)):
        (root / name).write_text(text)
    for number in range(24):
        draw(root, f"{'red' if number % 2 else 'blue'}/{number:02d}.png", number)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return Layout(root)


def draw(root: Path, name: str, seed: int) -> None:
    """Write an image of noise below `images/`."""
    path = root / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def accept(layout: Layout) -> DatasetRecord:
    """Make a data version of the images that are there, and push it."""
    reproduce(layout, "prepare", RECIPE)
    made = record(layout, load_recipe(layout.params, RECIPE))
    push(layout, RECIPE)
    return made


def change_images(root: Path) -> None:
    """Add two images, remove one, relabel one, draw one anew, and copy one."""
    images = root / "images"
    draw(root, "red/30.png", 30)
    draw(root, "green/31.png", 31)
    (images / "blue" / "00.png").unlink()
    (images / "blue" / "02.png").rename(images / "red" / "02.png")
    draw(root, "blue/04.png", 99)
    shutil.copyfile(images / "red" / "01.png", images / "red" / "40.png")


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file over; size, time and mode stay as they were."""
    import os

    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
