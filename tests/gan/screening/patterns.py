"""Prepared images of three patterns in any two colours, to be copied, and new ones beside them."""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.durable import sha256, write_json, write_sums

CLASSES = ["bars", "checks", "dots"]
SIDE_PX = 16

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def drawn(count: int, seed: int) -> tuple[Images, Labels]:
    """Return images uint8 [count, 3, 16, 16] and their classes, no two alike."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    images = np.empty((count, 3, SIDE_PX, SIDE_PX), np.uint8)
    for image, label in zip(images, labels, strict=True):
        ink = random.integers(0, 120, (3, 1, 1))
        paper, shade = random.integers(136, 256, (2, 3, 1, 1))
        top, left = random.integers(0, 8, 2)
        patterns = [
            ((y + top) // 4) % 2,
            ((x + left) // 4 + (y + top) // 4) % 2,
            ((y + top) % 8 < 4) & ((x + left) % 8 < 4),
        ]
        light = x * random.uniform(-1, 1) + y * random.uniform(-1, 1)  # tells left from right
        image[:] = np.where(patterns[label], ink, paper + (shade - paper) * np.abs(light) / 32)
    return images, labels


def write_prepared(folder: Path, images: Images, labels: Labels) -> str:
    """Write what `prepare` writes, each image in a group of its own; return the data digest."""
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "groups.npy", np.arange(len(labels)))
    sums = [sha256(folder / f"{name}.npy") for name in ("images", "labels")]
    digest = hashlib.sha256(json.dumps([*sums, CLASSES]).encode()).hexdigest()
    meta = {"count": len(labels), "digest": digest, "classes": CLASSES, "channels": 3}
    write_json(folder / "meta.json", {**meta, "resolution": SIDE_PX, "keys_sha256": "0" * 64})
    write_sums(folder)
    return digest
