"""How fast images come in and are decoded into facts, against plain Pillow on all processors."""

import io
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from gan.durable import write_json
from gan.image.dataset import prepare
from gan.image.facts import FACTS, VERDICT, collect, write_facts
from gan.image.glyphs import draw
from gan.image.sources import ingest
from gan.sections import DataSpec
from tests.benchmarks.figures import show

PNGS, JPEGS = 3000, 400


def _write_stickers(folder: Path) -> int:
    """Write small PNGs, as a user's folder of icons; return their count."""
    for drawing in draw(PNGS, seed=1):
        path = folder / drawing.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing.payload)
    return PNGS


def _write_photos(folder: Path) -> int:
    """Write JPEGs of 640 px with noise, as large to decode as photos; return their count."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    for n in range(JPEGS):
        small = random.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(small).resize((640, 640)).save(folder / f"{n:04d}.jpg", quality=90)
    return JPEGS


def _decode(paths: list[Path]) -> int:
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.convert("RGB")
    return len(paths)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _plain_pillow(folder: Path) -> float:
    """Return the seconds that plain Pillow takes with a process for each processor."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_decode, [[]] * workers))  # started before the clock
        parts = [paths[n :: 4 * workers] for n in range(4 * workers)]
        return _timed(lambda: list(pool.map(_decode, parts)))


def _measure(root: Path, what: str, write: Callable[[Path], int]) -> None:
    count = write(root / "images")
    spec = DataSpec(source="files", path="images", resolution=32)
    raw, facts = root / "raw", root / "facts"
    came_in = ingest(spec, root, raw)
    show(f"{what}: ingest", count / came_in.seconds, "images/s")
    show("  the same", came_in.total_bytes / came_in.seconds / 1e6, "MB/s")
    plain = _plain_pillow(root / "images")
    show(f"{what}: plain Pillow, all processors", count / plain, "images/s")
    started = time.perf_counter()
    table = collect(raw)
    taken = time.perf_counter() - started
    show(f"{what}: facts", count / taken, "images/s", f"{plain / taken:.0%} of plain Pillow")
    facts.mkdir()
    write_facts(facts / FACTS, table)
    write_json(facts / VERDICT, {"success": True})
    taken = _timed(lambda: prepare(raw, facts, spec, root / "train"))
    show(f"{what}: prepare", count / taken, "images/s", f"{plain / taken:.0%} of plain Pillow")


def main() -> None:
    """Print images per second of ingest, facts and prepare for small PNGs and for JPEGs."""
    for what, write in (("64 px PNG", _write_stickers), ("640 px JPEG", _write_photos)):
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), what, write)
