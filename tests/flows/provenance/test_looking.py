"""`ganmill verify FILE`: what is said of files that are ours, were ours, or never were."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.commands import verifying
from flows.provenance.answers import Answer
from flows.provenance.looking import look, look_all, verify_batch
from gan.durable import write_json
from gan.errors import UsageError
from gan.marking import credentials, watermark
from gan.marking.identity import Signing, open_identity
from gan.marking.statement import sign_statement
from gan.paths import Layout
from tests.flows.provenance.conftest import Workspace, mint_workspace
from tests.gan.marking.signers import ORIGIN, picture_file, write_signer

_UNCHANGED, _ALTERED = "ours, unchanged", "ours, altered"
_PROBABLY, _CLAIMS, _NONE = "probably ours", "claims to be ours", "no mark of ours"


def _weights(answer: Answer) -> dict[str, str]:
    return {layer.name: layer.weight for layer in answer.layers}


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=75)
    return file.getvalue()


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _on_a_page(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", (500, 600), "#e8e8f4")
    page.paste(image.convert("RGB").resize((230, 230)), (100, 120))
    return page


@pytest.mark.parametrize("platform", ["png", "whatsapp", "linkedin"])
def test_minted_files_are_ours_and_say_what_made_them(minted: Workspace, platform: str) -> None:
    """A file of a batch is found by its bytes, with model, request, seed and place."""
    answer = look(minted.layout, minted.signing, watermark.PUBLIC_KEY, minted.file(platform))
    row = minted.row

    assert (answer.verdict, answer.confidence, answer.asset) == (_UNCHANGED, 1.0, row.asset)
    assert (answer.recipe, answer.batch, answer.class_) == (
        "stickers", minted.batch.name, row.class_,
    )  # fmt: skip
    assert (answer.model_version, answer.model_digest) == ("3", row.bundle_digest)
    assert (answer.seed, answer.ordinal, answer.request) == (row.seed, row.ordinal, row.request)
    assert answer.data_version == "c" * 64
    assert _weights(answer) == {"manifest": "proof", "credentials": "proof", "metadata": "claim"}


def test_renamed_files_are_found_and_pages_are_too(minted: Workspace, tmp_path: Path) -> None:
    """The name of a file means nothing; the contact sheet is known as a file of its batch."""
    renamed = tmp_path / "holiday.jpg"
    shutil.copy(minted.file("png"), renamed)
    sheet = minted.witness().look(minted.batch / "contact_sheet.png")

    assert minted.witness().look(renamed).asset == minted.row.asset
    assert (sheet.verdict, sheet.asset, sheet.batch) == (_UNCHANGED, "", minted.batch.name)


@pytest.mark.parametrize("change", [_png, _jpeg], ids=["stripped", "jpeg"])
def test_encoded_anew_is_ours_and_altered(
    minted: Workspace, tmp_path: Path, change: Callable[[Image.Image], bytes]
) -> None:
    """Without metadata, as after a social network, watermark and looks agree on the asset."""
    for platform in ("png", "whatsapp", "linkedin"):
        path = tmp_path / f"{platform}.any"
        path.write_bytes(change(Image.open(minted.file(platform))))
        answer = minted.witness().look(path)

        assert (answer.verdict, answer.asset) == (_ALTERED, minted.row.asset)
        assert _weights(answer)["watermark"] == _weights(answer)["looks"] == "hint"
        assert answer.seed == minted.row.seed


def test_screenshots_are_recognised(minted: Workspace, tmp_path: Path) -> None:
    """Smaller, on a page and as a JPEG, a picture still gives its asset away."""
    path = tmp_path / "shot.jpg"
    path.write_bytes(_jpeg(_on_a_page(Image.open(minted.file("png")))))
    answer = minted.witness().look(path)

    assert answer.verdict in {_ALTERED, _PROBABLY}
    assert answer.asset == minted.row.asset


def test_watermark_of_a_public_key_alone_is_no_proof(minted: Workspace, tmp_path: Path) -> None:
    """Whoever puts one of our ids into a picture of theirs gets `probably`, and the reason."""
    noise = np.random.default_rng(1).normal(128, 25, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    theirs = np.asarray(Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC))
    path = tmp_path / "forged.png"
    path.write_bytes(_png(Image.fromarray(watermark.embed(theirs, minted.row.asset))))
    answer = minted.witness().look(path)
    found = {layer.name: layer for layer in answer.layers}

    assert (answer.verdict, found["looks"].weight) == (_PROBABLY, "none")
    assert "others could have put it there" in found["watermark"].says


def test_secret_key_makes_the_watermark_a_mark(tmp_path: Path) -> None:
    """With a key of one's own the watermark is enough; without it nobody reads it."""
    key = tmp_path / "key"
    key.write_bytes(b"secret of sixteen bytes and more")
    workspace = mint_workspace(tmp_path / "work", watermark_key=key, count=1)
    cut = tmp_path / "cut.png"
    cut.write_bytes(_png(Image.open(workspace.file("linkedin")).crop((320, 40, 870, 600))))
    known = workspace.witness(key.read_bytes()).look(cut)

    assert (known.verdict, known.asset) == (_ALTERED, workspace.row.asset)
    assert _weights(known)["watermark"] == "mark"
    assert _weights(workspace.witness().look(cut))["watermark"] == "none"


def test_copied_credentials_do_not_make_a_picture_ours(minted: Workspace, tmp_path: Path) -> None:
    """A picture of somebody else's into which our signed part was copied only claims to be ours."""
    mine = minted.file("png").read_bytes()
    chunk = mine[33 : 33 + 12 + int.from_bytes(mine[33:37], "big")]
    theirs = picture_file("image/png", side_px=200)
    path = tmp_path / "forged.png"
    path.write_bytes(theirs[:33] + chunk + theirs[33:])
    answer = minted.witness().look(path)

    assert (answer.verdict, answer.asset) == (_CLAIMS, "")
    assert _weights(answer)["credentials"] == "hint"


def test_credentials_answer_where_no_batch_is_left(minted: Workspace, tmp_path: Path) -> None:
    """A file whose batch was deleted is ours by its own signed part, origin and all."""
    identity = open_identity(minted.signing)
    path = tmp_path / "old.png"
    path.write_bytes(credentials.sign(picture_file("image/png"), "image/png", ORIGIN, identity))
    answer = minted.witness().look(path)

    assert (answer.verdict, answer.confidence) == (_UNCHANGED, 1.0)
    assert (answer.asset, answer.batch, answer.seed) == (ORIGIN.asset, ORIGIN.batch, ORIGIN.seed)


def test_claims_of_strangers_are_no_more_than_claims(minted: Workspace, tmp_path: Path) -> None:
    """XMP that names our asset, or credentials of somebody unknown, are told, not believed."""
    stranger = open_identity(write_signer(tmp_path / "stranger"))
    said = replace(ORIGIN, asset=minted.row.asset)
    written = picture_file("image/jpeg", origin=said)
    for payload in (written, credentials.sign(written, "image/jpeg", said, stranger)):
        path = tmp_path / "claim.jpg"
        path.write_bytes(payload)
        answer = minted.witness().look(path)

        assert (answer.verdict, answer.confidence, answer.asset) == (_CLAIMS, 0.0, "")


def test_forged_batch_is_a_claim_and_an_altered_one_is_not_used(
    minted: Workspace, tmp_path: Path
) -> None:
    """Who writes a batch of their own into the folder is named; who changes one is found out."""
    root = tmp_path / "work"
    shutil.copytree(minted.layout.root, root)
    workspace = minted._replace(layout=Layout(root))
    folder = workspace.layout.batches("stickers") / minted.batch.name
    theirs = tmp_path / "theirs.png"
    theirs.write_bytes(picture_file("image/png", side_px=100))
    rows = (folder / "manifest.parquet").read_bytes()
    card = json.loads((folder / "batch.json").read_bytes())

    write_json(folder / "batch.json", {**card, "accepted": 99})
    answer = workspace.witness().look(minted.file("png"))
    assert answer.verdict == _UNCHANGED  # by its credentials
    assert "is not as it was signed" in answer.notes[0]

    write_json(folder / "batch.json", card)
    (folder / "manifest.parquet").write_bytes(rows[:-1])
    assert "manifest.parquet was altered" in workspace.witness().look(theirs).notes[0]

    (folder / "manifest.parquet").write_bytes(rows)
    stranger = open_identity(write_signer(tmp_path / "stranger"))
    write_json(folder / "batch.json", sign_statement(card, stranger))
    forged = workspace.witness().look(minted.batch / "contact_sheet.png")
    assert (forged.verdict, forged.asset) == (_CLAIMS, "")
    assert "Jane signed that batch" in forged.layers[0].says


def test_damaged_hostile_and_huge_files_are_an_answer(minted: Workspace, tmp_path: Path) -> None:
    """What cannot be looked at is said in a line; what carries our part still says so."""
    whole = minted.file("png").read_bytes()
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate((64 << 20) + 1)
    files = {
        "cut.png": (whole[:500], _NONE, "CORRUPT"),
        "text.png": (b"hello", _NONE, "NOT_AN_IMAGE"),
        "empty.png": (b"", _NONE, "EMPTY_FILE"),
        "flip.png": (whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], _CLAIMS, "CORRUPT"),
    }
    for name, (payload, _, _) in files.items():
        (tmp_path / name).write_bytes(payload)
    witness = minted.witness()

    for name, (_, verdict, reason) in files.items():
        answer = witness.look(tmp_path / name)
        assert (name, answer.verdict) == (name, verdict)
        assert answer.problem.startswith(reason)
    assert witness.look(huge).problem.startswith("FILE_TOO_LARGE")
    with pytest.raises(UsageError, match="cannot be read"):
        witness.look(tmp_path / "none.png")


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    """In an empty workspace a file has no mark, and the workspace stays empty."""
    path = tmp_path / "some.png"
    path.write_bytes(picture_file("image/png", side_px=100))
    layout = Layout(tmp_path / "work")
    layout.root.mkdir()
    answer = look(layout, Signing(layout.signing), watermark.PUBLIC_KEY, path, thorough=True)

    assert (answer.verdict, answer.confidence) == (_NONE, 0.0)
    assert not list(layout.root.iterdir())


def test_folders_are_looked_at_with_one_index(
    minted: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every image file below a folder has its line; hidden ones, links and texts are left out."""
    folder = tmp_path / "found"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    shutil.copy(minted.file("png"), folder / "b.png")
    shutil.copy(minted.file("linkedin"), folder / "deep" / "a.JPG")
    shutil.copy(minted.file("png"), folder / "deep" / ".hidden" / "c.png")
    (folder / "link.png").symlink_to(folder / "b.png")
    (folder / "readme.txt").write_text("text")
    answers = list(look_all(minted.layout, minted.signing, watermark.PUBLIC_KEY, folder))
    verifying.show_all(answers, as_json=False)
    told = capsys.readouterr().out
    verifying.show_all(answers, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [answer.path.name for answer in answers] == ["b.png", "a.JPG"]
    assert "2 files: 2 ours, unchanged" in told
    assert [line["asset"] for line in lines] == [minted.row.asset] * 2
    assert lines[0]["class"] == minted.row.class_
    for place, words in ((folder / "deep" / ".hidden" / "c.png", "is no folder"),
                         (minted.layout.root / "assets" / "stickers" / "none", "is no folder"),
                         (minted.signing.folder, "holds no image file")):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            list(look_all(minted.layout, minted.signing, watermark.PUBLIC_KEY, place))


def test_people_read_what_made_a_file(
    minted: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file is told layer by layer, with the next command; no mark, with what that means."""
    verifying.show(minted.witness().look(minted.file("png")), as_json=False)
    ours = capsys.readouterr().out
    path = tmp_path / "other.png"
    path.write_bytes(picture_file("image/png", side_px=100))
    verifying.show(minted.witness().look(path), as_json=False)
    other = capsys.readouterr().out

    assert "ours, unchanged (manifest: 1.00)" in ours
    assert f"ganmill regenerate {minted.row.asset}" in ours
    assert f"model                v3, bundle {minted.row.bundle_digest}" in ours
    assert "no mark of ours" in other
    assert "does not say that it is not synthetic" in other


def test_batches_must_be_signed_here(minted: Workspace, tmp_path: Path) -> None:
    """A batch is sound if all its bytes are and one of us signed it; each other case is named."""
    assert verify_batch(minted.signing, minted.batch) == []

    copy = Path(shutil.copytree(minted.batch, tmp_path / minted.batch.name))
    card = json.loads((copy / "batch.json").read_bytes())
    stranger = open_identity(write_signer(tmp_path / "stranger"))
    write_json(copy / "batch.json", sign_statement(card, stranger))
    (foreign,) = verify_batch(minted.signing, copy)
    assert "signed by Jane" in foreign

    write_json(copy / "batch.json", card)
    (copy / minted.row.files[0].path).unlink()
    assert verify_batch(minted.signing, copy) == [f"{minted.row.files[0].path}: missing"]
