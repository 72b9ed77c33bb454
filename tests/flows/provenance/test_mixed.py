"""Files whose marks contradict each other, and files among many that cannot be read."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.commands import verifying
from flows.provenance.index import Index, ListedCard, ListedRow
from flows.provenance.looking import look_all
from flows.provenance.views import measures
from gan.assets.manifest import Row, read_rows
from gan.marking import watermark
from tests.flows.provenance.conftest import Workspace


def _file(minted: Workspace, row: Row) -> Path:
    return minted.batch / next(file.path for file in row.files if file.platform == "png")


def _with_credentials_of(mine: Path, picture: Image.Image) -> bytes:
    """Return a picture as PNG with the signed part of another file."""
    payload = mine.read_bytes()
    chunk = payload[33 : 33 + 12 + int.from_bytes(payload[33:37], "big")]
    file = io.BytesIO()
    picture.save(file, "PNG")
    bare = file.getvalue()
    return bare[:33] + chunk + bare[33:]


def _rows(minted: Workspace) -> Sequence[Row]:
    return read_rows(minted.batch / "manifest.jsonl")


def test_pixels_name_the_asset_and_not_copied_credentials(
    minted: Workspace, tmp_path: Path
) -> None:
    """A picture of ours with the credentials of another one is what it shows, in all fields."""
    mine, theirs, *_ = _rows(minted)
    path = tmp_path / "mixed.png"
    with Image.open(_file(minted, theirs)) as image:
        path.write_bytes(_with_credentials_of(_file(minted, mine), image))
    answer = minted.witness().look(path)
    found = {layer.name: layer for layer in answer.layers}

    assert (answer.verdict, answer.asset) == ("ours, altered", theirs.asset)
    assert (answer.class_, answer.ordinal) == (theirs.class_, theirs.ordinal)
    assert (found["credentials"].weight, found["credentials"].asset) == ("claim", mine.asset)
    assert "another file's" in found["credentials"].says


def test_looks_alone_name_the_asset_too(minted: Workspace, tmp_path: Path) -> None:
    """Where the watermark is lost, credentials that the picture contradicts are not followed."""
    mine, theirs, *_ = _rows(minted)
    path = tmp_path / "small.png"
    with Image.open(_file(minted, theirs)) as image:
        small = image.resize((40, 40), Image.Resampling.BOX)
        path.write_bytes(_with_credentials_of(_file(minted, mine), small))
    answer = minted.witness().look(path)
    weights = {layer.name: layer.weight for layer in answer.layers}

    assert (weights["watermark"], weights["looks"]) == ("none", "hint")
    assert (answer.verdict, answer.asset) == ("probably ours", theirs.asset)


def test_own_credentials_and_looks_outvote_a_forged_watermark(
    minted: Workspace, tmp_path: Path
) -> None:
    """Whoever puts another id into our picture with the public key does not rename it."""
    mine, other, *_ = _rows(minted)
    path = tmp_path / "renamed.png"
    # Without its own watermark, as far as that can be had: smaller, then larger again.
    with Image.open(_file(minted, mine)) as image:
        blurred = image.resize((48, 48), Image.Resampling.BOX).resize(image.size)
    forged = Image.fromarray(watermark.embed(np.asarray(blurred), other.asset))
    path.write_bytes(_with_credentials_of(_file(minted, mine), forged))
    answer = minted.witness().look(path)
    found = {layer.name: layer for layer in answer.layers}

    assert found["watermark"].asset == other.asset
    assert (answer.verdict, answer.asset) == ("ours, altered", mine.asset)
    assert found["credentials"].weight == "hint"


def test_of_twins_the_one_that_is_told_is_taken(minted: Workspace) -> None:
    """Two assets of equal looks are told apart by what the other layers say, the surest first."""
    index: Index = minted.witness().index
    first, second, third = _rows(minted)
    with Image.open(_file(minted, first)) as image:
        seen = measures(image)
    twins = Index(assets=dict(index.assets))
    batch = index.assets[first.asset]
    for asset in (first.asset, second.asset):
        row = ListedRow.model_validate({**first.model_dump(), "asset": asset})
        twins.add(batch, ListedCard(recipe="stickers", digests={}), [row])

    told: list[tuple[list[str], str]] = [
        ([], first.asset),
        ([second.asset], second.asset),
        ([third.asset, second.asset], second.asset),
        ([second.asset, first.asset], second.asset),
    ]
    for names, wanted in told:
        alike = twins.alike(seen, names)
        assert alike is not None
        assert (names, alike.asset) == (names, wanted)


def test_files_that_cannot_be_read_are_an_answer_among_many(
    minted: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that vanishes while a folder is looked at has its line, and the rest has theirs."""
    folder = tmp_path / "found"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        shutil.copy(minted.file("png"), folder / name)
    walk = look_all(minted.layout, minted.signing, watermark.PUBLIC_KEY, folder)
    first = next(walk)
    (folder / "b.png").unlink()
    answers = [first, *walk]

    assert [answer.path.name for answer in answers] == ["a.png", "b.png", "c.png"]
    assert [answer.verdict for answer in answers][::2] == ["ours, unchanged"] * 2
    assert (answers[1].verdict, answers[1].layers) == ("no mark of ours", ())
    assert answers[1].problem == "cannot be read (No such file or directory)."
    verifying.show_all(answers, as_json=False)
    verifying.show(answers[1], as_json=False)
    told = capsys.readouterr().out
    assert "3 files: 2 ours, unchanged, 1 no mark of ours; 1 could not be looked at" in told
    assert "cannot be looked at: cannot be read" in told
