"""Bringing anybody's images in: what comes in, what stays out, what is refused."""

import hashlib
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.durable import read_json
from gan.errors import SourceError
from gan.image.shards import Shards, places, read_index
from gan.image.sources import ingest
from gan.sections import DataSpec, GlyphsSpec
from tests.gan.image.looking import inspect

SHARED = Path(__file__).resolve().parents[3].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")


def drawing(seed: int, side: int = 8) -> bytes:
    """Return a PNG of seeded noise."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


PICTURES = {"cats/b.png": drawing(1), "cats/a.png": drawing(2), "dogs/x.PNG": drawing(3)}


def spec(path: Path, label_from: str = "folder") -> DataSpec:
    """Return the data section of a recipe over `path`."""
    return DataSpec(source="files", path=str(path), label_from=label_from, licence="CC0")


def folder_of(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below `root`."""
    for name, payload in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(payload)
    return root


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    """Write a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, payload in files.items():
            archive.writestr(name, payload)
    return path


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    """Write a tar, compressed as `mode` says."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, payload in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return path


def source_of(kind: str, root: Path, files: dict[str, bytes]) -> Path:
    """Write the same files as a folder, a zip, or one of the tars."""
    root.mkdir(exist_ok=True)
    if kind == "folder":
        return folder_of(root / "images", files)
    if kind == "zip":
        return zip_of(root / "images.zip", files)
    return tar_of(root / f"images.{kind}", files, f"w:{kind}" if kind != "tar" else "w")


def bring_in(path: Path, tmp_path: Path, label_from: str = "folder") -> dict[str, str]:
    """Ingest a source and return {key: label}."""
    ingest(spec(path, label_from), tmp_path, tmp_path / "raw")
    index = read_index(tmp_path / "raw")
    return dict(zip(index["key"], index["label"], strict=True))


KINDS = ["folder", "zip", "tar", "gz", "xz", "bz2"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same_images(kind: str, tmp_path: Path) -> None:
    """A folder and its archives come in alike: same keys, labels and bytes, sorted by key."""
    path = source_of(kind, tmp_path / "in", PICTURES)
    done = ingest(spec(path), tmp_path, tmp_path / "raw")
    index = read_index(tmp_path / "raw")

    assert index["key"].tolist() == sorted(PICTURES)
    assert index["label"].tolist() == ["cats", "cats", "dogs"]
    assert done.labels == {"cats": 2, "dogs": 1}
    assert set(index["licence"]) == {"CC0"}
    with Shards(tmp_path / "raw") as shards:
        payloads = [shards.read(place) for place in places(index)]
    assert payloads == [PICTURES[key] for key in sorted(PICTURES)]
    assert index["sha256"].tolist() == [hashlib.sha256(p).hexdigest() for p in payloads]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_source_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    """DVC sees no change where there is none."""
    path = source_of(kind, tmp_path / "in", PICTURES)
    for name in ("one", "two"):
        ingest(spec(path), tmp_path, tmp_path / name)

    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["changes.json", "index.parquet", "shard-00000.tar", "skipped.json"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_shard_is_a_plain_tar_that_any_tool_opens(tmp_path: Path) -> None:
    """Members are named by ordinal and carry no time, owner or foreign name."""
    bring_in(folder_of(tmp_path / "in", PICTURES), tmp_path)
    with tarfile.open(tmp_path / "raw" / "shard-00000.tar", "r:") as archive:
        members = archive.getmembers()

    assert [member.name for member in members] == ["00000000.png", "00000001.png", "00000002.png"]
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}


def test_shards_hold_at_most_ten_thousand_files(tmp_path: Path) -> None:
    """Large sources are cut; a smaller one later leaves no old shard behind."""
    many = zip_of(tmp_path / "many.zip", {f"{n:05d}.png": b"%d" % n for n in range(10_001)})
    ingest(spec(many), tmp_path, tmp_path / "raw")
    index = read_index(tmp_path / "raw")

    assert index["shard"].value_counts().to_dict() == {0: 10_000, 1: 1}
    bring_in(zip_of(tmp_path / "few.zip", PICTURES), tmp_path)
    assert not (tmp_path / "raw" / "shard-00001.tar").exists()


def test_labels_come_from_the_folder_or_from_nowhere(tmp_path: Path) -> None:
    """The folder that directly holds an image names its class; at the top there is none."""
    files = {"train/cats/a.png": drawing(1), "b.png": drawing(2)}
    path = folder_of(tmp_path / "in", files)

    assert bring_in(path, tmp_path) == {"train/cats/a.png": "cats", "b.png": ""}
    assert set(bring_in(path, tmp_path, "none").values()) == {""}


@pytest.mark.parametrize("kind", ["folder", "zip", "xz"])
def test_labels_come_from_a_column_of_labels_csv(kind: str, tmp_path: Path) -> None:
    """The table is found at the source's top, also when a tar holds it last."""
    table = "\ufefffile,mood\ncats/a.png,glad\ncats/b.png,sad\n".encode()
    path = source_of(kind, tmp_path / "in", {**PICTURES, "labels.csv": table})

    assert bring_in(path, tmp_path, "mood") == {"cats/a.png": "glad", "cats/b.png": "sad"}
    skipped = read_json(tmp_path / "raw" / "skipped.json")["skipped"]
    assert skipped == {"LABEL_MISSING": {"count": 1, "examples": ["dogs/x.PNG"]}}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (None, "no labels.csv"),
        (b"file,mod\na.png,1\n", "Did you mean mod"),
        (b"name,mood\na.png,1\n", "no column file"),
        (b"file,mood\na.png,1\na.png,2\n", "line 3"),
        ("file,mood\na.png,\u00e9\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_wrong_table_of_labels_is_one_clear_line(
    table: bytes | None, says: str, tmp_path: Path
) -> None:
    """The message names the table, the line or the column, and what is there."""
    files = {"a.png": drawing(1), "b.png": drawing(2)}
    path = folder_of(tmp_path / "in", files if table is None else {**files, "labels.csv": table})
    with pytest.raises(SourceError, match=says) as caught:
        bring_in(path, tmp_path, "mood")

    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "raw").glob("*"))


def test_clutter_is_left_out_and_counted(tmp_path: Path) -> None:
    """Notes and hidden files are no matter; what only pretends is named with its reason."""
    clutter = [".DS_Store", "__MACOSX/._a.png", "Thumbs.db", "LICENSE", "notes.md", ".h/x.png"]
    odd = {"run.exe": b"x", "inner.zip": b"x", "a.heic": b"x", "bell\x07.png": drawing(9)}
    path = folder_of(tmp_path / "in", {**PICTURES, **dict.fromkeys(clutter, b"x"), **odd})
    done = ingest(spec(path), tmp_path, tmp_path / "raw")

    assert done.images == len(PICTURES)
    assert done.clutter == len(clutter)
    assert done.skipped == {
        "EXTENSION_NOT_ALLOWED": 1,
        "NESTED_ARCHIVE": 1,
        "UNSAFE_NAME": 1,
        "UNSUPPORTED_FORMAT": 1,
    }


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_odd_names_are_keys_like_any_other_or_are_set_aside(kind: str, tmp_path: Path) -> None:
    """Spaces, dashes, quotes and letters of the world come in; control characters do not."""
    good = ["-rf.png", "$(touch x);.png", 'quote"and,comma.png', "\u8868\u60c5-\U0001f600.png"]
    odd = ["new\nline.png", "rtl_\u202egnp.png"]
    path = source_of(kind, tmp_path / "in", {n: drawing(i) for i, n in enumerate(good + odd)})

    assert sorted(bring_in(path, tmp_path)) == sorted(good)
    skipped = read_json(tmp_path / "raw" / "skipped.json")["skipped"]
    assert skipped["UNSAFE_NAME"]["count"] == len(odd)
    assert all(example.isprintable() for example in skipped["UNSAFE_NAME"]["examples"])


def test_a_name_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    """Bytes that no table can hold do not end the work."""
    path = folder_of(tmp_path / "in", PICTURES)
    (path / os.fsdecode(b"caf\xe9.png")).write_bytes(drawing(9))

    assert ingest(spec(path), tmp_path, tmp_path / "raw").skipped == {"UNSAFE_NAME": 1}


def test_links_and_special_files_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    """A link to a file outside, and a pipe that would block, stay outside."""
    path = folder_of(tmp_path / "in", PICTURES)
    (tmp_path / "secret.png").write_bytes(drawing(7))
    (path / "link.png").symlink_to(tmp_path / "secret.png")
    (path / "loop").symlink_to(path)
    os.mkfifo(path / "pipe.png")
    done = ingest(spec(path), tmp_path, tmp_path / "raw")

    assert done.images == len(PICTURES)
    assert done.skipped == {"LINK_IN_ARCHIVE": 2, "SPECIAL_FILE": 1}


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/evil.png", "..\\..\\evil.png", "C:\\evil.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_that_points_outside_is_refused_whole(
    kind: str, name: str, tmp_path: Path
) -> None:
    """Nothing of a hostile archive is used, and nothing is written anywhere."""
    path = source_of(kind, tmp_path / "in", {**PICTURES, name: drawing(9)})
    with pytest.raises(SourceError, match="PATH_TRAVERSAL"):
        bring_in(path, tmp_path)

    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [path.name]


def test_an_archive_with_twin_names_is_refused(tmp_path: Path) -> None:
    """Two programs may each read another one of the twins, so neither is believed."""
    zip_of(tmp_path / "twins.zip", {"a.png": drawing(0), "b.png": drawing(1)})
    with (
        zipfile.ZipFile(tmp_path / "twins.zip", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("a.png", drawing(2))

    with pytest.raises(SourceError, match=r"'a\.png' twice \(NAME_COLLISION\)"):
        ingest(spec(tmp_path / "twins.zip"), tmp_path, tmp_path / "raw")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_names_that_only_look_alike_come_in_and_are_noted(kind: str, tmp_path: Path) -> None:
    """Case and ways to write an accent make two files here, and one on another machine."""
    names = ["cafe\u0301.png", "caf\u00e9.png", "a.png", "A.PNG"]
    path = source_of(kind, tmp_path / "in", {n: drawing(i) for i, n in enumerate(names)})
    done = ingest(spec(path), tmp_path, tmp_path / "raw")

    assert (done.images, done.noted["NAME_COLLISION"]) == (4, 2)
    examples = read_json(tmp_path / "raw" / "skipped.json")["noted"]["NAME_COLLISION"]["examples"]
    assert "cafe\\u0301.png" in examples


def link_to(path: Path, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    """Append a link to a tar."""
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = kind, target
        archive.addfile(link)


def test_a_link_inside_an_archive_is_left_out(tmp_path: Path) -> None:
    """What it points to comes in under its own name."""
    path = tar_of(tmp_path / "links.tar", PICTURES)
    link_to(path, "dogs/best.png", "../cats/a.png")
    link_to(path, "again.png", "cats/a.png", tarfile.LNKTYPE)
    done = ingest(spec(path), tmp_path, tmp_path / "raw")

    assert (done.images, done.skipped) == (len(PICTURES), {"LINK_IN_ARCHIVE": 2})


@pytest.mark.parametrize("target", ["/etc", "../../etc", "a/../../etc", "C:\\x"])
def test_an_archive_with_a_link_outside_is_refused(target: str, tmp_path: Path) -> None:
    """No honest archive of images has one."""
    path = tar_of(tmp_path / "links.tar", PICTURES)
    link_to(path, "out", target)

    with pytest.raises(SourceError, match="LINK_IN_ARCHIVE"):
        bring_in(path, tmp_path)


def test_a_member_below_a_link_is_the_graver_matter(tmp_path: Path) -> None:
    """A file that goes through a link means harm, and the message says so."""
    path = tar_of(tmp_path / "links.tar", PICTURES)
    link_to(path, "out", "/etc")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("out/evil.png"), io.BytesIO())

    with pytest.raises(SourceError, match="PATH_TRAVERSAL"):
        bring_in(path, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "gz", "xz"])
def test_an_archive_that_expands_like_a_bomb_is_refused(kind: str, tmp_path: Path) -> None:
    """80 MiB of zeros in a hundred kB do not come in, nor into memory."""
    path = tmp_path / f"bomb.{kind}"
    zeros, step = 80 << 20, bytes(1 << 20)
    if kind == "zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("zeros.bin", "w", force_zip64=True) as file,
        ):
            for _ in range(zeros >> 20):
                file.write(step)
    else:
        with tarfile.open(path, f"w:{kind}", **({"preset": 0} if kind == "xz" else {})) as tar:  # type: ignore[call-overload]
            info = tarfile.TarInfo("zeros.bin")
            info.size = zeros
            with (tmp_path / "zeros").open("wb") as sparse:
                sparse.truncate(zeros)
            with (tmp_path / "zeros").open("rb") as sparse:
                tar.addfile(info, sparse)

    with pytest.raises(SourceError, match="ARCHIVE_BOMB"):
        bring_in(path, tmp_path)


def test_a_tar_header_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    """A long-name record of megabytes is not read into memory."""
    path = tmp_path / "header.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 32 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))

    with pytest.raises(SourceError, match="ARCHIVE_BOMB"):
        bring_in(path, tmp_path)


def test_an_image_file_over_the_cap_is_set_aside(tmp_path: Path) -> None:
    """One absurd file does not stop the others."""
    path = folder_of(tmp_path / "in", PICTURES)
    with (path / "huge.bmp").open("wb") as file:
        file.truncate((64 << 20) + 1)

    assert ingest(spec(path), tmp_path, tmp_path / "raw").skipped == {"FILE_TOO_LARGE": 1}


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "xz", "bz2"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_archive_is_an_error_and_never_half_a_data_set(
    kind: str, damage: str, tmp_path: Path
) -> None:
    """A cut download or a flipped byte is said in one line; no index is left."""
    files = {f"{n}.png": drawing(n, 16) for n in range(40)}
    path = source_of(kind, tmp_path / "in", files)
    payload = bytearray(path.read_bytes())
    if damage == "cut":
        del payload[len(payload) * 2 // 3 :]
    else:  # in a plain tar a byte of a header; elsewhere any byte is under a check sum
        at = payload.index(b"20.png") if kind == "tar" else len(payload) // 2
        payload[at] ^= 0x55
    path.write_bytes(payload)

    with pytest.raises(SourceError, match="damaged") as caught:
        bring_in(path, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "raw").glob("*"))


@pytest.mark.parametrize(
    ("files", "says"),
    [({}, "no images"), ({"a.txt": b"x"}, "1 notes"), ({"a.png": drawing(1)}, "one image only")],
)
def test_too_few_images_are_refused_with_what_was_found(
    files: dict[str, bytes], says: str, tmp_path: Path
) -> None:
    """The message says what was met instead, and what would do."""
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match=says):
        bring_in(folder_of(tmp_path / "in", files), tmp_path)


def test_a_missing_source_names_its_path(tmp_path: Path) -> None:
    """A typing error in data.path is seen at once."""
    with pytest.raises(SourceError, match=r"nowhere: not found.*data\.path"):
        bring_in(tmp_path / "nowhere", tmp_path)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """A single picture is not a source."""
    (tmp_path / "a.png").write_bytes(drawing(1))
    with pytest.raises(SourceError, match="no folder, zip, tar or parquet"):
        bring_in(tmp_path / "a.png", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_unreadable_source_is_said_in_one_line() -> None:
    """Permission denied names the file and ends without a traceback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
        folder_of(folder / "in", PICTURES)
        (folder / "in" / "cats" / "a.png").chmod(0)
        os.seteuid(65534)
        try:
            with pytest.raises(SourceError, match=r"a\.png: cannot be read \(permission denied\)"):
                inspect(folder / "in")
        finally:
            os.seteuid(0)


def test_the_built_in_stickers_come_in_by_family(tmp_path: Path) -> None:
    """The glyphs source needs no file and gives balanced classes."""
    glyphs = DataSpec(source="glyphs", path="x", glyphs=GlyphsSpec(count=28, seed=1))
    done = ingest(glyphs, tmp_path, tmp_path / "raw")

    assert done.images == 28
    assert set(done.labels.values()) == {2}


def test_inspect_tells_what_init_needs(tmp_path: Path) -> None:
    """Count, labels, median size, modes and columns, without bringing anything in."""
    table = b"file,mood\ncats/a.png,glad\n"
    files = {**PICTURES, "broken.png": b"x", "labels.csv": table}
    found = inspect(zip_of(tmp_path / "in.zip", files))

    assert (found.count, found.width_px, found.height_px) == (4, 8, 8)
    assert found.labels == {"": 1, "cats": 2, "dogs": 1}
    assert (found.modes, found.columns) == ({"RGB": 3}, ["file", "mood"])
    assert found.skipped == {"NOT_AN_IMAGE": 1}
    assert found.transparent == 0


def test_inspect_tells_transparent_images_from_those_with_an_idle_alpha(tmp_path: Path) -> None:
    """A share of the readable images, by their pixels; a broken one is listed as any other."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, alpha in enumerate((0, 128, 255)):
        Image.new("RGBA", (8, 8), (number, 0, 0, alpha)).save(folder / f"{number}.png")
    (folder / "plain.png").write_bytes(drawing(1))
    payload = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(payload[: len(payload) // 2])
    found = inspect(folder)

    assert found.transparent == 0.5
    assert sum(found.skipped.values()) == 1


@needs_data
def test_avatars_come_in_with_their_columns_as_labels(tmp_path: Path) -> None:
    """Any of the five traits can be the label."""
    labels = bring_in(SHARED / "avatars.zip", tmp_path, "background")

    assert len(labels) == 5_997
    assert set(labels.values()) == {"cool", "warm"}
