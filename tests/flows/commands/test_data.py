"""`ganmill data`, driven on a workspace with real DVC and two versions of its images."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.commands.data import commands
from flows.datasets import data_card
from flows.datasets.catalog import records
from flows.settings import Settings
from flows.versions import reproduce
from gan.durable import write_json
from gan.errors import DamagedError, GanmillError, UsageError
from gan.image.shards import read_index
from gan.paths import Layout
from gan.recipe import load_recipe
from tests.flows.datasets.records import bundle
from tests.flows.datasets.rooms import accept, change_images, flip, make_room

NAMES = ("list", "diff", "card", "checkout", "verify", "trace", "remove")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with two data versions and a champion of the first; not to be changed."""
    layout = make_room(tmp_path_factory.mktemp("commands") / "room")
    first = accept(layout)
    change_images(layout.root)
    accept(layout)
    digest = bundle(layout.bundle_store / "1", first.digest, None, "a")
    papers = {"version": 1, "bundle_digest": digest, "data": {"digest": first.digest}}
    write_json(layout.release("a", 1) / "lineage.json", {**papers, "start_bundle": None})
    return layout


@pytest.fixture
def room(two: Layout, tmp_path: Path) -> Layout:
    """Return a copy of it, to change."""
    shutil.copytree(two.root, tmp_path / "room")
    return Layout(tmp_path / "room")


@pytest.fixture
def data(settings_on: Callable[..., Settings]) -> Iterator[Run]:
    """Return a function that runs `ganmill data ...` in a workspace; no server runs."""
    before, here = dict(os.environ), Path.cwd()

    def run(layout: Layout, *words: str) -> Result:
        os.chdir(layout.root)
        return CliRunner().invoke(commands, [*words])

    os.environ["GANMILL_MLFLOW_PORT"] = str(settings_on().mlflow_port)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["GANMILL_ACTOR"] = "ann"
    yield run
    os.chdir(here)
    os.environ.clear()
    os.environ.update(before)


def _json(done: Result) -> Any:
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def _refused(done: Result) -> GanmillError:
    assert isinstance(done.exception, GanmillError), (done.exception, done.output)
    assert "\n" not in str(done.exception)
    return done.exception


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_with_an_example(data: Run, two: Layout, name: str) -> None:
    """`--help` says what a command does and shows it in use."""
    shown = data(two, name, "--help")
    assert shown.exit_code == 0
    assert f"ganmill data {name}" in shown.stdout.partition("Example:")[2]


def test_versions_are_listed_with_their_models(data: Run, two: Layout) -> None:
    """Oldest first, each with its counts and the versions trained on it."""
    first, second = records(two, "a")
    done = data(two, "list", "a")
    one, other, hint = done.stdout.splitlines()
    assert f"a@{first.digest[:12]}" in one
    assert one.endswith("trained: v1")
    assert f"a@{second.digest[:12]}" in other
    assert "trained" not in other
    assert "ganmill data card" in hint
    assert [each["models"] for each in _json(data(two, "list", "a", "--json"))] == [["v1"], []]


def test_two_versions_are_compared(data: Run, two: Layout) -> None:
    """A recipe alone says what its newest version changed; a model stands for its data."""
    done = data(two, "diff", "a")
    for words in ("3 added", "1 removed", "red/30.png", "blue/00.png", "-> red"):
        assert words in done.stdout
    first = records(two, "a")[0]
    by_model = data(two, "diff", "a@v1", "@latest")
    by_digest = data(two, "diff", f"a@{first.digest[:8]}")
    assert done.stdout == by_model.stdout == by_digest.stdout
    assert _json(data(two, "diff", "a", "--json"))["before"] == first.digest
    assert "no image differs" in data(two, "diff", "a@latest", "@latest").stdout


def test_card_and_checkout_lead_to_files(data: Run, room: Layout) -> None:
    """What a command names is there."""
    first = records(room, "a")[0]
    told = _json(data(room, "card", "a@v1", "--json"))
    assert told["digest"] == first.digest
    assert all(Path(told[name]).is_file() for name in ("page", "markdown", "croissant"))
    assert data_card.PAGE in data(room, "card", "a").stdout
    made = _json(data(room, "checkout", "a@v1", "--json"))
    assert made["digest"] == first.digest
    assert len(read_index(Path(made["folder"]) / "raw")) == first.images


def test_damage_is_told_and_mended(data: Run, room: Layout) -> None:
    """A flipped bit ends `verify` with an error; with --mend it is put right from the remote."""
    assert "every byte is as it was" in data(room, "verify", "a").stdout
    cached = [path for path in (room.root / ".dvc" / "cache").rglob("*") if path.is_file()]
    flip(max(cached, key=lambda path: path.stat().st_size))
    done = data(room, "verify", "a")
    assert isinstance(_refused(done), DamagedError)
    assert "cache: altered" in done.stdout
    mended = data(room, "verify", "a", "--mend")
    assert mended.exception is None, mended.output


def test_removed_image_is_in_no_later_version(data: Run, room: Layout) -> None:
    """From a complaint to clean data: trace, remove, prepare again; its bytes are gone."""
    complaint = room.root / "complaint.png"
    shutil.copyfile(room.root / "images" / "red" / "01.png", complaint)
    traced = data(room, "trace", str(complaint))
    assert "red/01.png (same file)" in traced.stdout
    assert "a v1" in traced.stdout
    assert "ganmill data remove" in traced.stdout
    removed = data(room, "remove", "red/01.png", "--reason", "the owner asked")
    assert removed.exception is None, removed.exception
    for words in (
        "removed red/01.png",
        "by ann",
        "what descends from it",
        "a v1",
        "Next: ganmill retrain a",
    ):
        assert words in removed.stdout
    payload = complaint.read_bytes()
    assert list(load_recipe(room.params, "a").data.removed.values()) == ["the owner asked"]
    reproduce(room, "prepare", "a", force=True)  # the room's own stage does not watch params.yaml
    latest = accept(room)
    assert latest.digest not in {each.digest for each in records(room, "a")[:2]}
    files = [path for path in room.raw("a").rglob("*") if path.is_file()]
    assert not any(payload in path.read_bytes() for path in files)
    after = _json(data(room, "trace", str(complaint), "--json"))
    assert latest.digest not in {each["version"] for each in after["sightings"]}
    assert after["removals"][0]["by"] == "ann"
    assert "left out from now on" in data(room, "trace", str(complaint)).stdout
    again = data(room, "remove", "red/01.png", "--reason", "once more", "--json")
    assert _json(again)["new"] == []


def test_file_can_be_kept_out_beforehand(data: Run, room: Layout) -> None:
    """A file that no version has is refused without a recipe, and kept out of a named one."""
    stranger = room.root / "stranger.png"
    stranger.write_bytes(b"never seen")
    words = ("remove", str(stranger), "--reason", "may come one day")
    assert isinstance(_refused(data(room, *words)), UsageError)
    done = _json(data(room, *words, "--recipe", "a", "--json"))
    assert list(load_recipe(room.params, "a").data.removed) == done["removed"]["a"]


def test_what_is_not_there_is_said_in_one_line(data: Run, two: Layout) -> None:
    """An unknown recipe, version, model or image ends with what there is instead."""
    assert "no recipe" in str(_refused(data(two, "list", "none")))
    assert "is no data version" in str(_refused(data(two, "card", "a@ffff")))
    assert "has no v7; registered: v1" in str(_refused(data(two, "checkout", "a@v7")))
    assert "no data version has an image" in str(_refused(data(two, "trace", "red/none.png")))
