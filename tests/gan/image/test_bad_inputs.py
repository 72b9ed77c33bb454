"""The hostile archives, names, clutter and label tables of the shared bad inputs, row by row."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from gan.durable import read_json
from gan.errors import SourceError
from gan.image.shards import read_index
from gan.image.sources import Ingested, ingest
from gan.sections import DataSpec

SHARED = Path(__file__).resolve().parents[3].parent / "shared/data"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")


def expected(folder: str) -> list[dict[str, str]]:
    """Return the rows of `expected.csv` for the files of a folder."""
    if not SHARED.exists():
        return []
    with zipfile.ZipFile(SHARED / "bad_inputs.zip") as outer:
        rows = csv.DictReader(io.StringIO(outer.read("expected.csv").decode(), newline=""))
        return [row for row in rows if row["file"].startswith(folder)]


def payload_of(file: str) -> bytes:
    """Return one file of the bad inputs."""
    with zipfile.ZipFile(SHARED / "bad_inputs.zip") as outer:
        return outer.read(file)


def ingested(path: Path, tmp_path: Path, label_from: str = "folder") -> Ingested:
    """Bring a source in."""
    spec = DataSpec(source="files", path=str(path), label_from=label_from)
    return ingest(spec, tmp_path, tmp_path / "raw")


def answer(path: Path, tmp_path: Path) -> tuple[str, str]:
    """Return ("reject", message) of a refused archive, ("warn", codes) or ("accept", "")."""
    try:
        done = ingested(path, tmp_path)
    except SourceError as error:
        return "reject", str(error)
    return ("warn", " ".join(done.noted)) if done.noted else ("accept", "")


@pytest.mark.parametrize("row", expected("archives/"), ids=lambda row: row["file"])
def test_every_hostile_archive_gets_the_verdict_it_should(
    row: dict[str, str], tmp_path: Path
) -> None:
    """Refused with the reason, or taken in with a note; nothing is written outside of `raw`."""
    path = tmp_path / "in" / PurePosixPath(row["file"]).name
    path.parent.mkdir()
    path.write_bytes(payload_of(row["file"]))
    (tmp_path / "in" / "ok.png").write_bytes(payload_of("tree/good/ok_00.png"))
    verdict, said = answer(path, tmp_path)
    if row["reason_code"] == "UNSAFE_MODE":  # one image alone is no source: a second one
        assert "one image only" in said
        verdict, said = answer(with_a_second_image(path), tmp_path)

    assert verdict == row["expected"], said
    assert row["reason_code"] in said
    assert "\n" not in said
    outside = {file.parent.name for file in tmp_path.rglob("*") if file.is_file()} - {"in", "raw"}
    assert not outside


def with_a_second_image(path: Path) -> Path:
    """Append a good image to a tar."""
    with tarfile.open(path, "a") as archive:
        archive.add(path.parent / "ok.png", "ok/second.png")
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ingested, dict[str, Any]]:
    """Ingest the whole archive once; return the raw folder, what came in, and its report."""
    folder = tmp_path_factory.mktemp("tree")
    done = ingested(SHARED / "bad_inputs.zip", folder)
    return folder / "raw", done, read_json(folder / "raw" / "skipped.json")


def reason_of(key: str, report: dict[str, Any]) -> tuple[str, str]:
    """Return what the report says of a file: ("reject" or "warn" or "", reason code)."""
    for verdict, part in (("reject", "skipped"), ("warn", "noted")):
        for reason, entry in report[part].items():
            if ascii(key)[1:-1] in entry["examples"]:
                return verdict, reason
    return "", ""


@pytest.mark.parametrize("row", expected("tree/names/"), ids=lambda row: ascii(row["file"]))
def test_every_odd_name_gets_the_verdict_it_should(
    row: dict[str, str], tree: tuple[Path, Ingested, dict[str, Any]]
) -> None:
    """Taken, taken with a note, or left out with the reason."""
    raw, _, report = tree
    verdict, reason = reason_of(row["file"], report)
    is_in = row["file"] in set(read_index(raw)["key"])

    assert is_in == (row["expected"] != "reject")
    assert (verdict or "accept") == row["expected"]
    assert (reason or "OK") == row["reason_code"]


@pytest.mark.parametrize("row", expected("tree/clutter/"), ids=lambda row: row["file"])
def test_clutter_is_left_out_in_silence(
    row: dict[str, str], tree: tuple[Path, Ingested, dict[str, Any]]
) -> None:
    """Never an error, never an image; the image beside it comes in."""
    raw, _, report = tree

    assert (row["file"] in set(read_index(raw)["key"])) == (row["expected"] == "accept")
    assert reason_of(row["file"], report) == ("", "")


def test_an_empty_class_folder_and_wrong_suffixes_are_noted(
    tree: tuple[Path, Ingested, dict[str, Any]],
) -> None:
    """What no decoder can know is told by ingest: names, and folders with nothing in them."""
    raw, done, report = tree
    names = ("tree/formats/no_extension", "tree/formats/jpeg_named.png")

    assert done.noted["CLASS_EMPTY"] == 1
    assert reason_of("tree/empty_class", report) == ("warn", "CLASS_EMPTY")
    assert [reason_of(name, report) for name in names] == [("warn", "EXTENSION_MISMATCH")] * 2
    assert set(names) <= set(read_index(raw)["key"])
    foreign = {"script.svg": "ACTIVE_CONTENT", "picture.png.exe": "EXTENSION_NOT_ALLOWED"}
    for name, reason in foreign.items():
        assert reason_of(f"tree/formats/{name}", report) == ("reject", reason)
    assert reason_of("tree/broken/junk.heic", report) == ("reject", "UNSUPPORTED_FORMAT")


@pytest.mark.parametrize("row", expected("labels/"), ids=lambda row: row["file"])
def test_every_bad_table_of_labels_is_refused(row: dict[str, str], tmp_path: Path) -> None:
    """One line with the reason code."""
    message = refusal(row["file"], tmp_path)

    assert row["expected"] == "reject"
    assert row["reason_code"] in message
    assert "\n" not in message


def refusal(table: str, tmp_path: Path) -> str:
    """Return the message for the tree with one of the tables beside it."""
    path = tmp_path / "in.zip"
    with (
        zipfile.ZipFile(SHARED / "bad_inputs.zip") as outer,
        zipfile.ZipFile(path, "w") as inner,
    ):
        for name in outer.namelist():
            if name.startswith("tree/good/"):
                inner.writestr(name.removeprefix("tree/"), outer.read(name))
        inner.writestr("labels.csv", outer.read(table))
    with pytest.raises(SourceError) as caught:
        ingested(path, tmp_path, "label")
    return str(caught.value)


def test_each_fault_of_a_table_is_told_with_its_line(tmp_path: Path) -> None:
    """All at once, so that the table is mended in one go."""
    message = refusal("labels/labels_bad.csv", tmp_path)
    faults = {
        4: "repeats line 3",
        6: "'good/ok_02.png' is 'good' here and 'broken' in line 5",
        7: "there is no image 'missing/not_there.png'",
        8: "'../../../outside.png' points outside the source",
        9: "says nothing of 'good/ok_03.png'",
        10: "names no file",
        12: "3 fields for 2 columns",
        13: "a quote is not closed",
    }

    for line, fault in faults.items():
        assert f"line {line}: {fault}" in message
