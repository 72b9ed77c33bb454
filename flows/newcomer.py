"""What `ganmill init` does: look at somebody's images and propose a recipe that fits them."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.listing import found_at
from flows.pins import write_pin
from gan.durable import write_json
from gan.errors import SourceError, UsageError
from gan.image.addresses import is_address
from gan.image.listings import Pin, look
from gan.paths import Layout
from gan.recipe import Recipe, add_recipe, check_name, load_recipes
from gan.sections import DataSpec
from gan.split import LEAST_IMAGES

if TYPE_CHECKING:
    from gan.image.members import Member, Survey
    from gan.image.sources import SourceSummary

_LEAST_IMAGES = 20  # fewer cannot be split for the extractor, nor measured
_SIZES_PX = (16, 28, 32)  # what two cores train in minutes; `--resolution` asks for more
_TRANSPARENT_SHARE = 0.5  # from here on alpha belongs to the images, below it to odd ones
_BATCH = 16  # short trainings want many steps: at 20 kimg, 16 beat 32 and 64 by far
_LABEL_COLUMNS = ("label", "class", "category", "cls")
# Of these a mirror image is as good as the image, which doubles them; of digits, letters and
# clothes (shoes that all point to the left) it is not.
_MIRRORED = frozenset({"CIFAR10", "CIFAR100", "STL10", "EuroSAT", "Flowers102", "Food101", "DTD"})
_SHORT_NAMES = {"fashion": "FashionMNIST", "flowers": "Flowers102", "food": "Food101"}


@dataclass(frozen=True)
class _Source:
    """Images that were found: how a recipe names them, how to read them, what pins them."""

    shown: str
    data: dict[str, Any]
    read: "Callable[[Survey], Iterator[Member]]"
    pin: Pin | None = None


def propose(
    layout: Layout,
    name: str,
    images: str,
    *,
    label: Sequence[str] = (),
    group: str | None = None,
    resolution: int | None = None,
    kimg: float = 40.0,
    licence: str = "unknown",
    background: str | None = None,
    pixel_art: bool = False,
) -> "tuple[Recipe, SourceSummary]":
    """Add a recipe for somebody's images; return it and what was seen.

    Mostly transparent images keep their alpha, unless a background to lay them on is given.

    Args:
        layout: The workspace.
        name: Of the new recipe.
        images: A folder, archive, parquet file or WebDataset, or the address of one.
        label: "folder", "none", or columns: each combination of their values is a class. Not
            given, a column `label`, `class`, `category` or `cls` is taken, else the folder.
        group: The column that says which images belong together.
        resolution: In pixels; not given, the largest of 16, 28, 32 that the images fill.
        kimg: Training budget in thousands of images.
        licence: Under which the images are.
        background: "#rrggbb".
        pixel_art: Never smooth them.

    Raises:
        RecipeError: The name is taken or not allowed, or an option is impossible.
        SourceError: The images are missing, unreadable, or fewer than 20.
        ServiceError: Nobody answers at the address.
    """
    _check_name(layout, name)
    with _opened(layout, name, images) as source:
        seen, label_from = _look_through(source, label, group)
    section = _section(seen, source, label_from, resolution, pixel_art=pixel_art)
    section["data"]["licence"] = licence
    if group is not None:
        section["data"]["group_from"] = group
    if background is not None:
        section["data"]["background"] = background
    elif seen.transparent >= _TRANSPARENT_SHARE:
        section["data"]["channels"] = 4
    section["train"] = {"budget": {"kimg": kimg}, **section["train"]}
    return _add(layout, name, section, source), seen


def propose_from(
    layout: Layout,
    name: str,
    known: str,
    *,
    images: str | None = None,
    resolution: int | None = None,
    kimg: float = 40.0,
    licence: str | None = None,
    download: bool = False,
) -> "tuple[Recipe, SourceSummary]":
    """Add a recipe for a set that torchvision knows; return it and what was seen.

    Args:
        layout: The workspace.
        name: Of the new recipe.
        known: Which set, in torchvision's word for it or a shorter one: cifar10, fashion.
        images: Where its images are when they are not to come from torchvision, as in `propose`.
        resolution: In pixels; not given, the largest of 16, 28, 32 that the images fill.
        kimg: Training budget in thousands of images.
        licence: Not given, the set's.
        download: Let torchvision fetch it when it is not here.

    Raises:
        RecipeError: The name is taken or not allowed, or an option is impossible.
        UsageError: The set is not one of those that are known.
        SourceError: The set is not here, and not to be fetched; or as `propose` does.
        ServiceError: It cannot be fetched.
    """
    from gan.image.torchvision_sets import SETS

    dataset = _known(known, list(SETS))
    _check_name(layout, name)
    opened = (
        _opened(layout, name, images)
        if images is not None
        else _open_set(layout, name, dataset, download=download)
    )
    with opened as source:
        seen, label_from = _look_through(source, (), None)
    section = _section(seen, source, label_from, resolution, pixel_art=False)
    section["data"]["licence"] = licence or SETS[dataset].licence
    section["train"] = {"budget": {"kimg": kimg}, **section["train"]}
    section["train"]["flip"] = dataset in _MIRRORED
    return _add(layout, name, section, source), seen


def _check_name(layout: Layout, name: str) -> None:
    check_name(name, layout.params)
    if name in load_recipes(layout.params):
        raise UsageError(
            f"params.yaml: recipe {name!r} is there already. Choose another name, or edit it."
        )


def _known(word: str, sets: list[str]) -> str:
    """Return torchvision's name of a set."""
    names = {name.lower(): name for name in sets} | _SHORT_NAMES
    plain = word.lower().replace("-", "").replace("_", "")
    if plain not in names:
        close = difflib.get_close_matches(plain, names, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(
            f"--from {word}: not known; known are {', '.join(sorted(names))}.{meant} Other images "
            "come in with --images."
        )
    return names[plain]


@contextmanager
def _opened(layout: Layout, name: str, images: str) -> "Iterator[_Source]":
    """Yield what is at a path or an address, and the recipe's words for it."""
    if is_address(images):
        from gan.image.remote import opened

        listing = look(images)
        path = str(layout.source_listing(name).relative_to(layout.root))
        data = {"source": "url", "path": path, "url": images}
        with opened(listing) as read:
            yield _Source(listing.address.shown, data, read, listing.pin())
    else:
        from gan.image.reading import read_members

        place = Path(images).expanduser()
        data = {"source": "files", "path": str(place.resolve())}
        yield _Source(str(place), data, partial(read_members, place))


@contextmanager
def _open_set(layout: Layout, name: str, dataset: str, *, download: bool) -> "Iterator[_Source]":
    """Yield a set of torchvision, fetched if that was asked for."""
    from gan.image.torchvision_sets import members

    path = str(layout.source_listing(name).relative_to(layout.root))
    spec = DataSpec(source="torchvision", path=path, dataset=dataset)
    pin = found_at(layout, spec, download=download)
    data = {"source": "torchvision", "path": path, "dataset": dataset}
    yield _Source(pin.source, data, partial(members, dataset, layout.root), pin)


def _look_through(
    source: _Source, label: Sequence[str], group: str | None
) -> "tuple[SourceSummary, str | list[str]]":
    """Return what is seen in a source, and where its labels come from."""
    from gan.image.labels import Wanted
    from gan.image.members import FOLDER, Survey
    from gan.image.sources import look_through

    def seen_by(label_from: str | list[str]) -> "SourceSummary":
        survey, wanted = Survey(), Wanted(label_from, group)
        return look_through(source.read(survey), survey, wanted, source.shown)

    label_from: str | list[str] = (label[0] if len(label) == 1 else list(label)) or FOLDER
    seen = seen_by(label_from)
    found = next((column for column in _LABEL_COLUMNS if column in seen.columns), None)
    if not label and found is not None:
        label_from, seen = found, seen_by(found)
    if seen.count < _LEAST_IMAGES or not seen.labels:
        labelled = "" if seen.labels else ", none with a label,"
        raise SourceError(
            f"{source.shown}: {seen.count} images{labelled}; at least {_LEAST_IMAGES} are needed. "
            "Add images."
        )
    return seen, label_from


def _section(
    seen: "SourceSummary",
    source: _Source,
    label: str | list[str],
    resolution: int | None,
    *,
    pixel_art: bool,
) -> dict[str, Any]:
    """Return a recipe's section with sizes, classes and contract read from the images."""
    smallest = min(seen.labels.values())
    filters = "nearest" if pixel_art else "lanczos"
    data = {
        **source.data,
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


def _add(layout: Layout, name: str, section: dict[str, Any], source: _Source) -> Recipe:
    """Write a recipe, the pin of its training's start and that of its images."""
    recipe = add_recipe(layout.params, name, section)
    write_pin(layout, name, None)
    if source.pin is not None:
        write_json(layout.root / recipe.data.path, source.pin.document())
    return recipe


def _resolution(side_px: int) -> int:
    """Return the largest size that the images fill, 16, 28 or 32 px."""
    return max([size for size in _SIZES_PX if size <= side_px], default=_SIZES_PX[0])
