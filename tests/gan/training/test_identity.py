"""Which checkpoints a training may resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.durable import read_json, write_json
from gan.errors import DamagedError, RecipeError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe
from gan.training.identity import (
    begin,
    end,
    is_stopped,
    run_folder,
    set_aside,
    start_digest,
    unfinished,
)

DIGEST = "ab" * 32


def _folder(layout: Layout) -> Path:
    return run_folder(layout, load_recipe(layout.params, "tiny")).relative_to(layout.root)


def test_the_same_training_has_the_same_folder(workspace: Callable[..., Layout]) -> None:
    """Anywhere and at any time, the same recipe, data and start resume each other."""
    assert _folder(workspace("a")) == _folder(workspace("b"))


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"batch_size": 12}, {"lr": 3e-3}, {"gamma": "auto"}]
)
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


@pytest.mark.parametrize("change", [{"kimg": 9.0}, {"gpus": 2}, {"max_rollbacks": 0}])
def test_a_budget_may_change_on_the_way(
    workspace: Callable[..., Layout], change: dict[str, Any]
) -> None:
    """A longer budget, more processes or fewer roll-backs go on in the same folder."""
    assert _folder(workspace("a")) == _folder(workspace("b", **change))


def test_changed_parameters_are_refused_by_name(workspace: Callable[..., Layout]) -> None:
    """A stopped training is not dropped unnoticed: what differs is named, and both ways out."""
    layout = workspace("a")
    folder = begin(layout, load_recipe(layout.params, "tiny"))
    (folder / "checkpoint-000000000064.ckpt").write_bytes(b"")
    layout = workspace("a", lr=3e-3, flip=True)
    changed = load_recipe(layout.params, "tiny")

    with pytest.raises(RecipeError) as refused:
        begin(layout, changed)
    said = str(refused.value)
    assert "stopped at 0.1 kimg" in said
    assert "(train.flip was False, is True; train.lr was 0.002, is 0.003)" in said
    assert "ganmill retrain tiny --fresh" in said

    assert set_aside(layout, changed) == folder
    assert begin(layout, changed) != folder
    assert (folder / "checkpoint-000000000064.ckpt").exists()


def test_changed_data_are_refused_by_name(workspace: Callable[..., Layout]) -> None:
    """Other images are another training; the message gives both digests."""
    layout = workspace("a")
    recipe = load_recipe(layout.params, "tiny")
    folder = begin(layout, recipe)
    (folder / "checkpoint-000000000064.ckpt").write_bytes(b"")
    meta = layout.train_data("tiny") / "meta.json"
    write_json(meta, {**read_json(meta), "digest": "cd" * 32})

    with pytest.raises(RecipeError, match=r"\(data was [0-9a-f]{12}, is cdcdcdcdcdcd\)"):
        begin(layout, recipe)


def test_a_training_that_ended_stands_in_nobodys_way(workspace: Callable[..., Layout]) -> None:
    """After its end, or before its first checkpoint, another training begins at once."""
    layout = workspace("a")
    recipe = load_recipe(layout.params, "tiny")
    folder = begin(layout, recipe)
    assert unfinished(layout, recipe) is None
    (folder / "checkpoint-000000000064.ckpt").write_bytes(b"")
    assert begin(layout, recipe) == folder
    end(folder, "ended")

    other = load_recipe(workspace("a", seed=5).params, "tiny")
    assert begin(layout, other) != folder
    assert set_aside(layout, other) is None


def test_put_back_it_resumes(workspace: Callable[..., Layout]) -> None:
    """A training that was set aside goes on where it was, once its parameters are back."""
    layout = workspace("a")
    recipe = load_recipe(layout.params, "tiny")
    folder = begin(layout, recipe)
    (folder / "checkpoint-000000000064.ckpt").write_bytes(b"")
    other = load_recipe(workspace("a", seed=5).params, "tiny")
    set_aside(layout, other)

    assert is_stopped(folder)
    assert begin(layout, load_recipe(workspace("a").params, "tiny")) == folder
    assert unfinished(layout, recipe) is not None
