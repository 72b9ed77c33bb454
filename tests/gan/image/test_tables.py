"""Parquet files with images in a column, as the Hugging Face hub serves data sets."""

import io
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gan.durable import read_json
from gan.errors import SourceError
from gan.image.shards import Shards, places, read_index
from gan.image.sources import ingest
from gan.sections import DataSpec
from tests.gan.image.looking import inspect


def picture(seed: int, kind: str = "PNG") -> bytes:
    """Return an encoded image of seeded noise."""
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    return file.getvalue()


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def hub_table(rows: list[dict[str, Any]], names: list[str] | None = None) -> pa.Table:
    """Return a table as `datasets` writes it: image structs, and class numbers with names."""
    fields = [
        pa.field("image", STRUCT),
        pa.field("label", pa.int64()),
        pa.field("shot", pa.int64()),
    ]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": names, "_type": "ClassLabel"} if names else {"_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.Table.from_pylist(rows, schema=pa.schema(fields, metadata=metadata))


def row(seed: int, label: int | None = 0, path: str | None = None, shot: int = 0) -> dict[str, Any]:
    """Return one row of such a table."""
    return {"image": {"bytes": picture(seed), "path": path}, "label": label, "shot": shot}


def brought_in(path: Path, tmp_path: Path, **options: Any) -> dict[str, dict[Hashable, Any]]:
    """Ingest a source; return the rows of the index by key."""
    spec = DataSpec(source="files", path=str(path), **options)
    ingest(spec, tmp_path, tmp_path / "raw")
    index = read_index(tmp_path / "raw")
    return {row["key"]: row for row in index.to_dict("records")}


def test_a_hub_file_comes_in_with_the_names_of_its_classes(tmp_path: Path) -> None:
    """Class numbers are told by name, as the hub shows them, and are kept as a condition."""
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(hub_table([row(1, 1), row(2, 0), row(3, 1)], ["cat", "dog"]), path)
    rows = brought_in(path, tmp_path, label_from="label")

    assert [rows[key]["label"] for key in sorted(rows)] == ["dog", "cat", "dog"]
    assert list(rows) == ["00000000.png", "00000001.png", "00000002.png"]
    assert json.loads(rows["00000001.png"]["conditions"]) == {"label": "cat"}
    with Shards(tmp_path / "raw") as shards:
        payloads = [shards.read(place) for place in places(read_index(tmp_path / "raw"))]
    assert payloads == [picture(1), picture(2), picture(3)]


def test_the_paths_of_rows_are_keys_where_they_are_new_and_plain(tmp_path: Path) -> None:
    """A repeated, hostile or foreign path gives way to the row's number; none leads anywhere."""
    paths = ["cats/a.png", "cats/a.png", "../../etc/x.png", "/home/me/b.png", "bell\x07.png", "c"]
    path = tmp_path / "in.parquet"
    pq.write_table(hub_table([row(n, path=p) for n, p in enumerate(paths)]), path)
    rows = brought_in(path, tmp_path, label_from="folder")

    wanted = {"cats/a.png", "00000001.png", "etc/x.png", "home/me/b.png"}
    assert set(rows) == {*wanted, "00000004.png", "00000005.png"}
    assert (rows["cats/a.png"]["label"], rows["00000001.png"]["label"]) == ("cats", "")


def test_a_folder_of_parquet_files_is_one_source(tmp_path: Path) -> None:
    """Files of splits stand beside each other; one without pictures is left out by name."""
    for split in ("test", "train"):
        (tmp_path / "in" / split).mkdir(parents=True)
        rows = [row(len(split) * 10 + n, n) for n in range(2)]
        pq.write_table(hub_table(rows), tmp_path / "in" / split / "0000.parquet")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "in" / "notes.parquet")
    found = brought_in(tmp_path / "in", tmp_path)

    wanted = [f"{split}/0000/0000000{n}.png" for split in ("test", "train") for n in range(2)]
    assert list(found) == wanted
    assert {entry["label"] for entry in found.values()} == {""}
    skipped = read_json(tmp_path / "raw" / "skipped.json")["skipped"]
    assert skipped == {"NO_IMAGE_COLUMN": {"count": 1, "examples": ["notes.parquet"]}}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_plain_column_of_bytes_will_do(kind: pa.DataType, tmp_path: Path) -> None:
    """Texts, truth values and packed texts may label it; JPEGs are told by their first bytes."""
    images = pa.array([picture(1, "JPEG"), picture(2, "JPEG")], kind)
    mood = pa.array(["glad", "sad"]).dictionary_encode()
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"jpg": images, "mood": mood, "new": [True, False]}), path)
    rows = brought_in(path, tmp_path, label_from=["mood", "new"])

    assert [entry["label"] for entry in rows.values()] == ["glad / True", "sad / False"]
    assert list(rows) == ["00000000.jpg", "00000001.jpg"]


def test_rows_without_a_picture_or_a_label_are_left_out(tmp_path: Path) -> None:
    """No bytes, no label, and the class number -1 of a test split: each with its reason."""
    rows = [row(1, 0), row(2, 1), row(3, None), row(4, -1), row(5, 9)]
    rows.append({"image": {"bytes": None, "path": "gone.png"}, "label": 0, "shot": 0})
    rows.append({"image": None, "label": 0, "shot": 0})
    path = tmp_path / "in.parquet"
    pq.write_table(hub_table(rows, ["cat", "dog"]), path)
    spec = DataSpec(source="files", path=str(path), label_from="label")
    done = ingest(spec, tmp_path, tmp_path / "raw")

    assert (done.images, done.skipped) == (2, {"EMPTY_FILE": 2, "LABEL_MISSING": 3})


def test_rows_of_one_group_are_told(tmp_path: Path) -> None:
    """Any column may say which images belong together."""
    path = tmp_path / "in.parquet"
    pq.write_table(hub_table([row(n, 0, shot=n // 2) for n in range(4)]), path)
    rows = brought_in(path, tmp_path, label_from="label", group_from="shot")

    assert [entry["group"] for entry in rows.values()] == ["0", "0", "1", "1"]


def test_init_sees_the_columns(tmp_path: Path) -> None:
    """`ganmill init` proposes a column that is there; a wrong one is told with those there are."""
    path = tmp_path / "in.parquet"
    pq.write_table(hub_table([row(1, 0), row(2, 1)], ["cat", "dog"]), path)
    seen = inspect(path, "label")

    assert (seen.columns, seen.labels) == (["label", "shot"], {"cat": 1, "dog": 1})
    with pytest.raises(SourceError, match=r"it has label, shot\. Did you mean label"):
        inspect(path, "labels")


def test_a_file_without_pictures_is_refused_with_its_columns(tmp_path: Path) -> None:
    """The message names what there is."""
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), path)

    with pytest.raises(SourceError, match="no column of image bytes; it has text, label"):
        inspect(path)


def test_a_value_that_fills_every_row_is_a_bomb(tmp_path: Path) -> None:
    """A dictionary of one large value stands for 100,000: refused before it takes the memory."""
    value = pa.array([bytes(1 << 20)])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), value)
    path = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"image": column}),
        path,
        dictionary_pagesize_limit=2 << 20,
        store_schema=False,
    )

    assert path.stat().st_size < 1 << 20
    with pytest.raises(SourceError, match="ARCHIVE_BOMB"):
        inspect(path)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """Cut, or with bytes flipped anywhere: what is read is right, or it is refused."""
    path = tmp_path / "in.parquet"
    pq.write_table(hub_table([row(n, n % 2) for n in range(40)], ["cat", "dog"]), path)
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(100):
        payload = bytearray(whole)
        for at in random.integers(0, len(whole), 3):
            payload[at] ^= int(random.integers(1, 256))
        path.write_bytes(payload[: len(payload) if random.random() < 0.7 else at])
        try:
            inspect(path, "label")
        except SourceError as error:
            refused += "\n" not in str(error)

    assert refused >= 30
