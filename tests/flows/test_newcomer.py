"""`ganmill init`: somebody's images in any of the usual forms become a recipe that validates."""

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.expectations import validate
from flows.listing import refresh
from flows.newcomer import propose, propose_from
from gan.errors import RecipeError, SourceError, UsageError
from gan.image.shards import read_index
from gan.image.sources import ingest
from gan.paths import Layout
from gan.recipe import Recipe
from tests.gan.image.stores import web_server
from tests.gan.image.test_torchvision_sets import fashion

PETS = {"cats": 14, "dogs": 12}  # the words are of one length for `_webdataset`


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


def _parquet(place: Path) -> Path:
    rows = []
    for path in sorted(_folder(place).rglob("*.png")):
        image = {"bytes": path.read_bytes(), "path": path.name}
        rows.append({"image": image, "label": path.parent.name})
    pq.write_table(pa.Table.from_pylist(rows), place / "pets.parquet")
    return place / "pets.parquet"


def _webdataset(place: Path) -> Path:
    with tarfile.open(place / "pets.tar", "w") as archive:
        for number, path in enumerate(sorted(_folder(place).rglob("*.png"))):
            archive.add(path, f"{number:06d}.png")
            label = tarfile.TarInfo(f"{number:06d}.cls")
            label.size = 4
            archive.addfile(label, io.BytesIO(path.parent.name.encode()))
    return place / "pets.tar"


def _propose(
    layout: Layout,
    images: Path | str,
    name: str = "pets",
    label: Sequence[str] = (),
    group: str | None = None,
    background: str | None = None,
) -> Recipe:
    recipe, _ = propose(
        layout,
        name,
        str(images),
        label=label,
        group=group,
        kimg=2.0,
        licence="CC0",
        background=background,
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
        (_parquet, PETS),
        (_webdataset, PETS),
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


def test_an_address_becomes_a_recipe_that_validates_and_is_pinned(
    layout: Layout, tmp_path: Path
) -> None:
    """What a web server has comes in as the same archive here would; a second look is idle."""
    _zip(tmp_path)
    with web_server(tmp_path) as web:
        recipe = _propose(layout, f"{web}/pets.zip")
        ingest(recipe.data, layout.root, layout.raw("pets"))
        again = refresh(layout, recipe)

    assert again is not None
    assert not again.changed
    assert (recipe.data.source, recipe.data.path) == ("url", "models/pets/source.json")
    assert validate(layout, "pets").accepted == sum(PETS.values())


def test_several_columns_make_classes_and_one_says_what_belongs_together(
    layout: Layout, tmp_path: Path
) -> None:
    """Each combination of `--label` columns is a class; `--group` is kept with each image."""
    folder = _flat(tmp_path)
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "kind", "size", "litter"])
        for label, count in PETS.items():
            for number in range(count):
                size = "small" if number % 2 else "large"
                rows.writerow([f"{label}-{number}.png", label, size, f"litter{number % 3}"])
    recipe = _propose(layout, folder, label=("kind", "size"), group="litter")
    done = ingest(recipe.data, layout.root, layout.raw("pets"))

    assert recipe.data.label_from == ["kind", "size"]
    assert done.labels == {
        "cats / large": 7, "cats / small": 7, "dogs / large": 6, "dogs / small": 6,
    }  # fmt: skip
    assert set(read_index(layout.raw("pets"))["group"]) == {"litter0", "litter1", "litter2"}


def test_a_known_set_becomes_a_recipe_by_its_name(layout: Layout) -> None:
    """The short name is enough when its files are here: size, grey, licence, no mirror images."""
    with pytest.raises(SourceError, match="GANMILL_DOWNLOAD=1"):
        propose_from(layout, "clothes", "fashion")
    fashion(layout.state / "torchvision" / "FashionMNIST" / "FashionMNIST" / "raw")
    recipe, seen = propose_from(layout, "clothes", "fashion")
    ingest(recipe.data, layout.root, layout.raw("clothes"))

    data = recipe.data
    assert (data.dataset, data.path) == ("FashionMNIST", "models/clothes/source.json")
    assert (data.resolution, data.channels, data.licence) == (28, 1, "MIT")
    assert (seen.count, len(seen.labels), recipe.train.flip) == (60, 10, False)
    assert validate(layout, "clothes").accepted == 60


def test_a_known_set_may_lie_somewhere_else(layout: Layout, tmp_path: Path) -> None:
    """With `--images` the settings are the set's, and the images those of the archive."""
    recipe, _ = propose_from(layout, "cifar", "cifar-10", images=str(_tar(tmp_path)))

    assert (recipe.data.source, recipe.train.flip) == ("files", True)
    assert recipe.data.path.endswith("pets.tar.gz")


def test_a_set_that_nobody_knows_is_refused_with_those_that_are(layout: Layout) -> None:
    """A misspelt name is answered by the nearest one."""
    with pytest.raises(UsageError, match="Did you mean cifar10"):
        propose_from(layout, "pets", "cifar1")


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
