"""What determines a training, as one key: the folder that holds its checkpoints is named by it.

The same recipe, data and start resume in the same folder; anything else begins in another, so a
checkpoint can never be resumed under parameters that it was not made with.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from gan.durable import read_json
from gan.errors import RecipeError
from gan.paths import Layout
from gan.recipe import Recipe


def start_digest(layout: Layout, recipe: Recipe) -> str | None:
    """Return the digest of the bundle that training starts from, or None for scratch.

    Raises:
        RecipeError: The pin is missing.
    """
    pin = layout.pin(recipe.name)
    if not pin.exists():
        raise RecipeError(
            f"{pin}: missing; it says which bundle the training starts from. "
            'Write {"bundle": null} into it to start from scratch.'
        )
    digest: str | None = read_json(pin)["bundle"]
    return digest if recipe.train.start == "champion" else None


def run_folder(layout: Layout, recipe: Recipe) -> Path:
    """Return the folder of the training that recipe, prepared data and pin ask for.

    Raises:
        DamagedError: The data are not prepared.
        RecipeError: The pin is missing.
    """
    meta = read_json(layout.train_data(recipe.name) / "meta.json")
    facts: dict[str, Any] = {
        "model": recipe.model.model_dump(),
        "train": recipe.train.model_dump(),
        "data": meta["digest"],
        "start": start_digest(layout, recipe),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return layout.run(recipe.name) / key
