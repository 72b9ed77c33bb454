"""One image is followed to every data version, model and batch that descends from it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import ledger, registry
from flows.datasets.catalog import DatasetRecord, read_facts
from flows.datasets.portrait import held_out
from flows.datasets.tracing import Trace, trace
from flows.ledger import Entry
from flows.settings import Settings
from flows.tracking import open_run
from gan.assets.manifest import BATCH, BatchCard, MarksCard, Watermarked
from gan.durable import write_json
from gan.errors import DamagedError, UsageError
from gan.image.dataset import open_dataset
from gan.paths import Layout
from gan.split import split
from tests.flows.datasets.records import PARAMS, again, bundle, drawings, keep, recipe_of

KEY = "cats/0002.png"


@dataclass(frozen=True)
class Room:
    """Two versions, both with a picture as two files and a near copy; the second lost `KEY`."""

    layout: Layout
    settings: Settings
    files: dict[str, bytes]
    versions: list[DatasetRecord]

    def trace(self, word: str) -> Trace:
        """Trace in all recipes, with MLflow away."""
        return trace(self.layout, self.settings, ["pets", "other"], word)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, settings_on: Callable[..., Settings]) -> Room:
    """Return a workspace with two data versions, three bundles and a batch of each."""
    layout = Layout(tmp_path_factory.mktemp("room"))
    layout.params.write_text(PARAMS)
    files = drawings()
    files["cats/twin.png"] = again(files[KEY], "PNG", compress_level=1)
    files["cats/near.jpg"] = again(files[KEY], "JPEG", quality=85)
    recipe = recipe_of("pets")
    left = {key: files[key] for key in files if key not in {KEY, "cats/twin.png", "cats/near.jpg"}}
    versions = [keep(layout, recipe, files, 1), keep(layout, recipe, left, 2)]
    first = bundle(layout.bundle_store / "1", versions[0].digest, None)
    second = bundle(layout.bundle_store / "2", versions[1].digest, first)
    third = bundle(layout.bundle_store / "3", versions[1].digest, None)
    for number, (digest, data, start) in enumerate(
        [
            (first, versions[0].digest, None),
            (second, versions[1].digest, first),
            (third, versions[1].digest, None),
        ],
        start=1,
    ):
        papers = {
            "version": number, "bundle_digest": digest, "data": {"digest": data},
            "start_bundle": start,
        }  # fmt: skip
        write_json(layout.release("pets", number) / "lineage.json", papers)
        _mint(layout, f"batch-{number}", digest)
    for number in (1, 2):
        ledger.append(layout.ledger, Entry("done", "pets", "ann", "better", to_version=number))
    return Room(layout, settings_on(), files, versions)


def _mint(layout: Layout, name: str, digest: str) -> None:
    card = BatchCard(
        batch=name, recipe="pets", campaign="default", slot="x", seed=1, request="0" * 64, spec={},
        wanted=1, accepted=1, candidates=1, verdicts={"accepted": 1}, classes={}, segments={},
        bundle_digest=digest, lineage={}, notes=[], past=[], watermark=Watermarked(files=1, read=1),
        marks=MarksCard(algorithm="ed25519", fingerprint="", subject="", is_local=True),
    )  # fmt: skip
    write_json(layout.batches("pets") / name / BATCH, card.model_dump())


def _ties(found: Trace) -> dict[int | None, str]:
    return {each.model.number: each.tie for each in found.descendants.get("pets", [])}


def test_image_is_found_as_itself_as_equal_pixels_and_as_a_near_copy(room: Room) -> None:
    """A twin file and a re-encoded one do not slip through, and each is told apart."""
    seen = {each.key: each for each in room.trace(KEY).sightings}
    assert {key: each.how for key, each in seen.items()} == {
        KEY: "same file", "cats/twin.png": "same pixels", "cats/near.jpg": "near copy",
    }  # fmt: skip
    assert seen[KEY].use in {"trained on", "held out"}
    assert (seen["cats/twin.png"].use, seen["cats/twin.png"].reason) == (
        "set aside", "DUPLICATE_EXACT",
    )  # fmt: skip
    assert {each.version for each in seen.values()} == {room.versions[0].digest}


def test_image_is_named_by_key_digest_or_file(room: Room, tmp_path: Path) -> None:
    """Whoever has only the picture, in whatever encoding, finds what whoever has its name finds."""
    by_key = room.trace(KEY)
    by_digest = room.trace(hashlib.sha256(room.files[KEY]).hexdigest()[:16].upper())
    copy = tmp_path / "complaint.png"
    copy.write_bytes(again(room.files[KEY], "PNG", compress_level=3))
    by_file = room.trace(str(copy))
    assert by_digest.sightings == by_key.sightings
    assert [each.key for each in by_file.sightings] == [each.key for each in by_key.sightings]
    assert {each.how for each in by_file.sightings} == {"same pixels", "near copy"}
    assert _ties(by_file) == _ties(by_key)


def test_models_inherit_what_their_ancestors_were_trained_on(room: Room) -> None:
    """A model that goes on from one that saw the image descends from it; one anew does not."""
    found = room.trace(KEY)
    assert _ties(found) == {1: "trained", 2: "inherited"}
    first, second = found.descendants["pets"]
    assert first.model.name in second.through
    assert [first.batches, second.batches] == [["batch-1"], ["batch-2"]]
    assert [first.model.is_champion, second.model.is_champion] == [False, True]
    assert any("MLflow" in note for note in found.notes)


def test_held_out_image_is_measured_against_and_not_trained_on(room: Room) -> None:
    """What is held out from training is said to be; the model is not called its descendant."""
    latest, data = room.versions[1], open_dataset(room.layout.train_data("pets"))
    facts = read_facts(latest)
    _, spared = split(len(data), data.digest, data.groups)
    kept = facts[facts["reason"] == ""].iloc[spared]["key"].tolist()
    assert facts[held_out(facts, latest.digest)]["key"].tolist() == kept
    seen = {each.version: each.use for each in room.trace(kept[0]).sightings if not each.bits}
    assert seen[latest.digest] == "held out"


def test_models_of_near_copies_are_kept_apart(room: Room, tmp_path: Path) -> None:
    """A picture that only resembles what was trained on names the models, and as no descendants."""
    other = tmp_path / "again.jpg"
    other.write_bytes(again(room.files[KEY], "JPEG", quality=70))
    found = room.trace(str(other))
    assert {each.how for each in found.sightings} == {"near copy"}
    assert _ties(found) == {}
    assert [each.model.number for each in found.resembling["pets"]] == [1, 2]


def test_what_nobody_knows_is_said(room: Room, tmp_path: Path) -> None:
    """An unknown name, several that fit, and an unknown file are three different answers."""
    with pytest.raises(UsageError, match="no data version has an image of this name"):
        room.trace("cats/none.png")
    few = [key for key in room.files if not key.startswith("cats")][:60]
    others = {KEY: room.files[few[0]], **{key: room.files[key] for key in few}}
    keep(room.layout, recipe_of("other"), others)
    with pytest.raises(UsageError, match="fits 2 files"):
        room.trace(KEY)
    strange = tmp_path / "notes.txt"
    strange.write_text("no image")
    assert room.trace(str(strange)).sightings == []


def test_damaged_bundle_is_not_believed(room: Room) -> None:
    """A card that somebody changed says nothing; the model is told as unknown, not as innocent."""
    digest = bundle(room.layout.bundle("pets"), "f" * 64, None)
    (room.layout.bundle("pets") / "card.json").write_text('{"recipe": "pets"}')
    found = trace(room.layout, room.settings, ["pets"], KEY)
    assert digest not in {each.model.digest for each in found.descendants["pets"]}
    write_json(
        room.layout.release("pets", 9) / "lineage.json",
        {"version": 9, "bundle_digest": "9" * 64, "data": {"digest": None}, "start_bundle": None},
    )
    found = trace(room.layout, room.settings, ["pets"], KEY)
    assert _ties(found)[9] == "unknown"


def test_recipe_that_sees_images_otherwise_is_searched_too(
    tmp_path: Path, settings_on: Callable[..., Settings]
) -> None:
    """With alpha, digests of pixels differ; a twin in such a recipe is found all the same."""
    layout = Layout(tmp_path)
    layout.params.write_text(PARAMS)
    files = drawings(42)
    twin = {**files, KEY: again(files[KEY], "PNG", compress_level=1)}
    keep(layout, recipe_of("other", channels=4), twin)
    keep(layout, recipe_of("pets"), files)
    digest = hashlib.sha256(files[KEY]).hexdigest()
    found = trace(layout, settings_on(), ["pets", "other"], digest)
    assert [(each.recipe, each.how) for each in found.sightings] == [
        ("pets", "same file"), ("other", "same pixels"),
    ]  # fmt: skip
    (layout.raw("pets") / "index.parquet").unlink()  # the images are gone, the records are not
    lost = trace(layout, settings_on(), ["pets", "other"], digest)
    assert [each.recipe for each in lost.sightings] == ["pets"]
    assert any("searched for the same file alone" in note for note in lost.notes)


def test_altered_record_is_refused(room: Room) -> None:
    """A manifest that somebody edited cannot hide an image."""
    path = room.versions[0].folder / "facts.parquet"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept[:-1])
        with pytest.raises(DamagedError, match=r"facts\.parquet"):
            trace(room.layout, room.settings, ["pets"], KEY)
    finally:
        path.write_bytes(kept)


def test_versions_that_only_mlflow_has_are_found(
    room: Room, mlflow_settings: Settings, tmp_path: Path
) -> None:
    """A clone without papers and bundles learns from MLflow which versions descend, and serve."""
    clone = Layout(tmp_path / "clone")
    clone.root.mkdir()
    clone.params.write_text(PARAMS)
    recipe = recipe_of("traced")
    known = keep(clone, recipe, dict(list(drawings(60).items())))
    folder = tmp_path / "bundle"
    bundle(folder, known.digest, None, "traced")
    run = open_run(clone, mlflow_settings, "traced", "traced", {}, {})
    version = registry.register(mlflow_settings, "traced", folder, run, {})
    registry.set_alias(mlflow_settings, "traced", "champion", version.number)
    (found,) = trace(clone, mlflow_settings, ["traced"], "cats/0002.png").descendants["traced"]
    assert (found.model.number, found.tie, found.model.is_champion) == (1, "trained", True)
