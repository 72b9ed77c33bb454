"""Several columns as conditions, and the column that says what belongs together."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gan.errors import SourceError
from gan.image.shards import read_index
from gan.image.sources import Ingested, ingest
from gan.sections import DataSpec
from tests.gan.image.looking import inspect

SHARED = Path(__file__).resolve().parents[3].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")

TABLE = """file,vendor,mood,shot
a/1.png,noto,glad,7
a/2.png,noto,sad,7
b/3.png,"fluent, 3d",glad,
"""


def source(folder: Path, table: str = TABLE) -> Path:
    """Write a zip of four files and a table that knows three of them."""
    with zipfile.ZipFile(folder / "in.zip", "w") as archive:
        for number, name in enumerate(("a/1.png", "a/2.png", "b/3.png", "b/4.png")):
            archive.writestr(name, b"\x89PNG %d" % number)
        archive.writestr("labels.csv", table)
    return folder / "in.zip"


def brought_in(path: Path, tmp_path: Path, **options: Any) -> tuple[Ingested, pd.DataFrame]:
    """Ingest a source; return what came in and the index, by key."""
    spec = DataSpec(source="files", path=str(path), **options)
    done = ingest(spec, tmp_path, tmp_path / "raw")
    return done, read_index(tmp_path / "raw").set_index("key")


def test_several_columns_make_one_class_and_stay_conditions(tmp_path: Path) -> None:
    """The class joins their values in the recipe's order; the conditions keep them apart."""
    _, index = brought_in(source(tmp_path), tmp_path, label_from=["vendor", "mood"])

    assert index["label"].to_dict() == {
        "a/1.png": "noto / glad",
        "a/2.png": "noto / sad",
        "b/3.png": "fluent, 3d / glad",
    }
    assert json.loads(str(index.loc["b/3.png", "conditions"])) == {
        "vendor": "fluent, 3d",
        "mood": "glad",
    }


def test_one_column_is_a_condition_too_and_a_folder_is_none(tmp_path: Path) -> None:
    """Only what a column says has a name to be asked for by."""
    _, by_column = brought_in(source(tmp_path), tmp_path, label_from="mood")
    _, by_folder = brought_in(source(tmp_path), tmp_path)

    assert json.loads(str(by_column.loc["a/2.png", "conditions"])) == {"mood": "sad"}
    assert set(by_folder["conditions"]) == {""}
    assert set(by_folder["group"]) == {""}


@pytest.mark.parametrize("label_from", ["folder", "none"])
def test_groups_go_with_any_kind_of_label(label_from: str, tmp_path: Path) -> None:
    """An image without a group, or not in the table, is a group of its own and still comes in."""
    options = {"label_from": label_from, "group_from": "shot"}
    _, index = brought_in(source(tmp_path), tmp_path, **options)

    assert index["group"].to_dict() == {
        "a/1.png": "7",
        "a/2.png": "7",
        "b/3.png": "",
        "b/4.png": "",
    }
    assert index.loc["a/1.png", "label"] == ("a" if label_from == "folder" else "")


def test_an_image_lacking_one_of_the_columns_is_left_out_with_a_reason(tmp_path: Path) -> None:
    """Half a condition is none."""
    table = TABLE.replace("noto,sad", "noto,")
    done, index = brought_in(source(tmp_path, table), tmp_path, label_from=["vendor", "mood"])

    assert list(index.index) == ["a/1.png", "b/3.png"]
    assert done.skipped == {"LABEL_MISSING": 2}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_from": ["vendor", "mod"]}, "no column mod; .* Did you mean mood"),
        ({"group_from": "shots"}, "no column shots; .* Did you mean shot"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """Of several columns the message names the wrong one."""
    with pytest.raises(SourceError, match=says):
        brought_in(source(tmp_path), tmp_path, **options)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Nothing says which of the two is meant."""
    table = TABLE.replace("shot", "mood", 1)
    with pytest.raises(SourceError, match="column mood twice"):
        brought_in(source(tmp_path, table), tmp_path, label_from="mood")


def test_rows_that_repeat_or_name_nothing_do_no_harm_alone(tmp_path: Path) -> None:
    """Only when the table is refused anyway are they told."""
    table = f"{TABLE}a/1.png,noto,glad,7\ngone.png,noto,glad,7\n\n"
    done, _ = brought_in(source(tmp_path, table), tmp_path, label_from="mood")

    assert done.images == 3


def test_unlabelled_bytes_are_in_no_shard(tmp_path: Path) -> None:
    """What the table does not know does not lie in the raw folder either."""
    brought_in(source(tmp_path), tmp_path, label_from="mood")
    packed = b"".join(path.read_bytes() for path in (tmp_path / "raw").glob("shard-*.tar"))

    assert b"\x89PNG 2" in packed
    assert b"\x89PNG 3" not in packed


def test_init_counts_the_classes_of_several_columns(tmp_path: Path) -> None:
    """As ingest would make them."""
    seen = inspect(source(tmp_path), ["vendor", "mood"])

    assert seen.labels == {"fluent, 3d / glad": 1, "noto / glad": 1, "noto / sad": 1}
    assert seen.columns == ["file", "vendor", "mood", "shot"]


@needs_data
def test_the_four_vendors_of_the_stickers_are_one_recipe(tmp_path: Path) -> None:
    """Vendor and group are conditions; every tone and vendor of an emoji is one group."""
    options = {"label_from": ["vendor", "group"], "group_from": "base_codepoints"}
    done, index = brought_in(SHARED / "stickers.zip", tmp_path, **options)
    conditions = index["conditions"].map(json.loads)
    vendors = conditions.map(lambda said: said["vendor"]).value_counts().to_dict()
    waving = index[index["group"] == "1F44B"]

    assert (done.images, done.skipped, done.noted) == (12_517, {}, {})
    assert vendors == {"twemoji": 3962, "noto": 3572, "fluent3d": 2979, "emojitwo": 2004}
    assert conditions.map(lambda said: said["group"]).nunique() == 11
    assert done.labels["fluent3d / Food & Drink"] > 50
    assert index["group"].nunique() < 3_000
    assert {key.split("/")[0] for key in waving.index} == set(vendors)
