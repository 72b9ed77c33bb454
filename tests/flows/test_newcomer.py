"""`ganmill init`: somebody's images in any of the usual forms become a recipe that validates."""

import csv
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.expectations import validate
from flows.newcomer import propose
from gan.errors import RecipeError, SourceError, UsageError
from gan.image.sources import ingest
from gan.paths import Layout
from gan.recipe import Recipe

PETS = {"cats": 14, "dogs": 12}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with one recipe in it, to which others are added."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "params.yaml").write_text(
        "# mine\nrecipes:\n  stickers:\n    data: {source: glyphs, path: x, glyphs: {count: 2}}\n"
        "    model: {preset: tiny}\n    train: {budget: {kimg: 1}}\n    evaluate: {samples: 200}\n"
    )
    return Layout(tmp_path / "work")


def _draw(folder: Path, *, in_classes: bool) -> Path:
    """Write small noisy pictures of 40 x 36 px, in class sub-folders or side by side."""
    draws = np.random.default_rng(1)
    for label, count in PETS.items():
        place = folder / label if in_classes else folder
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = draws.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{label}-{number}.png")
    return folder


def _folder(place: Path) -> Path:
    return _draw(place / "pets", in_classes=True)


def _flat(place: Path) -> Path:
    return _draw(place / "pets", in_classes=False)


def _labelled(place: Path) -> Path:
    folder = _draw(place / "pets", in_classes=False)
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "class"])
        for label, count in PETS.items():
            rows.writerows([f"{label}-{number}.png", label] for number in range(count))
    return folder


def _zip(place: Path) -> Path:
    folder = _folder(place)
    with zipfile.ZipFile(place / "pets.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(place))
    return place / "pets.zip"


def _tar(place: Path) -> Path:
    folder = _folder(place)
    with tarfile.open(place / "pets.tar.gz", "w:gz") as archive:
        archive.add(folder, "pets")
    return place / "pets.tar.gz"


def _propose(
    layout: Layout,
    images: Path,
    name: str = "pets",
    label: str | None = None,
    background: str | None = None,
) -> Recipe:
    recipe, _ = propose(
        layout,
        name,
        images,
        label=label,
        resolution=None,
        kimg=2.0,
        licence="CC0",
        background=background,
        pixel_art=False,
    )
    return recipe


@pytest.mark.parametrize(
    ("make", "classes"),
    [
        (_folder, PETS),
        (_flat, None),
        (_labelled, PETS),
        (_zip, PETS),
        (_tar, PETS),
    ],
)
def test_every_form_of_images_becomes_a_recipe_that_validates(
    layout: Layout,
    tmp_path: Path,
    make: Callable[[Path], Path],
    classes: dict[str, int] | None,
) -> None:
    """Classes, size and channels are read from the images, and the contract holds over them."""
    recipe = _propose(layout, make(tmp_path))

    done = ingest(recipe.data, layout.root, layout.raw("pets"))
    outcome = validate(layout, "pets")

    assert done.images == sum(PETS.values())
    assert outcome.success, outcome.failed
    assert outcome.accepted == sum(PETS.values())
    assert (recipe.data.resolution, recipe.data.channels) == (32, 3)
    assert done.labels == (classes or {"": sum(PETS.values())})


def _cut_out(folder: Path, alpha: int) -> Path:
    """Write 24 noisy RGBA pictures of 28 x 28 px whose left half has this alpha."""
    draws = np.random.default_rng(2)
    folder.mkdir()
    for number in range(24):
        pixels = draws.integers(0, 256, (28, 28, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        pixels[:, :14, 3] = alpha
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_transparent_images_keep_their_alpha(layout: Layout, tmp_path: Path) -> None:
    """Cut-out images of 28 px become a recipe of 4 channels at 28 px that validates."""
    recipe = _propose(layout, _cut_out(tmp_path / "pets", 0))
    ingest(recipe.data, layout.root, layout.raw("pets"))

    assert (recipe.data.resolution, recipe.data.channels) == (28, 4)
    assert validate(layout, "pets").accepted == 24


def test_transparent_images_are_laid_on_a_background_that_is_given(
    layout: Layout, tmp_path: Path
) -> None:
    """An explicit background says that alpha is not wanted; an idle alpha needs no word."""
    laid = _propose(layout, _cut_out(tmp_path / "a", 0), "a", background="#102030")
    idle = _propose(layout, _cut_out(tmp_path / "b", 255), "b")

    assert (laid.data.channels, laid.data.background) == (3, "#102030")
    assert idle.data.channels == 3


def test_a_recipe_is_added_beside_the_others_and_their_comments(
    layout: Layout, tmp_path: Path
) -> None:
    """What a person wrote in params.yaml stays; the pin says that training starts from scratch."""
    _propose(layout, _flat(tmp_path))
    text = layout.params.read_text()
    assert text.startswith("# mine\n")
    assert "stickers" in text
    assert layout.pin("pets").read_text().split() == ["{", '"bundle":', "null", "}"]


def test_what_cannot_be_used_is_refused_and_nothing_is_written(
    layout: Layout, tmp_path: Path
) -> None:
    """A bad name, a taken name, too few images: each is refused before params.yaml changes."""
    before, images = layout.params.read_bytes(), _flat(tmp_path)
    few = tmp_path / "few"
    few.mkdir()
    for shade in range(5):
        Image.new("RGB", (9, 9), (shade, 0, 0)).save(few / f"{shade}.png")
    with pytest.raises(RecipeError, match="My Pets"):
        _propose(layout, images, name="My Pets")
    with pytest.raises(UsageError, match="there already"):
        _propose(layout, images, name="stickers")
    with pytest.raises(SourceError, match="at least 20"):
        _propose(layout, few)
    assert layout.params.read_bytes() == before
