"""How fast images come in and are decoded into facts, against plain Pillow on all processors.

Both have their processes started before the clock, and take turns: a busy machine is busy for both.
"""

import io
import os
import statistics
import tarfile
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

PNGS, JPEGS, ROUNDS = 12_000, 800, 5
SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"


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


def _write_cifar10(folder: Path) -> int:
    """Unpack the 60,000 JPEGs of 32 px of the shared data; return their count."""
    with tarfile.open(SHARED / "cifar10.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return sum(path.suffix == ".jpg" for path in folder.rglob("*"))


def _decode(paths: list[Path]) -> int:
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.convert("RGB")
    return len(paths)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _measure(root: Path, what: str, write: Callable[[Path], int]) -> None:
    count = write(root / "images")
    spec = DataSpec(source="files", path="images", resolution=32)
    raw, facts = root / "raw", root / "facts"
    came_in = ingest(spec, root, raw)
    show(f"{what}: ingest", count / came_in.seconds, "images/s")
    show("  the same", came_in.total_bytes / came_in.seconds / 1e6, "MB/s")
    workers = len(os.sched_getaffinity(0))
    paths = sorted(path for path in (root / "images").rglob("*") if path.is_file())
    parts = [paths[n :: 4 * workers] for n in range(4 * workers)]
    plain, ours, prepared = [], [], []
    table = collect(raw)  # starts what processes are forked from
    write_facts(facts / FACTS, table)
    write_json(facts / VERDICT, {"success": True})
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_decode, [[]] * workers))
        for _ in range(ROUNDS):
            plain.append(_timed(lambda: list(pool.map(_decode, parts))))
            ours.append(_timed(lambda: collect(raw)))
            prepared.append(_timed(lambda: prepare(raw, facts, spec, root / "train")))
    show(f"{what}: plain Pillow, all processors", count / statistics.median(plain), "images/s")
    for name, taken in (("facts", ours), ("prepare", prepared)):
        share = statistics.median(one / other for one, other in zip(plain, taken, strict=True))
        rate = count / statistics.median(taken)
        show(f"{what}: {name}", rate, "images/s", f"{share:.0%} of plain Pillow")


def main() -> None:
    """Print images per second of ingest, facts and prepare for PNGs and JPEGs, small and large."""
    sets = [("64 px PNG", _write_stickers), ("640 px JPEG", _write_photos)]
    if SHARED.exists():
        sets.append(("CIFAR-10, 32 px JPEG", _write_cifar10))
    for what, write in sets:
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), what, write)
