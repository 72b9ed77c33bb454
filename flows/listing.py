"""Look what is at a recipe's address, or in its torchvision set, before DVC asks what changed.

DVC watches files. Images elsewhere are watched through `models/<recipe>/source.json`, which says
in a few words which files are meant (`gan.image.listings`). It is written only when they changed,
so that a recipe whose source is as it was does nothing; and it is in git, so that another machine
brings in the same images or says that it cannot.
"""

from dataclasses import dataclass
from pathlib import Path

from gan.durable import write_json
from gan.errors import RecipeError
from gan.image.listings import Pin, look, read_pin
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import DataSpec


@dataclass(frozen=True)
class Refreshed:
    """What a look at the source found; `note` is one line for a log."""

    changed: bool
    note: str


def refresh(layout: Layout, recipe: Recipe, *, download: bool = False) -> Refreshed | None:
    """Pin what a recipe's source holds now; None for sources that DVC watches itself.

    Args:
        layout: The workspace.
        recipe: The recipe.
        download: Let torchvision fetch its set when it is not here.

    Raises:
        RecipeError: `data.path` is some other file, or lies outside of the workspace.
        SourceError: Nothing is there, or it may not be read.
        ServiceError: Nobody answers; what was pinned stays.
    """
    if recipe.data.source not in {"url", "torchvision"}:
        return None
    path = _pin_path(layout, recipe)
    before = read_pin(path) if path.exists() else None
    now = found_at(layout, recipe.data, download=download)
    if now == before:
        return Refreshed(changed=False, note=f"{now.source}: as it was, {now.files:,} files")
    write_json(path, now.document())
    was = f", {before.files:,} before" if before else ""
    return Refreshed(changed=True, note=f"{now.source}: {now.files:,} files{was}")


def found_at(layout: Layout, data: DataSpec, *, download: bool) -> Pin:
    """Return what a `url` or `torchvision` source holds now.

    Raises:
        SourceError: Nothing is there, or it may not be read.
        ServiceError: Nobody answers.
    """
    if data.source == "url":
        return look(data.url or "").pin()
    from gan.image import torchvision_sets

    name = data.dataset or ""
    if download and not torchvision_sets.is_there(name, layout.root):
        torchvision_sets.fetch(name, layout.root)
    return torchvision_sets.pin(name, layout.root)


def _pin_path(layout: Layout, recipe: Recipe) -> Path:
    """Return where the pin of a recipe is; it is written without a question, so it must be ours."""
    path = layout.root / recipe.data.path
    wanted = layout.source_listing(recipe.name)
    if path.resolve() != wanted.resolve():
        raise RecipeError(
            f"params.yaml: recipes.{recipe.name}.data.path is {recipe.data.path!r}, but a source "
            f"elsewhere is pinned in {wanted.relative_to(layout.root)}. Write that."
        )
    return path
