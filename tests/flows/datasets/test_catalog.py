"""Data versions: recorded, found again, compared, brought back; tampering is always found."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from flows import stores
from flows.datasets.catalog import (
    MANIFEST,
    RECORD,
    SUMS,
    DatasetRecord,
    find,
    read_facts,
    read_manifest,
    read_sums,
    record,
    records,
)
from flows.datasets.checkout import checkout
from flows.datasets.comparing import Change, diff
from flows.datasets.files import data_outs
from flows.datasets.verifying import mend, verify, verify_remote
from flows.versions import push, reproduce
from gan.durable import sha256, write_json
from gan.errors import DamagedError, UsageError
from gan.image.dataset import open_dataset
from gan.paths import Layout
from gan.recipe import load_recipe
from tests.faults.seam import KILLED, dying_at
from tests.flows.datasets.rooms import RECIPE, accept, change_images, flip, make_room


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with two data versions, the second present; not to be changed."""
    layout = make_room(tmp_path_factory.mktemp("two") / "room")
    accept(layout)
    change_images(layout.root)
    accept(layout)
    return layout


@pytest.fixture
def room(two: Layout, tmp_path: Path) -> Layout:
    """Return a copy of it, to change."""
    shutil.copytree(two.root, tmp_path / "room")
    return Layout(tmp_path / "room")


def _cached(layout: Layout, file: str, known: DatasetRecord) -> Path:
    """Return the cache's object of a file of a version."""
    with stores.opened(layout) as opened:
        return Path(opened.cache.where(opened.objects(known.dvc)[file]))


def _remote(layout: Layout, file: str, known: DatasetRecord) -> Path:
    """Return the remote's object of a file of a version."""
    with stores.opened(layout) as opened:
        return Path(opened.remote.where(opened.objects(known.dvc)[file]))


def _is_whole(known: DatasetRecord, home: Path) -> bool:
    """Say whether a folder holds exactly the files of a version, by its sums."""
    found = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    return {file: sha256(home / file) for file in found} == read_sums(known)


def test_a_record_says_what_a_version_is(two: Layout) -> None:
    """Counts, classes, origin, parameters, DVC's digests and the version before it are kept."""
    first, second = records(two, RECIPE)

    assert first.digest != second.digest == open_dataset(two.train_data(RECIPE)).digest
    assert (first.images, first.accepted, first.previous) == (24, 24, None)
    assert (second.images, second.accepted, second.previous) == (26, 25, first.digest)
    assert first.classes == {"blue": 12, "red": 12}
    assert second.classes == {"blue": 10, "green": 1, "red": 14}
    assert second.licence == "CC0-1.0"
    assert second.source == "images"
    assert second.params["resolution"] == 16
    assert second.dvc == data_outs(two, RECIPE)
    assert set(second.dvc) == {"raw", "facts", "train", "kind.json"}
    assert Counter(read_manifest(second)["reason"]) == {"": 25, "DUPLICATE_EXACT": 1}
    assert len(read_facts(second)) == 26
    assert (second.folder / "croissant.json").is_file()
    assert (second.folder / "card" / "index.html").is_file()


def test_what_is_recorded_is_left_alone(room: Layout) -> None:
    """The same data again are the same version, and not a byte of its record is written."""
    recipe = load_recipe(room.params, RECIPE)
    second = find(room, RECIPE, "latest")
    before = {path: path.stat().st_mtime_ns for path in second.folder.rglob("*")}

    again = record(room, recipe)

    assert again == second
    assert {path: path.stat().st_mtime_ns for path in second.folder.rglob("*")} == before


@pytest.mark.parametrize("moment", [1, 5, 9, 14, 17])
def test_a_killed_record_is_finished_by_the_same_call(room: Layout, moment: int) -> None:
    """Killed while it is written, a version is not there; the same call makes it, as it was."""
    recipe, known = load_recipe(room.params, RECIPE), find(room, RECIPE, "latest")
    shutil.rmtree(known.folder)
    if not (child := os.fork()):
        with dying_at(moment):
            record(room, recipe)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert ended == KILLED
    assert len(records(room, RECIPE)) == 1
    made = record(room, recipe)
    assert (made.digest, made.dvc, made.previous) == (known.digest, known.dvc, known.previous)
    assert made.files == known.files


def test_a_version_is_found_by_its_word(two: Layout, tmp_path: Path) -> None:
    """`latest` and the beginning of a digest mean a version; anything else is refused by name."""
    first, second = records(two, RECIPE)

    assert find(two, RECIPE, "latest") == second
    assert find(two, RECIPE, first.digest[:6]) == first
    assert find(two, RECIPE, first.digest) == first
    for word in (first.digest[:3], "zzzz", "../a", ""):
        with pytest.raises(UsageError, match=f"is no data version; there are .*{RECIPE}$"):
            find(two, RECIPE, word)
    with pytest.raises(UsageError, match=r"no data version yet\. Run: ganmill retrain b"):
        find(two, "b", "latest")


def test_a_clock_that_was_set_back_changes_no_order(room: Layout) -> None:
    """The latest version is the one that came last, whatever time the machine took it for."""
    first, second = records(room, RECIPE)
    said = json.loads((second.folder / RECORD).read_text())
    write_json(second.folder / RECORD, {**said, "created_utc": "2001-01-01T00:00:00+00:00"})

    assert [each.digest for each in records(room, RECIPE)] == [first.digest, second.digest]
    assert find(room, RECIPE, "latest").digest == second.digest


def test_equal_training_data_of_other_files_are_one_version(room: Layout) -> None:
    """One more copy that is set aside changes no digest; the record is about the files of now."""
    before = find(room, RECIPE, "latest")
    shutil.copyfile(room.root / "images/red/01.png", room.root / "images/red/41.png")

    after = accept(room)

    assert (after.digest, after.created_utc) == (before.digest, before.created_utc)
    assert after.previous == before.previous
    assert (after.images, after.accepted) == (27, 25)
    assert after.dvc["raw"] != before.dvc["raw"]
    assert [each.digest for each in records(room, RECIPE)] == [before.previous, before.digest]


@pytest.mark.parametrize("file", ["raw/shard-00000.tar", "facts/facts.parquet", "train/images.npy"])
def test_altered_data_become_no_version(room: Layout, file: str) -> None:
    """A bit that turned over since DVC stored the file is found, though DVC sees no change."""
    known = find(room, RECIPE, "latest")
    shutil.rmtree(known.folder)
    flip(room.raw(RECIPE).parent / file)

    with pytest.raises(DamagedError):
        record(room, load_recipe(room.params, RECIPE))

    assert not (known.folder / RECORD).exists()


def test_an_earlier_version_comes_back_beside_the_present_one(room: Layout) -> None:
    """Checkout gives every file of the version as it was, opens, and leaves the workspace alone."""
    first, second = records(room, RECIPE)

    folder = checkout(room, RECIPE, first.digest[:8])

    assert folder == room.checkout(RECIPE, first.digest)
    assert _is_whole(first, folder)
    assert open_dataset(folder / "train").digest == first.digest
    assert open_dataset(room.train_data(RECIPE)).digest == second.digest
    inode = (folder / "kind.json").stat().st_ino
    assert checkout(room, RECIPE, first.digest) == folder  # there already
    assert (folder / "kind.json").stat().st_ino == inode


def test_a_lost_cache_is_filled_from_the_remote(room: Layout) -> None:
    """Without any cache, as on another machine, the files come from the remote."""
    first = records(room, RECIPE)[0]
    shutil.rmtree(room.root / ".dvc" / "cache")

    assert _is_whole(first, checkout(room, RECIPE, first.digest))


@pytest.mark.parametrize("file", ["raw/index.parquet", "train/images.npy", "kind.json", "raw"])
def test_a_tampered_cache_object_is_fetched_anew(room: Layout, file: str) -> None:
    """DVC would hand out altered bytes; a checkout has those of the remote, and mends the cache."""
    first = records(room, RECIPE)[0]
    flip(_cached(room, file, first))

    assert _is_whole(first, checkout(room, RECIPE, first.digest))
    if file != "raw":  # the list of a folder is read where it is sound, and left to `mend`
        assert verify(room, first, ("cache",)) == []


@pytest.mark.parametrize("file", ["raw/shard-00000.tar", "train"])
def test_a_tampered_remote_is_refused_by_name(room: Layout, file: str) -> None:
    """What neither store has as it was is named, and nothing half done stays."""
    first = records(room, RECIPE)[0]
    flip(_remote(room, file, first))
    shutil.rmtree(room.root / ".dvc" / "cache")

    with pytest.raises(DamagedError) as refused:
        checkout(room, RECIPE, first.digest)

    said = str(refused.value)
    assert said.startswith(file)
    assert "missing in the DVC cache and altered in DVC remote 'store'" in said
    assert said.endswith(f"See: ganmill data verify {RECIPE}@{first.digest[:12]}")
    assert "\n" not in said
    assert not list(room.checkout(RECIPE, first.digest).parent.glob("*"))


def test_bytes_that_only_dvc_takes_for_right_are_refused(room: Layout) -> None:
    """MD5 can be forged: a file has to have the SHA-256 too that was kept of it."""
    first = records(room, RECIPE)[0]
    sums = json.loads((first.folder / SUMS).read_text())
    sums["kind.json"] = "0" * 64
    said = json.loads((first.folder / RECORD).read_text())
    said["files"][SUMS] = write_json(first.folder / SUMS, sums)
    write_json(first.folder / RECORD, said)

    with pytest.raises(DamagedError, match=r"kind\.json: has the MD5 .* but SHA-256"):
        checkout(room, RECIPE, first.digest)

    assert not list(room.checkout(RECIPE, first.digest).parent.glob("*"))


def test_an_altered_checkout_is_made_anew(room: Layout) -> None:
    """A changed, a lost and a strange file in a checkout are found by the next one."""
    first = records(room, RECIPE)[0]
    folder = checkout(room, RECIPE, first.digest)
    flip(folder / "raw" / "shard-00000.tar")
    (folder / "facts" / "verdict.json").unlink()
    (folder / "train" / "more.npy").write_bytes(b"1")

    found = {(each.place, each.file, each.state) for each in verify(room, first)}

    assert found == {
        ("checkout", "raw/shard-00000.tar", "altered"),
        ("checkout", "facts/verdict.json", "missing"),
        ("checkout", "train/more.npy", "unknown"),
    }
    assert _is_whole(first, checkout(room, RECIPE, first.digest))


def test_what_a_killed_checkout_left_is_gone_after_the_next(room: Layout) -> None:
    """Killed in the middle, a checkout is not there, and the same command makes it."""
    first = records(room, RECIPE)[0]
    home = room.checkout(RECIPE, first.digest)
    if not (child := os.fork()):
        with dying_at(20):
            checkout(room, RECIPE, first.digest)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert ended == KILLED
    assert not home.exists()
    assert list(home.parent.glob("*"))
    assert _is_whole(first, checkout(room, RECIPE, first.digest))
    assert list(home.parent.iterdir()) == [home]


def test_every_flipped_bit_is_found_wherever_it_is(room: Layout) -> None:
    """Each file of a version, in the workspace, the cache and the remote, and of its record.

    Size, time and mode are those of before, so DVC itself sees nothing.
    """
    second = find(room, RECIPE, "latest")
    home = room.raw(RECIPE).parent
    assert verify(room, second) == []
    places = {("workspace", file): home / file for file in read_sums(second)}
    for file in [*read_sums(second), *second.dvc]:
        places["cache", file] = _cached(room, file, second)
        places["remote", file] = _remote(room, file, second)
    places |= {("record", file): second.folder / file for file in second.files}

    for (place, file), path in places.items():
        whole = path.read_bytes()
        flip(path)
        found = verify(room, second)
        assert [(each.place, each.state) for each in found] == [(place, "altered")], (place, file)
        assert file in {found[0].file, "kind.json"}
        path.chmod(0o644)
        path.write_bytes(whole)


def test_a_stage_of_folders_and_files_is_restored_unless_its_cache_was_tampered_with(
    room: Layout,
) -> None:
    """What was deleted comes back from the cache; an altered file in it makes the stage run."""
    second = find(room, RECIPE, "latest")
    shutil.rmtree(room.raw(RECIPE).parent)
    restored = reproduce(room, "prepare", RECIPE)
    shutil.rmtree(room.raw(RECIPE).parent)
    flip(_cached(room, "kind.json", second))

    again = reproduce(room, "prepare", RECIPE)

    assert (restored.state, again.state) == ("restored", "ran")
    assert "1 damaged files in the DVC cache" in again.because[0]
    assert verify(room, second) == []


def test_missing_objects_are_found_and_mended(room: Layout) -> None:
    """Cache and remote are put right from each other, or from the files of the workspace."""
    second = find(room, RECIPE, "latest")
    _cached(room, "raw/index.parquet", second).unlink()
    _remote(room, "raw/index.parquet", second).unlink()  # the workspace alone has it
    flip(_remote(room, "raw", second))
    flip(_cached(room, "train/labels.npy", second))
    _remote(room, "facts/facts.parquet", second).unlink()

    found = Counter((each.place, each.state) for each in verify(room, second))

    assert found == {
        ("cache", "missing"): 1,
        ("cache", "altered"): 1,
        ("remote", "missing"): 2,
        ("remote", "altered"): 1,
    }
    assert mend(room, second) == []
    assert verify(room, second) == []


def test_what_nobody_has_stays_named(room: Layout) -> None:
    """Mending says what it could not put right: an earlier version's file that is gone."""
    first = records(room, RECIPE)[0]
    for path in (
        _cached(room, "train/images.npy", first),
        _remote(room, "train/images.npy", first),
    ):
        path.unlink()

    left = mend(room, first)

    assert [(each.place, each.file) for each in left] == [
        ("cache", "train/images.npy"),
        ("remote", "train/images.npy"),
    ]


def test_push_looks_at_each_object_of_the_remote(room: Layout) -> None:
    """A lost or cut object goes again, though the folder's list is there; DVC would skip it."""
    second = find(room, RECIPE, "latest")
    assert push(room, RECIPE) == 0
    _remote(room, "raw/index.parquet", second).unlink()
    cut = _remote(room, "train/images.npy", second)
    cut.chmod(0o644)
    cut.write_bytes(cut.read_bytes()[:100])

    assert push(room, RECIPE) == 2
    assert verify_remote(room, second) == []


def test_a_tampered_cache_object_is_never_pushed(room: Layout) -> None:
    """DVC would copy altered bytes to the remote under the old name."""
    second = find(room, RECIPE, "latest")
    _remote(room, "raw/index.parquet", second).unlink()
    flip(_cached(room, "raw/index.parquet", second))

    with pytest.raises(
        DamagedError, match=r"data/a/raw/index\.parquet: .* is altered, and DVC rem"
    ):
        push(room, RECIPE)

    assert not _remote(room, "raw/index.parquet", second).exists()
    assert mend(room, second) == []
    assert push(room, RECIPE) == 0


def test_no_remote_is_said(room: Layout) -> None:
    """Without a remote nothing is pushed or looked for, and it is said how to have one."""
    (room.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    first = records(room, RECIPE)[0]

    for call in (lambda: push(room, RECIPE), lambda: verify_remote(room, first)):
        with pytest.raises(UsageError, match=r"has no default remote\. Add one with: dvc"):
            call()
    assert verify(room, first) == []
    flip(_cached(room, "kind.json", first))
    with pytest.raises(DamagedError, match="altered in the DVC cache and no DVC remote is config"):
        checkout(room, RECIPE, first.digest)


def test_a_diff_names_what_became_different(two: Layout) -> None:
    """Added, removed, relabelled, redrawn and set-aside images, the classes, and the facts."""
    first, second = records(two, RECIPE)

    found = diff(first, second)

    assert found.added == ["green/31.png", "red/30.png", "red/40.png"]
    assert found.removed == ["blue/00.png"]
    assert found.relabelled == [Change("red/02.png", "blue", "red")]
    assert found.moved == [Change("red/02.png", "blue/02.png", "red/02.png")]
    assert [each.key for each in found.changed] == ["blue/04.png"]
    assert found.rewritten == found.judged == []
    assert [(each.name, each.before, each.after) for each in found.classes] == [
        ("blue", 12, 10),
        ("green", 0, 1),
        ("red", 12, 14),
    ]
    width = next(each for each in found.facts if each.fact == "width")
    assert width.before == width.after == (16.0, 16.0, 16.0)
    assert {"luminance", "sharpness", "entropy"} <= {each.fact for each in found.facts}
    assert not found.is_empty
    assert diff(second, second).is_empty
    assert [each.key for each in diff(second, first).relabelled] == ["blue/02.png"]


def test_a_damaged_record_is_refused(room: Layout) -> None:
    """A table that is not as it was written answers nothing; a broken record is named."""
    first, second = records(room, RECIPE)
    flip(first.folder / MANIFEST)

    with pytest.raises(DamagedError, match=r"manifest\.parquet: is altered"):
        diff(first, second)
    (second.folder / RECORD).write_text('{"format": 1}')
    with pytest.raises(DamagedError, match=r"dataset\.json: is no record of a data version"):
        records(room, RECIPE)
