"""WebDataset tars: what stands beside an image says what it is."""

import io
import json
import tarfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan.errors import SourceError
from gan.image.shards import read_index
from gan.image.sources import ingest
from gan.sections import DataSpec
from tests.gan.image.looking import inspect


def picture(seed: int) -> bytes:
    """Return a PNG of seeded noise."""
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    """Write a tar, files in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, payload in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return path


def sample(number: int, label: str, **fields: Any) -> dict[str, bytes]:
    """Return the files of one sample; what describes it stands before and after the image."""
    return {
        f"{number:06d}.cls": f"{label}\n".encode(),
        f"{number:06d}.png": picture(number),
        f"{number:06d}.json": json.dumps(fields).encode(),
        f"{number:06d}.txt": f"a picture of a {label}".encode(),
    }


def brought_in(path: Path, tmp_path: Path, **options: Any) -> dict[str, dict[Hashable, Any]]:
    """Ingest a source; return the rows of the index by key."""
    spec = DataSpec(source="files", path=str(path), **options)
    ingest(spec, tmp_path, tmp_path / "raw")
    return {row["key"]: row for row in read_index(tmp_path / "raw").to_dict("records")}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Return a tar of two samples."""
    files = {**sample(1, "cat", shot=7, tone="warm"), **sample(2, "dog", shot=7, tone="cold")}
    return tar_of(tmp_path / "train-000.tar", files)


def test_the_class_file_is_a_column(two: Path, tmp_path: Path) -> None:
    """Only images come in; `label_from: cls` names their classes."""
    rows = brought_in(two, tmp_path, label_from="cls")

    assert {key: row["label"] for key, row in rows.items()} == {
        "000001.png": "cat",
        "000002.png": "dog",
    }


def test_the_fields_of_the_json_are_columns(two: Path, tmp_path: Path) -> None:
    """Several of them together make a class, and one says what belongs together."""
    rows = brought_in(two, tmp_path, label_from=["cls", "tone"], group_from="shot")

    assert rows["000001.png"]["label"] == "cat / warm"
    assert json.loads(rows["000002.png"]["conditions"]) == {"cls": "dog", "tone": "cold"}
    assert {row["group"] for row in rows.values()} == {"7"}


def test_init_sees_the_columns(two: Path) -> None:
    """They are proposed like those of a labels.csv."""
    assert inspect(two).columns == ["cls", "shot", "tone", "txt"]


def test_a_folder_of_tars_is_one_source(tmp_path: Path) -> None:
    """Shards may use the same numbers; their names come first in the keys, in no label."""
    for number, label in enumerate(("cat", "dog")):
        tar_of(tmp_path / "in" / f"train-{number:03d}.tar", sample(1, label))
    (tmp_path / "in" / "README.md").write_text("about")
    rows = brought_in(tmp_path / "in", tmp_path, label_from="cls")

    keys = {"train-000/000001.png": "cat", "train-001/000001.png": "dog"}
    assert {key: row["label"] for key, row in rows.items()} == keys
    assert {row["label"] for row in brought_in(tmp_path / "in", tmp_path).values()} == {""}


def test_a_damaged_tar_of_several_is_named(tmp_path: Path) -> None:
    """The others are whole; the message says which one to fetch again."""
    for number in range(3):
        tar_of(tmp_path / "in" / f"train-{number:03d}.tar", sample(1, "cat"))
    with (tmp_path / "in" / "train-001.tar").open("r+b") as file:
        file.truncate(2000)

    with pytest.raises(SourceError, match=r"train-001\.tar: is damaged.*TRUNCATED"):
        inspect(tmp_path / "in")


def test_tars_beside_images_are_not_opened(tmp_path: Path) -> None:
    """A folder of images with an archive in it is a folder of images."""
    tar_of(tmp_path / "in" / "more.tar", sample(1, "cat"))
    for number in (1, 2):
        (tmp_path / "in" / f"{number}.png").write_bytes(picture(number))
    spec = DataSpec(source="files", path=str(tmp_path / "in"))
    done = ingest(spec, tmp_path, tmp_path / "raw")

    assert (done.images, done.skipped) == (2, {"NESTED_ARCHIVE": 1})


def test_a_description_that_cannot_be_read_describes_nothing(tmp_path: Path) -> None:
    """One broken file of a million costs its own image alone, and is noted."""
    files = {**sample(1, "cat"), **sample(2, "dog"), **sample(3, "owl")}
    files["000003.json"] = b"[" * 100_000
    files["000002.cls"] = b"\xff\xfe"
    spec = DataSpec(source="files", path=str(tar_of(tmp_path / "in.tar", files)), label_from="txt")
    done = ingest(spec, tmp_path, tmp_path / "raw")

    assert (done.images, done.noted) == (3, {"LABELS_INVALID": 2})


def test_frames_named_alike_up_to_a_dot_stay_a_stream(tmp_path: Path) -> None:
    """`frame.0001.png` to `frame.0300.png` are no sample, and do not pile up in memory."""
    files = {f"frame.{number:04d}.png": picture(number) for number in range(300)}
    rows = brought_in(tar_of(tmp_path / "in.tar", files), tmp_path)

    assert list(rows) == list(files)
