"""What `ganmill init` does: look at somebody's images and propose a recipe that fits them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pins import write_pin
from gan.errors import SourceError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe, add_recipe, check_name, load_recipes
from gan.split import LEAST_IMAGES

if TYPE_CHECKING:
    from gan.image.sources import SourceSummary

_LEAST_IMAGES = 20  # fewer cannot be split for the extractor, nor measured
_SIZES_PX = (16, 28, 32)  # what two cores train in minutes; `--resolution` asks for more
_TRANSPARENT_SHARE = 0.5  # from here on alpha belongs to the images, below it to odd ones
_BATCH = 16  # short trainings want many steps: at 20 kimg, 16 beat 32 and 64 by far
_LABEL_COLUMNS = ("label", "class", "category")


def propose(  # the options of `ganmill init`
    layout: Layout,
    name: str,
    images: Path,
    *,
    label: str | None,
    resolution: int | None,
    kimg: float,
    licence: str,
    background: str | None,
    pixel_art: bool,
) -> "tuple[Recipe, SourceSummary]":
    """Add a recipe for a folder or archive of images; return it and what was seen.

    Mostly transparent images keep their alpha, unless a background to lay them on is given.

    Raises:
        RecipeError: The name is taken or not allowed, or an option is impossible.
        SourceError: The images are missing, unreadable, or fewer than 20.
    """
    from gan.image.sources import inspect

    check_name(name, layout.params)
    if name in load_recipes(layout.params):
        raise UsageError(
            f"params.yaml: recipe {name!r} is there already. Choose another name, or edit it."
        )
    seen = inspect(images, label or "folder")
    if label is None and (column := _label_column(seen)):
        label, seen = column, inspect(images, column)
    if seen.count < _LEAST_IMAGES:
        raise SourceError(
            f"{images}: {seen.count} images; at least {_LEAST_IMAGES} are needed. Add images."
        )
    section = _section(seen, images, label or "folder", resolution, pixel_art=pixel_art)
    section["data"]["licence"] = licence
    if background is not None:
        section["data"]["background"] = background
    elif seen.transparent >= _TRANSPARENT_SHARE:
        section["data"]["channels"] = 4
    section["train"] = {"budget": {"kimg": kimg}, **section["train"]}
    recipe = add_recipe(layout.params, name, section)
    write_pin(layout, name, None)
    return recipe, seen


def _label_column(seen: "SourceSummary") -> str | None:
    return next((column for column in _LABEL_COLUMNS if column in seen.columns), None)


def _section(
    seen: "SourceSummary", images: Path, label: str, resolution: int | None, *, pixel_art: bool
) -> dict[str, Any]:
    """Return a recipe's section with sizes, classes and contract read from the images."""
    smallest = min(seen.labels.values())
    filters = "nearest" if pixel_art else "lanczos"
    data = {
        "source": "files",
        "path": str(images.resolve()),
        "label_from": label,
        "resolution": resolution or _resolution(min(seen.width_px, seen.height_px)),
        "channels": 1 if set(seen.modes) <= {"L", "LA", "1"} else 3,
        "resize": filters,
        "contract": {
            "min_images": max(2, seen.count * 4 // 5),
            "min_images_per_class": max(1, smallest // 2),
        },
    }
    batch = min(_BATCH, seen.count // 4 * 4)
    train = {"start": "champion", "seed": 1, "batch_size": batch}
    samples = max(200, min(5000, seen.count))
    # Copies are looked for beside images that training never saw; few images have none to spare.
    gate = {} if seen.count >= LEAST_IMAGES else {"gate": {"memorisation": False}}
    return {
        "data": data,
        "model": {"preset": "tiny"},
        "train": train,
        "evaluate": {"samples": samples},
        **gate,
        "assets": {"upscale": filters},
    }


def _resolution(side_px: int) -> int:
    """Return the largest size that the images fill, 16, 28 or 32 px."""
    return max([size for size in _SIZES_PX if size <= side_px], default=_SIZES_PX[0])
