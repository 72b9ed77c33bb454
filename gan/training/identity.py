"""What determines a training, as one key: the folder that holds its checkpoints is named by it.

The same recipe, data and start resume in the same folder; anything else belongs in another, so a
checkpoint can never be resumed under parameters that it was not made with. While a training has
not ended, another of the same recipe is refused by name instead of being started beside it.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

from gan.durable import read_json, write_json
from gan.errors import DamagedError, RecipeError
from gan.paths import Layout
from gan.recipe import Recipe

RECORD = "training.json"
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


def determinants(layout: Layout, recipe: Recipe) -> dict[str, Any]:
    """Return what decides a training's weights: by dotted key of the recipe, `data`, `start`.

    The budget is not among them: a longer one goes on where the shorter ended. Nor is how many
    processes share a batch, nor how often it may be rolled back.

    Raises:
        DamagedError: The data are not prepared.
        RecipeError: The pin is missing.
    """
    path = layout.train_data(recipe.name) / "meta.json"
    meta = read_json(path)
    if not isinstance(meta, dict) or "digest" not in meta:
        raise DamagedError(f"{path}: has no digest. Prepare the data again.")
    train = recipe.train.model_dump(exclude={"budget", "gpus", "max_rollbacks"})
    return {
        **{f"model.{key}": value for key, value in recipe.model.model_dump().items()},
        **{f"train.{key}": value for key, value in train.items()},
        "data": meta["digest"],
        "start": start_digest(layout, recipe),
    }


def run_folder(layout: Layout, recipe: Recipe) -> Path:
    """Return the folder of the training that recipe, prepared data and pin ask for.

    Raises:
        DamagedError: The data are not prepared.
        RecipeError: The pin is missing.
    """
    text = json.dumps(determinants(layout, recipe), sort_keys=True)
    return layout.run(recipe.name) / hashlib.sha256(text.encode()).hexdigest()[:12]


def unfinished(layout: Layout, recipe: Recipe) -> dict[str, Any] | None:
    """Return the record of the recipe's training that was begun last and has not ended, if any."""
    records = []
    for path in layout.run(recipe.name).glob(f"*/{RECORD}"):
        record = read_json(path)
        if record["state"] == "begun" and is_stopped(path.parent):
            records.append((path.stat().st_mtime_ns, {**record, "folder": path.parent}))
    return max(records, key=lambda each: each[0])[1] if records else None


def is_stopped(folder: Path) -> bool:
    """Return whether a training has something in `folder` to go on from, and has not ended."""
    record = read_json(folder / RECORD) if (folder / RECORD).exists() else {"state": "ended"}
    return record["state"] != "ended" and any(folder.glob("checkpoint-*.ckpt"))


def begin(layout: Layout, recipe: Recipe) -> Path:
    """Note that a training begins or goes on, and return its folder.

    Raises:
        RecipeError: Another training of the recipe has not ended; what differs is named.
    """
    facts, folder = determinants(layout, recipe), run_folder(layout, recipe)
    other = unfinished(layout, recipe)
    if other is not None and other["folder"] != folder:
        raise RecipeError(_refusal(recipe.name, other, facts))
    write_json(folder / RECORD, {"state": "begun", "determinants": facts})
    return folder


def end(folder: Path, state: Literal["ended", "set aside"]) -> None:
    """Note that a training ended, or is left as it is in favour of another."""
    write_json(folder / RECORD, {**read_json(folder / RECORD), "state": state})


def set_aside(layout: Layout, recipe: Recipe) -> Path | None:
    """Leave an unfinished training of other parameters as it is; return its folder if any.

    Nothing is deleted: with its data and parameters back, the same command resumes it.
    """
    other = unfinished(layout, recipe)
    if other is None or other["folder"] == run_folder(layout, recipe):
        return None
    end(other["folder"], "set aside")
    return Path(other["folder"])


def _refusal(recipe: str, other: dict[str, Any], facts: dict[str, Any]) -> str:
    """Say what differs between an unfinished training and the one asked for."""
    before = other["determinants"]
    differing = [key for key in sorted({*before, *facts}) if before.get(key) != facts.get(key)]
    found = "; ".join(
        f"{key} was {_shown(before.get(key))}, is {_shown(facts.get(key))}" for key in differing
    )
    newest = max(path.name for path in other["folder"].glob("checkpoint-*.ckpt"))
    kimg = int(newest.removeprefix("checkpoint-").removesuffix(".ckpt")) / 1000
    return (
        f"train {recipe}: a training that stopped at {kimg:.1f} kimg is not resumed with other "
        f"data or parameters ({found}). Put that back and run the same command, or leave it and "
        f"start anew: ganmill retrain {recipe} --fresh"
    )


def _shown(value: Any) -> str:
    return value[:12] if isinstance(value, str) and _DIGEST.fullmatch(value) else repr(value)
