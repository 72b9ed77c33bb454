"""What one image and one asset cost a processor, and what lies on disk for each: for `SCALE.md`.

One thread, in seconds of the processor, since a busy machine changes these less than the clock's.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan.assets.batch import Marks, in_turn, mint
from gan.assets.manifest import read_rows, verify
from gan.assets.request import Request
from gan.bundle import open_bundle
from gan.durable import write_json
from gan.image.dataset import open_dataset, prepare
from gan.image.facts import FACTS, VERDICT, collect, write_facts
from gan.image.sources import ingest
from gan.marking.identity import Signing
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import load_extractor
from gan.metrics.reading import read_portions
from gan.metrics.sampling import generated_portions, real_portions
from gan.screening.references import References
from gan.sections import CampaignSpec, DataSpec, EvaluateSpec
from tests.benchmarks.figures import show

_SHIPPED = Path(__file__).parents[2] / "gan" / "shipped" / "stickers"
_PHOTOS, _PHOTO_PX = 400, 640
_STICKERS = 11_200  # as the shipped model was trained on: so its screens look for copies
_SAMPLES = 2_000
_ASSETS = 256


def main() -> None:
    """Print the figures."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _photos(Path(folder) / "photos")
            _stickers(Path(folder) / "stickers")
            _assets(Path(folder) / "assets", Path(folder) / "stickers")
    finally:
        torch.set_num_threads(threads)


def _spent(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _each(what: str, seconds: float, count: int) -> None:
    show(what, 1e3 * seconds / count, "ms", f"{count / seconds:.3g} a second and processor")


def _data(root: Path, spec: DataSpec, what: str) -> None:
    """Print what the three stages of the data cost an image."""
    raw, facts = root / "raw", root / "facts"
    came = _spent(lambda: ingest(spec, root, raw))
    table = collect(raw, 1)
    count = len(table)
    _each(f"{what}: ingest, an image", came, count)
    _each(f"{what}: facts, an image", _spent(lambda: collect(raw, 1)), count)
    write_facts(facts / FACTS, table)
    write_json(facts / VERDICT, {"success": True})
    _each(
        f"{what}: prepare, an image",
        _spent(lambda: prepare(raw, facts, spec, root / "train", 1)),
        count,
    )
    for name, path in (("in raw/", raw), ("facts", facts)):
        show(f"{what}: {name}, an image", _size(path) / count, "bytes")


def _photos(root: Path) -> None:
    """Measure JPEGs as large to decode as photos."""
    random = np.random.default_rng(1)
    (root / "images").mkdir(parents=True)
    for n in range(_PHOTOS):
        small = random.integers(0, 256, (40, 40, 3), np.uint8)
        picture = Image.fromarray(small).resize((_PHOTO_PX, _PHOTO_PX))
        picture.save(root / "images" / f"{n:04d}.jpg", quality=90)
    _data(root, DataSpec(source="files", path="images", resolution=32), "640 px JPEG")


def _stickers(root: Path) -> None:
    """Measure the images of the recipe `stickers`, and what evaluating its shipped model costs."""
    root.mkdir(parents=True)
    glyphs = {"source": "glyphs", "path": "none", "glyphs": {"count": _STICKERS, "seed": 1}}
    _data(root, DataSpec.model_validate({**glyphs, "resolution": 32}), "stickers")
    data = open_dataset(root / "train")
    train_extractor(data, root / "extractor", 1, lambda _: None, images_shown=1280)
    extractor = load_extractor(root / "extractor")
    bundle = open_bundle(_SHIPPED)
    drawn = generated_portions(bundle, data, EvaluateSpec(samples=_SAMPLES))
    list(read_portions(drawn[:1], data, extractor))  # loads the model
    taken = _spent(lambda: list(read_portions(drawn, data, extractor)))
    _each("stickers: evaluation, a sample drawn and read", taken, _SAMPLES)
    real = real_portions(np.arange(len(data)))
    taken = _spent(lambda: list(read_portions(real, data, extractor)))
    _each("stickers: evaluation, a real image read", taken, len(data))


def _assets(root: Path, stickers: Path) -> None:
    """Measure a batch of 256 px PNGs, its screens asked against the stickers."""
    first, request = (
        Request("stickers", CampaignSpec(count=count, size_px=256), "fleet")
        for count in (16, _ASSETS)
    )
    marks = Marks(Signing(root / "signing"))
    references = References(stickers / "extractor", stickers / "train", root / "store")
    made = partial(
        mint,
        open_bundle(_SHIPPED),
        destination=root / "batches",
        marks=marks,
        references=references,
        run=in_turn,
        progress=lambda _: None,
    )
    made(request=first)  # the limits of the screens are found once for a model
    began = time.process_time()
    minted = made(request=request)
    _each("256 px PNG: minted, an asset", time.process_time() - began, minted.accepted)
    _each("256 px PNG: verified, an asset", _spent(lambda: verify(minted.folder)), minted.accepted)
    rows = read_rows(minted.folder / "manifest.jsonl")
    files = sum(len(row.files) for row in rows)
    show("256 px PNG: its batch on disk, an asset", _size(minted.folder) / files, "bytes")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
