"""What determines a training, as one key: the folder that holds its checkpoints is named by it.

The same recipe, data and start resume in the same folder; anything else begins in another, so a
checkpoint can never be resumed under parameters that it was not made with.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from gan.durable import read_json
from gan.errors import DamagedError, RecipeError
from gan.paths import Layout
from gan.recipe import Recipe

_DIGEST = re.compile("[0-9a-f]{64}")


def start_digest(layout: Layout, recipe: Recipe) -> str | None:
    """Return the digest of the bundle that training starts from, or None for scratch.

    Raises:
        RecipeError: The pin is missing, or names no bundle.
    """
    pin = layout.pin(recipe.name)
    if not pin.exists():
        raise RecipeError(
            f"{pin}: missing; it says which bundle the training starts from. "
            'Write {"bundle": null} into it to start from scratch.'
        )
    content = read_json(pin)
    digest = content.get("bundle", "") if isinstance(content, dict) else ""
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise RecipeError(
            f'{pin}: must hold {{"bundle": null}} or {{"bundle": "64 hex digits of a digest"}}.'
        )
    return digest if recipe.train.start == "champion" else None


def run_folder(layout: Layout, recipe: Recipe) -> Path:
    """Return the folder of the training that recipe, prepared data and pin ask for.

    Raises:
        DamagedError: The data are not prepared.
        RecipeError: The pin is missing.
    """
    path = layout.train_data(recipe.name) / "meta.json"
    meta = read_json(path)
    if not isinstance(meta, dict) or "digest" not in meta:
        raise DamagedError(f"{path}: has no digest. Prepare the data again.")
    facts: dict[str, Any] = {
        "model": recipe.model.model_dump(),
        "train": recipe.train.model_dump(),
        "data": meta["digest"],
        "start": start_digest(layout, recipe),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return layout.run(recipe.name) / key
