"""Publications of a batch in four forms, as folders of this machine."""

import errno
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.assets.exports import export
from gan.assets.files import Marks
from gan.assets.manifest import MANIFEST, Row, read_rows
from gan.assets.parquet import rows_of
from gan.durable import sha256
from gan.errors import DamagedError, GanmillError, UsageError
from gan.image.members import Survey
from gan.image.reading import read_members
from gan.marking import credentials
from gan.platforms import pack_problems
from tests.faults.seam import dying_at, failing_at
from tests.gan.assets.batches import mint_batch

FORMS = ("folder", "zip", "webdataset", "imagefolder")


@pytest.fixture(scope="module")
def minted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Marks]:
    """Return a real batch of eight assets as PNG and in WhatsApp packs, and its marks."""
    return mint_batch(tmp_path_factory.mktemp("minted"), 8, ("png", "whatsapp"))


@pytest.fixture(scope="module")
def rows(minted: tuple[Path, Marks]) -> list[Row]:
    """Return its accepted assets."""
    return [row for row in read_rows(minted[0] / MANIFEST) if row.verdict == "accepted"]


@pytest.fixture(scope="module")
def put(minted: tuple[Path, Marks]) -> Callable[..., Any]:
    """Return what exports rows in a form to a target."""
    return lambda rows, form, target: export(minted[0], rows, form, str(target), minted[1])


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def is_listed_whole(folder: Path) -> bool:
    """Return whether `index.json` lists all that is there, each file by its SHA-256."""
    listed = json.loads((folder / "index.json").read_bytes())["files"]
    found = {path: sha256(folder / path) for path in tree(folder) if path != "index.json"}
    return bool(listed == found)


def test_a_folder_holds_the_packs_as_they_were_signed(
    minted: tuple[Path, Marks], rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """Pictures and listings are the batch's own bytes; nothing of what was not accepted goes."""
    done = put(rows, "folder", tmp_path / "out")
    files = tree(tmp_path / "out")
    pictures = {file.path for row in rows for file in row.files}

    assert (done.assets, done.already, done.files) == (8, False, len(files) - 1)
    assert all(files[path] == (minted[0] / path).read_bytes() for path in pictures)
    assert {path.partition("/")[0] for path in files} == {
        *("png", "whatsapp", "croissant.json", "index.json", "manifest.jsonl", "manifest.parquet")
    }
    assert read_rows(tmp_path / "out" / MANIFEST) == rows == rows_of(files["manifest.parquet"])
    assert is_listed_whole(tmp_path / "out")
    assert pack_problems(tmp_path / "out") == []


def test_a_pack_is_made_again_without_what_was_left_out(
    minted: tuple[Path, Marks], rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """Listings do not name it, its icon is another one's and signed, and the rest is unchanged."""
    contents = json.loads((minted[0] / "whatsapp/cats-01/contents.json").read_bytes())
    name = contents["sticker_packs"][0]["stickers"][0]["image_file"]
    kept = [row for row in rows if not name.startswith(row.asset)]
    put(kept, "folder", tmp_path / "out")
    files = tree(tmp_path / "out")
    icon = credentials.read(files["whatsapp/cats-01/tray.png"])

    assert len(kept) == 7
    assert pack_problems(tmp_path / "out") == []
    assert not any(name.partition(".")[0].encode() in payload for payload in files.values())
    assert files["whatsapp/stars-01/tray.png"] == tree(minted[0])["whatsapp/stars-01/tray.png"]
    assert icon is not None
    originals = {sha256(path) for path in minted[0].rglob("*.webp")}
    assert all(sha256(path) in originals for path in (tmp_path / "out").rglob("*.webp"))


def test_too_few_for_a_pack_is_said_before_anything_goes(
    rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """A pack that its platform would refuse is never published."""
    with pytest.raises(UsageError, match=r"2 assets are left for WhatsApp.*at least 3"):
        put(rows[:2], "folder", tmp_path / "out")
    with pytest.raises(UsageError, match="no asset is left"):
        put([], "zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMS)
def test_the_same_assets_give_the_same_bytes(
    form: str, rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """In every form, and a second call at the same target has nothing to do."""
    for name in ("a", "b"):
        assert not put(rows, form, tmp_path / name).already
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}

    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert is_listed_whole(tmp_path / "a")
    assert put(rows, form, tmp_path / "a").already
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == stamps


def test_a_zip_holds_what_the_folder_does(
    rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """The same files, pictures not packed a second time."""
    put(rows, "folder", tmp_path / "folder")
    put(rows, "zip", tmp_path / "zip")
    (path,) = (tmp_path / "zip").glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}

    there = tree(tmp_path / "folder")
    there.pop("index.json")
    assert found == there


def test_a_webdataset_is_a_source_of_ours(
    rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """Our own reader takes a tar: each picture once, with class and asset as columns."""
    put(rows, "webdataset", tmp_path / "out")
    found = {}
    for member in read_members(tmp_path / "out" / "whatsapp-000000.tar", Survey()):
        found[member.columns["asset"]] = (member.columns["class"], sha_of(member.read()))

    wanted = {row.asset: (row.class_, file_of(row, "whatsapp").sha256) for row in rows}
    assert found == wanted
    with tarfile.open(tmp_path / "out" / "png-000000.tar") as tar:
        assert {entry.mtime for entry in tar} == {0}
        assert tar.extractfile(f"{rows[0].asset}.cls").read() in {b"0", b"1"}  # type: ignore[union-attr]


def sha_of(payload: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    import hashlib

    return hashlib.sha256(payload).hexdigest()


def file_of(row: Row, platform: str) -> Any:
    """Return a row's file for a platform."""
    return next(file for file in row.files if file.platform == platform)


def test_an_imagefolder_lists_its_pictures(
    rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """A folder for each platform and split; `file_name` leads to a picture below it."""
    put(rows, "imagefolder", tmp_path / "out")
    train = tmp_path / "out" / "whatsapp" / "train"
    lines = [json.loads(line) for line in (train / "metadata.jsonl").read_text().splitlines()]
    card = (tmp_path / "out" / "README.md").read_text()

    assert {sha256(train / line["file_name"]) for line in lines} == {
        file_of(row, "whatsapp").sha256 for row in rows
    }
    assert {line["class"] for line in lines} == {"cats", "stars"}
    assert "- config_name: whatsapp\n  data_dir: whatsapp\n" in card


def test_an_altered_file_does_not_go_out(
    minted: tuple[Path, Marks], rows: list[Row], tmp_path: Path
) -> None:
    """Bytes are hashed as they leave: what changed after it was verified stops everything."""
    import shutil

    folder = Path(shutil.copytree(minted[0], tmp_path / "batch"))
    path = folder / rows[3].files[0].path
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(DamagedError, match=rows[3].asset):
        export(folder, rows, "folder", str(tmp_path / "out"), minted[1])
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_what_is_not_ours_is_not_replaced(
    minted: tuple[Path, Marks], rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """A folder of somebody's, a link, the batch itself: refused by name, and left as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    (tmp_path / "link").symlink_to(tmp_path / "mine")

    for name in ("mine", "link"):
        with pytest.raises(UsageError, match="not published by ganmill"):
            put(rows, "folder", tmp_path / name)
    for target in (minted[0], minted[0] / "out", minted[0].parent):
        with pytest.raises(UsageError, match="where the batch does"):
            put(rows, "folder", target)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"


def test_a_full_disk_leaves_what_was_published(
    rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """Whatever change of the disk fails, the old publication or the new one is there, whole."""
    put(rows[:7], "webdataset", tmp_path / "out")
    old = tree(tmp_path / "out")
    put(rows, "webdataset", tmp_path / "new")
    new = tree(tmp_path / "new")
    ends = set()
    for nth in range(1, 60):
        with failing_at(nth, errno.ENOSPC) as passed:
            try:
                put(rows, "webdataset", tmp_path / "out")
            except GanmillError as error:
                ends.add("space" in str(error))
        if (tmp_path / "out").exists():
            assert tree(tmp_path / "out") in (old, new)
        put(rows, "webdataset", tmp_path / "out")
        assert tree(tmp_path / "out") == new
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]
        if len(passed) < nth:
            break
        put(rows[:7], "webdataset", tmp_path / "out")

    assert ends == {True}
    assert len(passed) < nth  # it was tried to the end


def test_killed_anywhere_the_same_call_finishes(
    rows: list[Row], put: Callable[..., Any], tmp_path: Path
) -> None:
    """A process that dies between any two changes of the disk leaves nothing in the way."""
    put(rows, "webdataset", tmp_path / "whole")
    for nth in (1, 5, 9, 14, 18, 21, 24, 27):
        if (child := os.fork()) == 0:
            with dying_at(nth):
                put(rows, "webdataset", tmp_path / "out")
            os._exit(0)
        os.waitpid(child, 0)
        put(rows, "webdataset", tmp_path / "out")
        assert tree(tmp_path / "out") == tree(tmp_path / "whole")
        put(rows[:7], "webdataset", tmp_path / "out")
