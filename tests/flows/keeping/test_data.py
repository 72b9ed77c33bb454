"""Data and models as DVC keeps them: in a backup where they would be lost, else on the remote."""

import shutil
from pathlib import Path

import pytest

from flows import stores, versions
from flows.datasets.catalog import DatasetRecord, records
from flows.datasets.verifying import verify
from flows.keeping.backup import make
from flows.keeping.checking import check
from flows.keeping.restore import restore
from flows.keeping.sources import Wants
from flows.settings import Settings
from gan.paths import Layout
from tests.flows.datasets.rooms import RECIPE, accept, change_images, flip, make_room
from tests.flows.keeping.rooms import tree

QUIET = Wants(is_quiet=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace of real DVC with two data versions; its remote is where ours is."""
    layout = make_room(tmp_path_factory.mktemp("data") / "room")
    accept(layout)
    change_images(layout.root)
    accept(layout)
    return layout


@pytest.fixture
def room(made: Layout, tmp_path: Path) -> Layout:
    """Return a copy of that workspace."""
    shutil.copytree(made.root, tmp_path / "room")
    return Layout(tmp_path / "room")


def _known(layout: Layout) -> list[DatasetRecord]:
    return records(layout, RECIPE)


def test_a_remote_inside_the_workspace_keeps_nothing_safe(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """With the default remote the data are in the backup: both versions come back from it alone.

    Every byte is what it was, and DVC finds nothing to do.
    """
    made = make(room, nowhere, tmp_path / "b", QUIET)
    assert made.manifest.data == "copied"
    data = tree(room.root / "data")
    for name in (".ganmill", ".dvc/cache", "data", "reports"):
        shutil.rmtree(room.root / name)

    done = restore(room, nowhere, made.folder, is_quiet=True)

    assert done.lacking == []
    assert tree(room.root / "data") == data
    assert versions.changed(room, "prepare", RECIPE) == []
    for known in _known(room):
        assert verify(room, known, ("record", "workspace", "cache")) == []


def test_a_remote_elsewhere_is_looked_at(room: Layout, nowhere: Settings, tmp_path: Path) -> None:
    """Where the remote would outlive the workspace, what it lacks is named instead of copied."""
    remote = tmp_path / "remote"
    local = room.root / ".dvc" / "config.local"
    local.write_text(f"['remote \"store\"']\n    url = {remote}\n")
    versions.push(room, RECIPE)

    made = make(room, nowhere, tmp_path / "b", QUIET)

    assert made.manifest.data == "on the remote"
    assert not (made.folder / "dvc").exists()
    first, second = _known(room)
    lacking = [line for line in made.manifest.missing if "is not on DVC remote" in line]
    assert lacking
    assert all(first.digest[:12] in line for line in lacking)
    assert not [line for line in lacking if second.digest[:12] in line]


def test_an_object_that_nobody_has_sound_is_named(
    room: Layout, nowhere: Settings, tmp_path: Path
) -> None:
    """A damaged object is taken from the remote; damaged there as well it is in `missing`."""
    with stores.opened(room) as opened:
        names = opened.files(_known(room)[-1].dvc)
        here, there = (
            Path(store.where(names["train/images.npy"])) for store in (opened.cache, opened.remote)
        )
    flip(here)
    made = make(room, nowhere, tmp_path / "one", QUIET)
    assert made.manifest.missing == []
    flip(here)
    flip(there)

    made = make(room, nowhere, tmp_path / "other", QUIET)

    (line,) = made.manifest.missing
    assert "train/images.npy" in line
    assert "altered in the DVC cache" in line
    assert check(made.folder, is_quiet=True)[2] == []
