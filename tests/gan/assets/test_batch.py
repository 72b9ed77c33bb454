"""Minting a batch, and finishing one that was killed."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from gan.assets.batch import Done, Marks, Minted, mint
from gan.assets.candidates import sample, truncated
from gan.assets.manifest import Row, begun, read_batch, read_rows, verify
from gan.assets.request import Request, names, read_request
from gan.bundle import Bundle, latents, open_bundle
from gan.durable import run_lock, write_sums
from gan.errors import BusyError, DamagedError, DivergedError, GanmillError, UsageError
from gan.image.workers import map_chunks
from gan.marking import credentials, watermark
from gan.marking.identity import open_identity
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec, SegmentSpec
from tests.faults.seam import failing_at
from tests.gan.assets.conftest import OPEN, asking

Mint = Callable[..., Minted]


@pytest.fixture(scope="module")
def make(bundle: Bundle, marks: Marks, references: References) -> Mint:
    """Return `mint` of the untrained bundle: (request, destination)."""

    def run(request: Request, destination: Path, **more: object) -> Minted:
        given: dict[str, object] = {"progress": lambda _: None, **more}
        return mint(bundle, request, destination, marks, references, **given)  # type: ignore[arg-type]

    return run


MANY = asking(80)  # more than one job


@pytest.fixture(scope="module")
def many(make: Mint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a batch of 80 that was made in one go, one job after the other."""
    return contents(make(MANY, tmp_path_factory.mktemp("many")).folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def rows_of(folder: Path) -> list[Row]:
    """Return the rows of a batch."""
    return read_rows(folder / "manifest.jsonl")


def test_a_batch_holds_what_was_asked_for(bundle: Bundle, make: Mint, tmp_path: Path) -> None:
    """Each candidate has its row, class and lineage; each accepted one its files; nothing else."""
    minted = make(asking(20, platforms=["png", "thumbnail"]), tmp_path)
    rows = rows_of(minted.folder)

    assert (minted.wanted, minted.accepted, minted.passed, minted.candidates) == (20, 20, 20, 20)
    assert (minted.short, minted.made, minted.already) == (0, 20, False)
    assert minted.folder == tmp_path / minted.batch_id
    assert [row.ordinal for row in rows] == list(range(20))
    assert Counter(row.class_ for row in rows) == {"cats": 7, "hearts & co": 7, "stars": 6}
    assert {(row.model_version, row.data_version) for row in rows} == {("3", "v1")}
    assert {row.bundle_digest for row in rows} == {bundle.digest}
    assert [file.platform for file in rows[0].files] == ["png", "thumbnail"]
    pages = {name for name in contents(minted.folder) if name.startswith("page/")}
    assert set(contents(minted.folder)) - pages == {
        *(file.path for row in rows for file in row.files),
        "manifest.jsonl",
        "manifest.parquet",
        "croissant.json",
        "batch.json",
        "contact_sheet.png",
        "index.html",
    }
    with Image.open(minted.folder / rows[0].files[1].path) as picture:
        assert (picture.format, picture.size) == ("WEBP", (256, 256))


def test_every_file_carries_all_marks(
    shipped: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """Signed content credentials, an XMP packet, and a watermark that gives the asset's id back."""
    request = asking(6, platforms=["png", "whatsapp"], size_px=256)
    folder = mint(shipped, request, tmp_path, marks, references).folder
    identity = open_identity(marks.signing)
    for row in rows_of(folder):
        for file in row.files:
            payload = (folder / file.path).read_bytes()
            found = credentials.read(payload, identity)
            assert found is not None
            assert (found.is_whole, found.is_ours) == (True, True)
            assert found.source_type.endswith("trainedAlgorithmicMedia")
            assert found.origin is not None
            assert found.origin.asset == row.asset
            assert b"trainedAlgorithmicMedia" in payload
            with Image.open(folder / file.path) as picture:
                reading = watermark.read(np.asarray(picture))
            assert file.is_read
            assert reading is not None
            assert reading.asset == row.asset
    card = read_batch(folder)
    assert (card.watermark.files, card.watermark.read) == (12, 12)
    assert {name for name in contents(folder) if name.endswith("tray.png")}


def test_a_watermark_has_the_key_that_was_set(
    shipped: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """It reads with the key alone; a key that is no secret, or missing, is one line."""
    (tmp_path / "key").write_text("correct horse battery staple\n")
    keyed = Marks(marks.signing, tmp_path / "key")
    folder = mint(shipped, asking(1, size_px=256), tmp_path / "b", keyed, references).folder
    (row,) = rows_of(folder)
    with Image.open(folder / row.files[0].path) as picture:
        seen = np.asarray(picture)

    assert row.files[0].is_read
    assert watermark.read(seen) is None
    assert watermark.read(seen, b"correct horse battery staple") is not None
    (tmp_path / "key").write_text("short")
    for path, says in ((tmp_path / "key", "5 bytes"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(UsageError, match=says):
            mint(shipped, asking(2), tmp_path / "c", Marks(marks.signing, path), references)
    assert not (tmp_path / "c").exists()


def test_segments_get_their_own(make: Mint, tmp_path: Path) -> None:
    """Each audience has its count and its taste, in the rows and in the card."""
    segments = {
        "teens": SegmentSpec(count=3, classes={"cats": 1.0}),
        "parents": SegmentSpec(count=2, classes={"stars": 1.0}),
    }
    folder = make(asking(1, segments=segments), tmp_path).folder

    assert {(row.segment, row.class_) for row in rows_of(folder)} == {
        ("teens", "cats"),
        ("parents", "stars"),
    }
    assert read_batch(folder).segments == {"teens": 3, "parents": 2}


def threads(count: int) -> Callable[..., Iterable[Done]]:
    """Return what does jobs on threads."""

    def run(work: Callable[[object], Done], jobs: Sequence[object]) -> Iterable[Done]:
        with ThreadPoolExecutor(count) as pool:
            yield from pool.map(work, jobs)

    return run


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(threads(2), id="2 threads", marks=pytest.mark.slow),
        pytest.param(threads(4), id="4 threads"),
        pytest.param(partial(map_chunks, workers=2, doing="minting"), id="2 processes"),
    ],
)
def test_the_same_request_gives_the_same_bytes_however_it_is_done(
    make: Mint, many: dict[str, bytes], tmp_path: Path, run: Callable[..., Iterable[Done]]
) -> None:
    """On threads, or in processes: every file of the batch is that of one worker."""
    assert contents(make(MANY, tmp_path, run=run).folder) == many


def test_the_number_of_threads_changes_no_byte(make: Mint, tmp_path: Path) -> None:
    """Torch may be set to any number of threads; minting uses one, and leaves the setting alone."""
    before = torch.get_num_threads()
    folders = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            folders.append(make(asking(20), tmp_path / str(count)).folder)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)

    assert contents(folders[0]) == contents(folders[1])


def test_a_candidate_is_the_same_in_whatever_company(bundle: Bundle) -> None:
    """However ordinals are cut into jobs, and whatever classes are asked for beside it."""
    spec = asking(40, truncation=0.9).spec
    classes = [ordinal % 3 for ordinal in range(40)]
    whole = sample(bundle, spec, "r", range(40), classes)
    cut = [
        sample(bundle, spec, "r", range(start, stop), classes[start:stop])
        for start, stop in ((0, 7), (7, 33), (33, 40))
    ]

    assert np.array_equal(np.concatenate(cut), whole)
    assert not np.array_equal(sample(bundle, spec, "other", [5], [2]), whole[5:6])


def test_assets_of_two_slots_differ(make: Mint, tmp_path: Path) -> None:
    """No two assets of a batch, or of two slots, have the same id or the same pixels."""
    rows = [
        row for slot in ("one", "two") for row in rows_of(make(asking(8, slot), tmp_path).folder)
    ]

    assert len({row.asset for row in rows}) == 16
    assert len({row.pixels for row in rows}) == 16


def test_truncation_bounds_every_latent() -> None:
    """Bounded values keep their order, and are those of a normal law cut at the bound."""
    z = latents(1, "law", count=400, z_dim=64)
    bounded = truncated(z, 0.7)

    assert bounded.abs().max() <= 0.7
    assert (bounded.flatten()[z.flatten().argsort()].diff() >= 0).all()
    assert bounded.std().item() == pytest.approx(0.391, abs=0.005)  # of a normal cut at 0.7
    assert torch.allclose(truncated(z, 10.0), z, atol=1e-5)


def test_what_the_critic_dislikes_is_made_up_for(
    shipped: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """Outliers are set aside with a reason and a picture, and as many others are drawn instead."""
    request = asking(24, rejection=0.3)
    minted = mint(shipped, request, tmp_path, marks, references)
    rows, card = rows_of(minted.folder), read_batch(minted.folder)
    aside = [row for row in rows if row.verdict == "outlier"]

    assert (minted.accepted, minted.short) == (24, 0)
    assert minted.candidates == len(rows) == sum(card.verdicts.values()) > 24
    assert Counter(row.class_ for row in rows if row.verdict == "accepted") == card.classes
    assert aside
    for row in aside:
        assert row.reason
        assert row.files == []
        with Image.open(minted.folder / f"set_aside/{row.asset}.png") as picture:
            assert picture.size == (128, 128)
    assert verify(minted.folder) == []


def test_a_budget_ends_a_batch_that_cannot_be_met(make: Mint, tmp_path: Path) -> None:
    """Where near duplicates are refused, an untrained generator soon repeats itself."""
    request = asking(6, budget=2.0, screens=OPEN.model_copy(update={"near_distance": 11}))
    minted = make(request, tmp_path)
    rows = rows_of(minted.folder)
    near = [row for row in rows if row.verdict == "near_batch"]

    assert minted.candidates <= 12
    assert minted.short == 6 - minted.accepted
    accepted = {row.asset for row in rows if row.verdict == "accepted"}
    for row in near:
        assert row.like in accepted
        assert row.like in row.reason
    assert verify(minted.folder) == []


def test_assets_of_past_batches_are_not_made_again(
    shipped: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """What looks like an asset of an earlier batch is set aside, and both are named."""
    near = ScreensSpec(off_class=0, near_distance=11, past=2, copies=0)
    first = mint(shipped, asking(30, "one", screens=near), tmp_path, marks, references)
    request = asking(30, "two", screens=near, seed=6)
    second = mint(shipped, request, tmp_path, marks, references, past=[first.folder])
    alone = mint(shipped, request, tmp_path / "alone", marks, references)
    early = {row.asset for row in rows_of(first.folder) if row.verdict == "accepted"}
    found = [row for row in rows_of(second.folder) if row.verdict == "near_past"]

    assert found
    assert all(row.like in early and first.batch_id in row.reason for row in found)
    assert [one.batch for one in read_batch(second.folder).past] == [first.batch_id]
    assert not [row for row in rows_of(alone.folder) if row.verdict == "near_past"]


def test_a_batch_is_finished_against_the_past_that_it_was_begun_with(
    make: Mint, tmp_path: Path
) -> None:
    """Batches that came since are no part of it, and one that was changed since stops it."""
    screens = OPEN.model_copy(update={"near_distance": 1, "past": 1})
    one = make(asking(4, "one", screens=screens), tmp_path).folder
    request = asking(4, "three", screens=screens)
    with failing_at(25, errno.ENOSPC, lasting=True), pytest.raises(GanmillError):
        make(request, tmp_path, past=[one])
    two = make(asking(4, "two", screens=screens), tmp_path).folder
    folder = begun(tmp_path)[0]
    manifest = (one / "manifest.jsonl").read_bytes()
    (one / "manifest.jsonl").write_bytes(manifest[:-9])
    with pytest.raises(DamagedError, match=r"manifest\.jsonl: cannot be compared with"):
        make(request, tmp_path, past=[one, two])
    (one / "manifest.jsonl").write_bytes(manifest)
    finished = make(request, tmp_path, past=[one, two])

    assert finished.folder == folder
    assert [past.batch for past in read_batch(folder).past] == [one.name]


def test_a_complete_batch_returns_at_once(make: Mint, tmp_path: Path) -> None:
    """Minting again changes nothing, and says so."""
    first = make(asking(5), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    again = make(asking(5), tmp_path)

    assert again.already
    assert (again.made, again.accepted, again.candidates) == (0, 5, 5)
    assert again.batch_id == first.batch_id
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before


@pytest.mark.parametrize("when", [40, 330])
def test_a_batch_that_was_interrupted_is_finished_to_the_same_bytes(
    make: Mint, many: dict[str, bytes], tmp_path: Path, when: int
) -> None:
    """What is whole is kept, the rest is made; lineage stays that of the first try."""
    with failing_at(when, errno.ENOSPC, lasting=True), pytest.raises(GanmillError, match="space"):
        make(MANY, tmp_path)
    (folder,) = begun(tmp_path)
    assert read_request(folder).request == MANY
    assert "batch.json: missing" in verify(folder)[0]
    (folder / "png").mkdir(exist_ok=True)
    (folder / "png" / f".{'0' * 16}.png.1.partial").write_bytes(b"half")

    other = Request("stickers", MANY.spec, "slot", lineage={"flow_run": "another"})
    finished = make(other, tmp_path)
    assert finished.made == (16 if when > 200 else 80)  # the first of two jobs was done
    assert begun(tmp_path) == []
    assert contents(folder) == many


def test_what_an_earlier_try_decided_otherwise_is_gone(make: Mint, tmp_path: Path) -> None:
    """A picture that a killed try left under another verdict is no part of the batch."""
    request = asking(5)
    wanted = contents(make(request, tmp_path / "a").folder)
    folder = (
        tmp_path
        / "b"
        / names(request, read_batch(next((tmp_path / "a").iterdir())).bundle_digest).batch_id
    )
    (folder / "set_aside").mkdir(parents=True)
    (folder / "set_aside" / f"{'0' * 16}.png").write_bytes(b"left")
    (folder / ".request.json").write_text('{"format": 1')
    make(request, tmp_path / "b")

    assert contents(folder) == wanted


def test_a_batch_is_mended_by_minting_it_again(make: Mint, tmp_path: Path) -> None:
    """After deleting `batch.json` the same call makes every byte what it was."""
    folder = make(asking(20), tmp_path).folder
    sound = contents(folder)
    rows = rows_of(folder)
    (folder / rows[3].files[0].path).unlink()
    (folder / rows[4].files[0].path).write_bytes(b"not a picture")
    (folder / "manifest.jsonl").write_text("spoilt")
    (folder / "batch.json").unlink()
    make(asking(20), tmp_path)

    assert contents(folder) == sound
    assert verify(folder) == []


def test_two_workers_on_one_batch(bundle: Bundle, make: Mint, tmp_path: Path) -> None:
    """The second is told who is at it, and nothing is written twice."""
    name = names(asking(2), bundle.digest).batch_id
    with (
        run_lock(tmp_path / name / ".lock", "test"),
        pytest.raises(BusyError, match=str(os.getpid())),
    ):
        make(asking(2), tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": {"dogs": 1.0}}, "dogs"),
        ({"platforms": ["png", "facebook"]}, "facebook"),
        ({"label": "a label that is far too long to fit"}, "label"),
        ({"emoji": {"cats": "miau"}}, "assets.emoji.cats: 'miau'"),
    ],
)
def test_what_cannot_be_minted_is_refused_before_anything_is_written(
    make: Mint, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    """One line names what is wrong in the recipe; no folder is begun."""
    with pytest.raises(UsageError, match=says):
        make(asking(4, **change), tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def changed(bundle: Bundle, folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Bundle:
    """Return a copy of a bundle with other weights."""
    folder.mkdir()
    for path in bundle.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load((folder / "generator.safetensors").read_bytes())
    spoilt = {name: change(value) for name, value in weights.items()}
    (folder / "generator.safetensors").write_bytes(save(spoilt))
    write_sums(folder)
    return open_bundle(folder)


def test_blank_assets_are_set_apart(
    bundle: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """A generator that paints one colour gives a batch of which nothing is accepted."""
    dead = changed(bundle, tmp_path / "dead", torch.zeros_like)
    minted = mint(dead, asking(4, budget=1.0), tmp_path / "assets", marks, references)

    assert (minted.accepted, minted.passed, minted.short) == (0, 0, 4)
    assert read_batch(minted.folder).verdicts == {"blank": 4}
    assert verify(minted.folder) == []
    assert (minted.folder / "index.html").is_file()


def test_a_model_that_makes_nan_mints_nothing(
    bundle: Bundle, marks: Marks, references: References, tmp_path: Path
) -> None:
    """No file of a diverged model is ever written, and nobody tries to finish it."""
    broken = changed(bundle, tmp_path / "broken", lambda value: torch.full_like(value, 6e4))

    with pytest.raises(DivergedError, match="Nothing is minted"):
        mint(broken, asking(4), tmp_path / "assets", marks, references)
    assert list((tmp_path / "assets").rglob("*.png")) == []
    assert begun(tmp_path / "assets") == []


def test_a_bundle_that_changed_under_its_path_is_refused(
    bundle: Bundle, make_bundle: Callable[..., Bundle], marks: Marks, references: References,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A worker opens the model by its path, and draws nothing of any other model."""
    first = make_bundle(tmp_path / "model", seed=7)
    make_bundle(tmp_path / "model", seed=8)
    with pytest.raises(DamagedError, match="expected"):
        mint(first, asking(2), tmp_path / "assets", marks, references)


def test_progress_says_how_far(make: Mint, tmp_path: Path) -> None:
    """The last line says that all are done."""
    lines: list[str] = []
    make(asking(3), tmp_path, progress=lines.append)

    assert "3 of 3" in lines[-1]


def test_assets_of_four_channels_are_cut_out(
    make_bundle: Callable[..., Bundle], marks: Marks, references: References, tmp_path: Path
) -> None:
    """They are RGBA files with real alpha, minted, verified and repeated like any other."""
    cut_out = make_bundle(tmp_path / "b", 1, channels=4)
    first, second = (
        mint(cut_out, asking(5), tmp_path / name, marks, references) for name in ("1", "2")
    )

    assert contents(first.folder) == contents(second.folder)
    assert verify(first.folder) == []
    for row in rows_of(first.folder):
        with Image.open(first.folder / row.files[0].path) as picture:
            alpha = np.asarray(picture.getchannel("A"))
            assert (picture.mode, picture.size) == ("RGBA", (32, 32))
        assert len(np.unique(alpha)) > 2


def test_the_card_says_how_it_was_asked_for(make: Mint, marks: Marks, tmp_path: Path) -> None:
    """Campaign, model, signer and what no screen could look at are in `batch.json`."""
    folder = make(asking(3), tmp_path).folder
    card = read_batch(folder)

    assert CampaignSpec.model_validate(card.spec) == asking(3).spec
    assert card.marks.fingerprint == open_identity(marks.signing).fingerprint
    assert json.loads((folder / "croissant.json").read_text())["@type"]
