"""Croissant metadata: what `mlcroissant` asks of a document, held here without it.

`mlcroissant` 1.1.1 itself read such a document without an error, and its records; it is no
dependency of ours. Here is what it checks: ids, references, digests, columns.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.datasets import catalog
from flows.datasets.catalog import DatasetRecord
from flows.datasets.croissant import croissant
from gan.durable import read_json, sha256
from gan.image.dataset import META, Meta
from gan.paths import Layout
from tests.flows.datasets.records import drawings, keep, recipe_of


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, DatasetRecord]:
    """Return a workspace and its one data version."""
    layout = Layout(tmp_path_factory.mktemp("croissant"))
    return layout, keep(layout, recipe_of("pets"), drawings(42))


@pytest.fixture(scope="module")
def document(room: tuple[Layout, DatasetRecord]) -> dict[str, Any]:
    """Return the version's document as it lies in its record."""
    found: dict[str, Any] = read_json(room[1].folder / catalog.CROISSANT)
    return found


def _all(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _all(each)
    if isinstance(value, list):
        for each in value:
            yield from _all(each)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Ids are unique, and whatever is referred to is there."""
    parts = [each for each in _all(document["distribution"]) if "@type" in each]
    parts += [each for each in _all(document["recordSet"]) if "@type" in each]
    ids = [each["@id"] for each in parts]
    assert len(ids) == len(set(ids))
    referred = [each["@id"] for each in _all(document) if set(each) == {"@id"}]
    assert set(referred) <= set(ids)
    assert {each["@type"] for each in parts} == {
        "cr:FileObject", "cr:FileSet", "cr:RecordSet", "cr:Field",
    }  # fmt: skip


def test_files_are_those_that_it_says(
    room: tuple[Layout, DatasetRecord], document: dict[str, Any]
) -> None:
    """The table lies beside the document, the shards where a checkout puts them; digests hold."""
    layout, known = room
    objects = [e for e in document["distribution"] if e["@type"] == "cr:FileObject"]
    table, *shards = objects
    assert sha256(known.folder / table["contentUrl"]) == table["sha256"]
    sums = catalog.read_sums(known)
    home = layout.checkout("pets", known.digest)
    assert shards
    for shard in shards:
        path = (known.folder / shard["contentUrl"]).resolve()
        assert path.is_relative_to(home.resolve())
        assert sums[path.relative_to(home.resolve()).as_posix()] == shard["sha256"]


def test_records_have_the_columns_and_counts_of_the_version(
    room: tuple[Layout, DatasetRecord], document: dict[str, Any]
) -> None:
    """Each field names a column of the table, of its type; the classes add up."""
    _, known = room
    images, classes = document["recordSet"]
    facts = pd.read_parquet(known.folder / catalog.FACTS)
    for field in images["field"]:
        column = facts[field["source"]["extract"]["column"]]
        kind = {"i": "sc:Integer", "f": "sc:Float"}.get(column.dtype.kind, "sc:Text")
        assert field["dataType"] == kind, field["@id"]
    counts = {each["classes/name"]: each["classes/images"] for each in classes["data"]}
    assert sum(counts.values()) == known.accepted
    assert list(counts) == sorted(set(facts["label"]))


def test_it_says_the_licence_and_what_is_missing(
    room: tuple[Layout, DatasetRecord], document: dict[str, Any]
) -> None:
    """A named licence is given; an unknown one is left out, and told among the limitations."""
    layout, known = room
    assert document["license"] == "CC0 1.0"
    assert any("nobody recorded" in each for each in document["rai:dataLimitations"])
    assert document["identifier"] == known.digest
    meta = Meta(**read_json(layout.train_data("pets") / META))
    facts = catalog.read_facts(known).assign(licence="unknown", source="https://me:pw@host/x")
    told = croissant(layout, recipe_of("pets"), known.folder, facts, meta)
    assert "license" not in told
    assert any("licence of 42 images is unknown" in each for each in told["rai:dataLimitations"])
    assert "pw" not in json.dumps(told)


def test_document_is_the_same_each_time(
    room: tuple[Layout, DatasetRecord], document: dict[str, Any]
) -> None:
    """It holds no time and no machine's path, so equal versions have equal documents."""
    layout, known = room
    meta = Meta(**read_json(layout.train_data("pets") / META))
    again = croissant(layout, recipe_of("pets"), known.folder, catalog.read_facts(known), meta)
    assert again == document
    assert str(Path(layout.root)) not in json.dumps(document)
