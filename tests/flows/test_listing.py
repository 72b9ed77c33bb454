"""A look at a source elsewhere: pinned in git when it changed, untouched when it did not."""

from pathlib import Path

import pytest

from flows.listing import refresh
from gan.durable import read_json
from gan.errors import RecipeError, SourceError
from gan.image.sources import ingest
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import DataSpec
from tests.gan.image.test_remote import zipped
from tests.gan.image.test_torchvision_sets import fashion


def _recipe(data: DataSpec) -> Recipe:
    return Recipe(name="pets", data=data)


def test_a_source_is_pinned_when_it_changed_and_else_left_alone(tmp_path: Path) -> None:
    """The file that DVC watches keeps its bytes and time until there is something new."""
    archive = zipped(tmp_path)
    layout = Layout(tmp_path / "work")
    path = str(layout.source_listing("pets").relative_to(layout.root))
    recipe = _recipe(DataSpec(source="url", path=path, url=f"file://{archive.parent}/in"))
    first = refresh(layout, recipe)
    written = (layout.root / path).stat().st_mtime_ns
    second = refresh(layout, recipe)
    (archive.parent / "in" / "more.png").write_bytes(b"new")
    third = refresh(layout, recipe)

    assert first is not None
    assert second is not None
    assert third is not None
    assert [look.changed for look in (first, second, third)] == [True, False, True]
    assert written < (layout.root / path).stat().st_mtime_ns
    assert read_json(layout.root / path)["files"] == 19
    assert "19 files, 18 before" in third.note


def test_what_was_pinned_is_what_comes_in(tmp_path: Path) -> None:
    """An ingest after a look brings it in; one after a change asks for another look."""
    archive = zipped(tmp_path)
    layout = Layout(tmp_path / "work")
    path = str(layout.source_listing("pets").relative_to(layout.root))
    recipe = _recipe(DataSpec(source="url", path=path, url=f"file://{archive}"))
    refresh(layout, recipe)
    done = ingest(recipe.data, layout.root, layout.raw("pets"))
    archive.write_bytes(archive.read_bytes() + b" ")
    with pytest.raises(SourceError, match="ganmill retrain pets"):
        ingest(recipe.data, layout.root, layout.raw("pets"))

    assert done.labels == {"cats": 9, "dogs": 9}


def test_a_torchvision_set_that_is_here_comes_in(tmp_path: Path) -> None:
    """Its name is all that a recipe says; classes are folders, so `label_from: folder` works."""
    layout = Layout(tmp_path)
    path = str(layout.source_listing("pets").relative_to(layout.root))
    recipe = _recipe(DataSpec(source="torchvision", path=path, dataset="FashionMNIST"))
    with pytest.raises(SourceError, match="GANMILL_DOWNLOAD=1"):
        refresh(layout, recipe)
    fashion(layout.state / "torchvision" / "FashionMNIST" / "FashionMNIST" / "raw")
    look = refresh(layout, recipe)
    done = ingest(recipe.data, layout.root, layout.raw("pets"))

    assert look is not None
    assert look.changed
    assert done.images == 60
    assert done.labels["Ankle boot"] == 6


def test_sources_that_dvc_watches_itself_need_no_look(tmp_path: Path) -> None:
    """Files on this machine are watched as they are."""
    assert refresh(Layout(tmp_path), _recipe(DataSpec(source="files", path="pets"))) is None


def test_no_other_file_is_overwritten(tmp_path: Path) -> None:
    """A recipe that names another file as its pin is refused, and the file is as it was."""
    precious = tmp_path / "precious.json"
    precious.write_text("mine")
    data = DataSpec(source="url", path="precious.json", url=f"file://{tmp_path}")
    with pytest.raises(RecipeError, match=r"models/pets/source\.json"):
        refresh(Layout(tmp_path), _recipe(data))
    assert precious.read_text() == "mine"
