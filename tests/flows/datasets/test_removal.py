"""A removed image never comes in again, and it is on record who asked for it, whatever dies."""

import json
import os
from itertools import count
from pathlib import Path

import pytest

from flows.datasets.removal import removals, remove
from gan.durable import run_lock
from gan.errors import BusyError, DamagedError, RecipeError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipe, load_recipes
from tests.faults.seam import KILLED, dying_at
from tests.flows.datasets.records import PARAMS

ONE, TWO = "1" * 64, "2" * 64
REASON = 'the owner: "not mine" # asked'


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace of two recipes, written by hand, with comments."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    return Layout(tmp_path)


def test_removal_stands_in_the_recipe_and_on_record(layout: Layout) -> None:
    """The digest and the reason go into params.yaml; who and when go on record."""
    (made,) = remove(layout, "other", {ONE: "a/b.png"}, reason=REASON, by="ann")
    assert load_recipe(layout.params, "other").data.removed == {ONE: REASON}
    assert removals(layout, "other") == [made]
    assert (made.key, made.by, made.reason) == ("a/b.png", "ann", REASON)


def test_everything_else_in_the_file_stays(layout: Layout) -> None:
    """Comments, quotes, null and other recipes are as they were; a second removal only adds."""
    before = load_recipes(layout.params)
    remove(layout, "pets", {ONE: "a.png"}, reason="first reason", by="ann")
    remove(layout, "pets", {TWO: "b.png"}, reason="second reason", by="bob")
    text = layout.params.read_text()
    for words in ("# our recipes", "# the first", "# at night", "# somebody else's", '"0 3 * * *"',
                  "max_near_duplicate_share: null"):  # fmt: skip
        assert words in text
    after = load_recipes(layout.params)
    assert after["other"] == before["other"]
    data = after["pets"].data
    assert data.removed == {ONE: "first reason", TWO: "second reason"}
    assert data.model_copy(update={"removed": {}}) == before["pets"].data


def test_same_removal_again_changes_nothing(layout: Layout) -> None:
    """Whoever asks twice finds the first reason on record, once."""
    remove(layout, "pets", {ONE: "a.png"}, reason="first reason", by="ann")
    before = layout.params.read_bytes(), layout.removals("pets").read_bytes()
    assert remove(layout, "pets", {ONE: "a.png"}, reason="another reason", by="bob") == []
    assert (layout.params.read_bytes(), layout.removals("pets").read_bytes()) == before


def test_killed_removal_is_completed_by_the_same_call(layout: Layout) -> None:
    """Killed at any change of the disk, recipe and record agree after the same call, once each."""
    original = layout.params.read_bytes()
    for moment in count(1):
        layout.params.write_bytes(original)
        layout.removals("pets").unlink(missing_ok=True)
        if not (child := os.fork()):
            with dying_at(moment):
                remove(layout, "pets", {ONE: "a.png"}, reason="first reason", by="ann")
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        remove(layout, "pets", {ONE: "a.png"}, reason="first reason", by="ann")

        assert load_recipe(layout.params, "pets").data.removed == {ONE: "first reason"}
        (known,) = removals(layout, "pets")
        assert (known.sha256, known.reason, known.by) == (ONE, "first reason", "ann")
        if not ended:
            break
        assert ended == KILLED
    assert moment > 8  # two files, each written to be there whole or not at all


def test_removal_without_name_or_reason_is_refused(layout: Layout) -> None:
    """Nothing is taken out without somebody who answers for it."""
    before = layout.params.read_bytes()
    for reason, by in (("", "ann"), ("a reason", " "), ("x" * 501, "ann")):
        with pytest.raises(UsageError, match="Say who and why"):
            remove(layout, "pets", {ONE: "a.png"}, reason=reason, by=by)
    assert layout.params.read_bytes() == before


def test_file_that_cannot_be_edited_faithfully_is_left_alone(layout: Layout) -> None:
    """Where an edit would change something else too, the lines to add are told instead."""
    text = (
        "base: &base {source: files, path: x}\nrecipes:\n  a: {data: *base}\n  b: {data: *base}\n"
    )
    layout.params.write_text(text)
    with pytest.raises(RecipeError, match=f"recipes.a.data yourself.*{ONE}"):
        remove(layout, "a", {ONE: "a.png"}, reason="a reason", by="ann")
    assert layout.params.read_text() == text


def test_two_at_once_and_a_torn_record_are_told(layout: Layout) -> None:
    """A second editor is refused by name; a record that somebody tore is not read on."""
    with run_lock(layout.lock("params"), "editing"), pytest.raises(BusyError):
        remove(layout, "pets", {ONE: "a.png"}, reason="a reason", by="ann")
    remove(layout, "pets", {ONE: "a.png"}, reason="a reason", by="ann")
    layout.removals("pets").write_text(json.dumps({"recipe": "pets"}) + "\n")
    with pytest.raises(DamagedError, match="is no removal"):
        removals(layout, "pets")
