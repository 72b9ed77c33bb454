"""Data versions for the tests: real images packed, looked at, prepared and recorded, without DVC.

A version is made of files by key; what a stage would have written is written by the same code.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from flows.datasets import catalog, croissant, data_card
from flows.datasets.catalog import DatasetRecord
from gan.durable import sha256, write_json, write_sums
from gan.image.dataset import Meta, prepare
from gan.image.facts import FACTS, VERDICT, collect, write_facts
from gan.image.glyphs import draw
from gan.image.packing import Packer
from gan.image.shards import Entry, write_index
from gan.image.similar import mark_near
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import DataSpec

COUNT = 700  # enough that some are held out
PARAMS = """\
# our recipes
recipes:
  pets:   # the first
    data: {source: files, path: images, licence: "CC0", contract: {max_near_duplicate_share: null}}
    schedule:
      retrain: "0 3 * * *"   # at night
  other:
    data:
      source: files
      path: others   # somebody else's
"""


def recipe_of(name: str, **data: Any) -> Recipe:
    """Return a recipe of files; `data` are keys of its data section."""
    given = {"source": "files", "path": "images", "licence": "CC0 1.0", **data}
    return Recipe(name=name, data=DataSpec.model_validate(given))


def drawings(count: int = COUNT) -> dict[str, bytes]:
    """Return PNG files of drawn stickers by key, a folder a class."""
    return {f"{each.label}/{n:04d}.png": each.payload for n, each in enumerate(draw(count, 1))}


def again(payload: bytes, file_format: str, **options: Any) -> bytes:
    """Return the same picture as another file."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(payload)) as image:
        image.convert("RGB").save(file, file_format, **options)
    return file.getvalue()


def keep(layout: Layout, recipe: Recipe, files: Mapping[str, bytes], day: int = 1) -> DatasetRecord:
    """Make a data version of some files and record it, as of a day of November."""
    raw, facts, train = (
        layout.raw(recipe.name), layout.facts(recipe.name), layout.train_data(recipe.name)
    )  # fmt: skip
    raw.mkdir(parents=True, exist_ok=True)
    digests = {key: hashlib.sha256(payload).hexdigest() for key, payload in files.items()}
    packer = Packer(raw)
    packer.pack((digests[key], payload) for key, payload in files.items())
    packer.settle(set(digests.values()))
    entries = [Entry(key, key.partition("/")[0], "", "", digests[key]) for key in files]
    write_index(raw, entries, packer.places, recipe.data.path, recipe.data.licence)
    packer.sweep()
    seen = collect(raw, 1, channels=recipe.data.channels)
    frame = mark_near(seen, recipe.data.near_distance, recipe.data.near_duplicates)
    write_facts(facts / FACTS, frame)
    write_json(facts / VERDICT, {"success": True})
    return _record(layout, recipe, prepare(raw, facts, recipe.data, train, 1), day)


def _record(layout: Layout, recipe: Recipe, meta: Meta, day: int) -> DatasetRecord:
    folder, home = layout.dataset(recipe.name, meta.digest), layout.raw(recipe.name).parent
    paths = [path for path in sorted(home.rglob("*")) if path.is_file()]
    sums = {path.relative_to(home).as_posix(): sha256(path) for path in paths}
    write_json(folder / catalog.SUMS, sums)
    frame = pd.read_parquet(layout.facts(recipe.name) / FACTS)
    frame.to_parquet(folder / catalog.FACTS)
    frame[list(catalog.MANIFEST_COLUMNS)].to_parquet(folder / catalog.MANIFEST)
    data_card.write_card(layout, recipe, folder, frame, meta)
    described = croissant.croissant(layout, recipe, folder, frame, meta)
    write_json(folder / catalog.CROISSANT, described)
    tables = (catalog.MANIFEST, catalog.FACTS, catalog.SUMS)
    made = DatasetRecord(
        recipe=recipe.name,
        digest=meta.digest,
        created_utc=f"2026-11-{day:02d}T00:00:00+00:00",
        images=len(frame),
        accepted=meta.count,
        classes=dict.fromkeys(meta.classes, 1),
        source=recipe.data.path,
        licence=recipe.data.licence,
        dvc={},
        git_revision="",
        params=recipe.data.model_dump(mode="json"),
        previous=None,
        files={name: sha256(folder / name) for name in tables},
        folder=folder,
    )
    said = asdict(made)
    del said["folder"]
    write_json(folder / catalog.RECORD, {"format": 1, **said})
    return made


def bundle(folder: Path, data_digest: str, start: str | None, recipe: str = "pets") -> str:
    """Write a folder of a bundle's form that says what it was made of; return its digest."""
    folder.mkdir(parents=True)
    card = {"recipe": recipe, "data_digest": data_digest, "start_digest": start}
    write_json(folder / "card.json", card)
    return write_sums(folder)
