"""The Croissant document of a batch.

`mlcroissant` itself reads it: python -c "import mlcroissant as m; print(next(iter(m.Dataset(
'croissant.json').records('assets'))))"
"""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gan.assets.croissant import croissant
from gan.assets.manifest import BatchCard, Row
from gan.durable import sha256
from tests.gan.assets.batches import lay_batch


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BatchCard, list[Row]]:
    """Return a batch of two platforms."""
    folder = tmp_path_factory.mktemp("batches") / "slot-1"
    lineage = {"model_version": "7", "data_version": "da7a"}
    card, rows = lay_batch(
        folder, 6, aside={"blank": 1}, platforms=("png", "whatsapp"), lineage=lineage
    )
    return folder, card, rows


def test_every_file_is_found_by_it(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """Manifests by their digests; the pattern of a platform matches all of its pictures."""
    folder, card, rows = laid
    document = croissant(card, rows)
    kinds: dict[str, list[Any]] = {"cr:FileObject": [], "cr:FileSet": []}
    for each in document["distribution"]:
        kinds[each["@type"]].append(each)

    assert {each["contentUrl"]: each["sha256"] for each in kinds["cr:FileObject"]} == {
        name: sha256(folder / name) for name in ("manifest.parquet", "manifest.jsonl")
    }
    found = {
        path.relative_to(folder).as_posix()
        for each in kinds["cr:FileSet"]
        for path in folder.glob(each["includes"])
    }
    assert found == {file.path for row in rows for file in row.files}


def test_every_field_is_a_column(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """Fields name columns of the Parquet manifest that are there; the key is unique."""
    folder, card, rows = laid
    (records,) = croissant(card, rows)["recordSet"]
    columns = {field["source"]["extract"]["column"] for field in records["field"]}
    table = pq.read_table(folder / "manifest.parquet")

    assert columns <= set(table.column_names)
    assert len(set(table["asset"].to_pylist())) == len(table)


def test_it_says_what_made_the_pictures(laid: tuple[Path, BatchCard, list[Row]]) -> None:
    """The model by its digest, the data that it learned from, and that all of it is synthetic."""
    _, card, rows = laid
    document = croissant(card, rows)
    derived = [each["@id"] for each in document["prov:wasDerivedFrom"]]

    assert document["prov:wasGeneratedBy"]["prov:used"]["@id"] == f"urn:sha256:{'cd' * 32}"
    assert derived == [f"urn:sha256:{'cd' * 32}", "urn:ganmill:data:da7a"]
    assert document["additionalType"].endswith("trainedAlgorithmicMedia")
    assert document["description"].startswith("6 synthetic images")
    assert document == croissant(card, rows)
