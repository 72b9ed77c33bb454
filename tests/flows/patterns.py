"""A small world for the gate: 16 px patterns of two classes, prepared, with a pinned extractor.

It takes a second or two to furnish; models of it are untrained, which is enough to be compared.
"""

import hashlib
import json

import numpy as np

from gan.durable import sha256, write_json, write_sums
from gan.image.dataset import open_dataset
from gan.metrics.domain import train_extractor
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import AssetsSpec, DataSpec, EvaluateSpec, GateSpec

CLASSES = ["bars", "dots"]
SIDE_PX = 16
# Any model passes that is about as good as the champion: what is tried here is not the limits.
LAX = GateSpec(
    max_fd_share=1.0, margin=1.0, diversity=1.0, worst_class=1.0, resources=1000.0, min_accepted=0.0
)


def recipe_of(name: str, gate: GateSpec = LAX) -> Recipe:
    """Return a recipe of the patterns that measures little."""
    return Recipe(
        name=name,
        data=DataSpec(source="files", path="patterns", resolution=16),
        evaluate=EvaluateSpec(samples=200),
        gate=gate,
        assets=AssetsSpec(count=8, size_px=32),
    )


def furnish(layout: Layout, recipe: str, count: int = 700) -> None:
    """Write prepared images, of under 640 of which none is held out, and a pinned extractor.

    Programs of their own read `params.yaml`: it asks for the data and the assets of `recipe_of`.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    data = "{source: files, path: patterns, resolution: 16}"
    section = f"{{data: {data}, assets: {{count: 8, size_px: 32}}}}"
    layout.params.write_text(f"recipes:\n  {recipe}: {section}\n")
    folder = layout.train_data(recipe)
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    labels = (np.arange(count) % len(CLASSES)).astype(np.int64)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    patterns = [(y // 4) % 2, (y % 8 < 3) & (x % 8 < 3)]
    images = np.empty((count, 3, SIDE_PX, SIDE_PX), np.uint8)
    for image, label in zip(images, labels, strict=True):
        ink, paper = random.integers(0, 256, (2, 3, 1, 1))
        shift = tuple(random.integers(0, 8, 2))
        image[:] = np.where(np.roll(patterns[label], shift, (0, 1)), ink, paper)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "groups.npy", np.arange(len(labels)))
    sums = [sha256(folder / name) for name in ("images.npy", "labels.npy")]
    digest = hashlib.sha256(json.dumps([*sums, CLASSES]).encode()).hexdigest()
    meta = {"classes": CLASSES, "resolution": SIDE_PX, "channels": 3, "count": count}
    write_json(folder / "meta.json", {**meta, "digest": digest, "keys_sha256": "0" * 64})
    write_sums(folder)
    train_extractor(open_dataset(folder), layout.extractor(recipe), seed=1, images_shown=1280)
