"""Which batches make a file ours: not what was set aside, not a stranger's, not a malformed one."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.provenance.looking import Witness
from gan.assets.manifest import BATCH, MANIFEST, PARQUET, SET_ASIDE
from gan.assets.parquet import parquet
from gan.durable import sha256, write_json
from gan.errors import DamagedError
from gan.marking.identity import Signing, open_identity
from gan.marking.statement import sign_statement
from gan.marking.watermark import PUBLIC_KEY
from gan.paths import Layout
from gan.screening.sight import marks
from tests.flows.provenance.conftest import Workspace
from tests.gan.assets.batches import lay_batch
from tests.gan.marking.signers import write_signer

_NONE, _CLAIMS = "no mark of ours", "claims to be ours"


@pytest.fixture
def copy(minted: Workspace, tmp_path: Path) -> Workspace:
    """Return a copy of the minted workspace, to be changed."""
    root = Path(shutil.copytree(minted.layout.root, tmp_path / "work"))
    layout = Layout(root)
    folder = layout.batches("stickers") / minted.batch.name
    return Workspace(layout, Signing(layout.signing), folder, minted.row)


def _sign(folder: Path, signing: Signing, **changes: Any) -> None:
    card = {**json.loads((folder / BATCH).read_bytes()), **changes}
    write_json(folder / BATCH, sign_statement(card, open_identity(signing)))


def _set_table(folder: Path, table: pa.Table) -> dict[str, str]:
    """Write a manifest, and return the digests of the batch with it."""
    pq.write_table(table, folder / PARQUET)
    card = json.loads((folder / BATCH).read_bytes())
    return {**card["digests"], PARQUET: sha256(folder / PARQUET)}


def _stripped(source: Path, to: Path) -> Path:
    with Image.open(source) as image:
        Image.fromarray(np.asarray(image)).save(to)
    return to


def test_candidates_that_were_set_aside_make_no_picture_ours(tmp_path: Path) -> None:
    """Grey pictures and training images are no one's for a blank, a copy; a spare asset is ours.

    A file of what was set aside is known by its bytes all the same.
    """
    down, along = np.mgrid[:32, :32]
    waves = np.sin(along / 5 + down / 7), np.cos(along / 4), np.sin(down / 3)
    photo = np.stack([127 + 100 * wave for wave in waves]).astype(np.uint8)
    images = np.stack(
        [photo[::-1, ::-1], photo.transpose(0, 2, 1), np.full_like(photo, 127), photo]
    )
    layout = Layout(tmp_path / "work")
    folder = layout.batches("stickers") / "slot-1"
    aside = {"spare": 1, "blank": 1, "copy": 1}
    card, rows = lay_batch(folder, 1, aside=aside, images=images, likes={"copy": "photos/1"})
    seen = marks(images)
    rows = [
        row.model_copy(update={"phash": int(phash), "colour": colour.tobytes().hex()})
        for row, phash, colour in zip(rows, seen.phash, seen.colour, strict=True)
    ]
    (folder / MANIFEST).write_text("".join(row.line() for row in rows))
    (folder / PARQUET).write_bytes(parquet(rows))
    digests = {name: sha256(folder / name) for name in (MANIFEST, PARQUET)}
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*.png")}
    digests |= {path: digest for path, digest in files.items() if path.startswith(SET_ASIDE)}
    said = card.model_copy(update={"digests": digests}).model_dump(mode="json")
    signing = Signing(layout.signing)
    write_json(folder / BATCH, sign_statement(said, open_identity(signing)))
    witness = Witness(layout, signing, PUBLIC_KEY, thorough=False)

    answers = []
    for number, image in enumerate(images):
        path = tmp_path / f"{number}.png"
        large = Image.fromarray(image.transpose(1, 2, 0)).resize(
            (256, 256), Image.Resampling.BICUBIC
        )
        large.save(path)
        answers.append(witness.look(path))
    assert [(answer.verdict, answer.asset) for answer in answers] == [
        *(("probably ours", row.asset) for row in rows[:2]),
        *[(_NONE, "")] * 2,
    ]
    kept = witness.look(folder / SET_ASIDE / f"{rows[3].asset}.png")
    assert (kept.verdict, kept.asset, kept.notes) == ("ours, unchanged", rows[3].asset, ())


def test_batches_of_strangers_make_nothing_ours(copy: Workspace, tmp_path: Path) -> None:
    """Neither bytes, watermark nor looks count that only a stranger's batch has; a note says so."""
    ours = Signing(tmp_path / "ours")
    open_identity(ours)
    _sign(copy.batch, write_signer(tmp_path / "stranger"))
    witness = copy._replace(signing=ours).witness()
    same = witness.look(copy.file("png"))
    stripped = witness.look(_stripped(copy.file("png"), tmp_path / "stripped.png"))
    weights = {layer.name: layer.weight for layer in stripped.layers}

    assert (same.verdict, same.asset) == (_CLAIMS, "")
    assert (stripped.verdict, stripped.confidence, stripped.asset) == (_CLAIMS, 0.0, "")
    assert (weights["watermark"], weights["looks"]) == ("claim", "none")
    assert "does not count as ours: Jane" in stripped.notes[0]
    assert witness.index.row(copy.row.asset) is None


def test_batches_of_strangers_do_not_hide_ours(copy: Workspace, tmp_path: Path) -> None:
    """Whoever lists our files in a batch of theirs, read before ours, does not take them over."""
    theirs = copy.layout.batches("a-first") / copy.batch.name
    shutil.copytree(copy.batch, theirs)
    _sign(theirs, write_signer(tmp_path / "stranger"), recipe="a-first")
    witness = copy.witness()
    answers = [
        witness.look(copy.file("png")),
        witness.look(_stripped(copy.file("png"), tmp_path / "stripped.png")),
        witness.look(copy.batch / "contact_sheet.png"),
    ]

    assert [(answer.verdict, answer.asset, answer.recipe) for answer in answers] == [
        ("ours, unchanged", copy.row.asset, "stickers"),
        ("ours, altered", copy.row.asset, "stickers"),
        ("ours, unchanged", "", "stickers"),
    ]
    assert witness.index.assets[copy.row.asset].folder == copy.batch

    shutil.rmtree(copy.batch)
    theirs_now = copy.witness().look(theirs / copy.row.files[0].path)
    assert theirs_now.verdict == "ours, unchanged"  # by its credentials, which say where it is from
    assert (theirs_now.asset, theirs_now.recipe) == (copy.row.asset, "stickers")


def _without_phash(table: pa.Table) -> pa.Table:
    return table.drop_columns(["phash"])


def _with(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index(name), name, values)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without_phash,
        _with("phash", pa.array([None] * 3, pa.int64())),
        _with("phash", pa.array([2**64 - 1] * 3, pa.uint64())),
        _with("colour", pa.array(["abc"] * 3)),
        _with("colour", pa.array(["é" * 96] * 3)),
        _with("asset", pa.array([None] * 3, pa.string())),
        _with("verdict", pa.array(["mine"] * 3)),
        _with("files", pa.array([None] * 3, pa.string())),
        _with("files", pa.array([[{"path": None, "sha256": "a"}]] * 3)),
    ],
    ids=["none", "null", "wide", "short", "no hex", "no asset", "verdict", "no files", "no path"],
)
def test_malformed_manifests_leave_out_their_batch_alone(
    copy: Workspace, tmp_path: Path, change: Callable[[pa.Table], pa.Table]
) -> None:
    """A signed batch whose table is of another form is told, and the others are used."""
    theirs = copy.layout.batches("a-first") / copy.batch.name
    shutil.copytree(copy.batch, theirs)
    digests = _set_table(theirs, change(pq.read_table(theirs / PARQUET)))
    _sign(theirs, write_signer(tmp_path / "stranger"), digests=digests)
    answer = copy.witness().look(copy.file("png"))

    assert (answer.verdict, answer.recipe) == ("ours, unchanged", "stickers")
    (note,) = answer.notes
    assert "assets/a-first" in note
    assert "is not used: manifest.parquet cannot be read" in note


@pytest.mark.parametrize("digests", [[], None, {"page.html": ["a"]}, "text"])
def test_malformed_cards_leave_out_their_batch_alone(copy: Workspace, digests: object) -> None:
    """So it is with a card, also with one of ours."""
    theirs = copy.layout.batches("a-first") / copy.batch.name
    shutil.copytree(copy.batch, theirs)
    _sign(theirs, copy.signing, digests=digests)
    answer = copy.witness().look(copy.file("png"))

    assert (answer.verdict, answer.recipe) == ("ours, unchanged", "stickers")
    assert "is not used: batch.json is malformed (digests" in answer.notes[0]


def test_bottomless_cards_are_left_out(copy: Workspace) -> None:
    """JSON that is nested deeper than can be read ends nothing."""
    theirs = copy.layout.batches("a-first") / "slot-1"
    theirs.mkdir(parents=True)
    (theirs / BATCH).write_bytes(b"[" * 200_000)
    answer = copy.witness().look(copy.file("png"))

    assert answer.verdict == "ours, unchanged"
    assert "slot-1 is not used" in answer.notes[0]


def test_rows_of_another_form_are_told_when_asked_for(copy: Workspace) -> None:
    """A row that lacks what no look needs leaves the file ours; making it again is refused."""
    table = pq.read_table(copy.batch / PARQUET).drop_columns(["data_version"])
    file = io.BytesIO()
    pq.write_table(table, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    _sign(copy.batch, copy.signing, digests=_set_table(copy.batch, table) | {PARQUET: digest})
    witness = copy.witness()
    answer = witness.look(copy.file("png"))

    assert (answer.verdict, answer.asset) == ("ours, unchanged", copy.row.asset)
    assert (answer.recipe, answer.batch) == ("stickers", copy.batch.name)
    assert "cannot be read (data_version: Field required)" in answer.notes[0]
    with pytest.raises(DamagedError, match="the row of asset"):
        witness.index.row(copy.row.asset)
