"""A small mill without its stages: prepared stickers, a pinned extractor, bundles of known quality.

The bundles are the shipped stickers model with noise on its weights: the more, the worse.
"""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from gan.bundle import Bundle, open_bundle, pack
from gan.durable import sha256, write_json, write_sums
from gan.image.dataset import open_dataset
from gan.image.glyphs import draw
from gan.metrics.domain import train_extractor
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import DataSpec, EvaluateSpec, GateSpec, GlyphsSpec

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "gan/shipped/stickers"
IMAGES = 700  # enough that some are held out


def recipe_of(name: str, **gate: object) -> Recipe:
    """Return a recipe of the drawn stickers that measures little; `gate` are keys of its gate."""
    return Recipe(
        name=name,
        data=DataSpec(source="glyphs", path="gan/image/glyphs.py", glyphs=GlyphsSpec(count=IMAGES)),
        evaluate=EvaluateSpec(samples=420),
        gate=GateSpec.model_validate({"resources": None, "approval": "person", **gate}),
    )


def furnish(layout: Layout, recipe: str) -> None:
    """Write prepared images and a pinned extractor that was trained for a moment."""
    folder = layout.train_data(recipe)
    folder.mkdir(parents=True)
    drawings = list(draw(IMAGES, 1))
    classes = sorted({drawing.label for drawing in drawings})
    images = np.stack([_pixels(drawing.payload) for drawing in drawings])
    labels = np.array([classes.index(drawing.label) for drawing in drawings], np.int64)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "groups.npy", np.arange(len(labels)))
    sums = [sha256(folder / name) for name in ("images.npy", "labels.npy")]
    digest = hashlib.sha256(json.dumps([*sums, classes]).encode()).hexdigest()
    meta = {"classes": classes, "resolution": 32, "channels": 3, "count": IMAGES, "digest": digest}
    write_json(folder / "meta.json", {**meta, "keys_sha256": "0" * 64})
    write_sums(folder)
    train_extractor(open_dataset(folder), layout.extractor(recipe), seed=1, images_shown=12_800)


def noisy(folder: Path, noise: float, *, seed: int = 1, **card: object) -> Bundle:
    """Return a bundle of the shipped model with noise of so many spreads on each weight."""

    def shake(network: nn.Module) -> None:
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(noise * weight.std(correction=0) * torch.randn(weight.shape))

    return altered(folder, shake, seed=seed, **card)


def altered(
    folder: Path, change: Callable[[nn.Module], None], *, seed: int = 1, **card: object
) -> Bundle:
    """Return a bundle of the shipped model whose generator was changed, and keys of its card."""
    shipped = open_bundle(SHIPPED)
    generator = shipped.generator()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        change(generator)
    told = shipped.card.model_copy(update={"seed": seed, **card})
    return pack(folder, generator, shipped.critic(), told)


def _pixels(payload: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(payload)) as image:
        small = image.convert("RGB").resize((32, 32), Image.Resampling.LANCZOS)
    return np.asarray(small).transpose(2, 0, 1)
