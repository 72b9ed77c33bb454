"""Which checkpoints a training may resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.durable import read_json, write_json
from gan.errors import DamagedError, RecipeError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from gan.training.identity import run_folder, start_digest

DIGEST = "ab" * 32


def _folder(layout: Layout) -> Path:
    return run_folder(layout, load_recipe(layout.params, "tiny")).relative_to(layout.root)


def test_the_same_training_has_the_same_folder(workspace: Callable[..., Layout]) -> None:
    """Anywhere and at any time, the same recipe, data and start resume each other."""
    assert _folder(workspace("a")) == _folder(workspace("b"))


@pytest.mark.parametrize("change", [{"kimg": 1.0}, {"seed": 2}, {"batch_size": 12}, {"lr": 3e-3}])
def test_another_training_has_another_folder(
    workspace: Callable[..., Layout], change: dict[str, Any]
) -> None:
    """A checkpoint is never resumed under other parameters."""
    assert _folder(workspace("a")) != _folder(workspace("b", **change))


def test_other_data_and_another_start_are_another_training(
    workspace: Callable[..., Layout],
) -> None:
    """The data digest and the pinned bundle count; a pin does not when training is from scratch."""
    layout = workspace("a")
    before = _folder(layout)
    write_json(layout.pin("tiny"), {"bundle": DIGEST})
    pinned = _folder(layout)
    meta = layout.train_data("tiny") / "meta.json"
    write_json(meta, {**read_json(meta), "digest": "other"})

    assert len({before, pinned, _folder(layout)}) == 3
    scratch = workspace("s", start="scratch")
    untouched = _folder(scratch)
    write_json(scratch.pin("tiny"), {"bundle": DIGEST})
    assert _folder(scratch) == untouched


@pytest.fixture
def recipe(workspace: Callable[..., Layout]) -> tuple[Layout, Recipe]:
    """Return a workspace and its recipe."""
    layout = workspace()
    return layout, load_recipe(layout.params, "tiny")


def test_the_pin_says_where_training_starts(recipe: tuple[Layout, Recipe]) -> None:
    """Null is scratch, a digest is that bundle."""
    layout, tiny = recipe

    assert start_digest(layout, tiny) is None
    write_json(layout.pin("tiny"), {"bundle": DIGEST})
    assert start_digest(layout, tiny) == DIGEST


def test_a_missing_or_malformed_pin_says_what_to_write(recipe: tuple[Layout, Recipe]) -> None:
    """There is no guess at the start: the message says what the file must hold."""
    layout, tiny = recipe
    contents: list[object] = [{}, [], {"bundle": 7}, {"bundle": "../x"}, {"bundle": "AB" * 32}]
    for content in contents:
        write_json(layout.pin("tiny"), content)
        with pytest.raises(RecipeError, match=r'must hold {"bundle": null} or'):
            start_digest(layout, tiny)
    layout.pin("tiny").unlink()
    with pytest.raises(RecipeError, match=r'missing; .*Write {"bundle": null}'):
        start_digest(layout, tiny)


def test_data_that_are_not_prepared_are_named(recipe: tuple[Layout, Recipe]) -> None:
    """Missing or foreign `meta.json` is one line."""
    layout, tiny = recipe
    meta = layout.train_data("tiny") / "meta.json"
    write_json(meta, {"classes": []})
    with pytest.raises(DamagedError, match="has no digest"):
        run_folder(layout, tiny)
    meta.unlink()
    with pytest.raises(DamagedError, match="missing"):
        run_folder(layout, tiny)
