"""Rows and the card, in both forms, and what `verify` finds."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.assets.batch import Marks
from gan.assets.manifest import MANIFEST, PARQUET, Row, read_batch, read_rows, verify
from gan.assets.parquet import parquet, rows_of
from gan.durable import read_json, sha256, write_atomically, write_json
from gan.errors import DamagedError
from gan.marking.identity import Signing, open_identity
from gan.marking.statement import sign_statement

DIGEST = "ab" * 32


def row(**changes: object) -> Row:
    """Return a row with sane defaults."""
    scores = dict.fromkeys(("class_probability", "training_ratio", "moderation"))
    plain: dict[str, object] = {
        "asset": "0" * 16,
        "ordinal": 0,
        "class": "cats",
        "segment": "",
        "seed": 1,
        "recipe": "stickers",
        "campaign": "default",
        "request": DIGEST,
        "bundle_digest": DIGEST,
        "model_version": "3",
        "mlflow_run": "",
        "flow_run": "",
        "data_version": "",
        "verdict": "accepted",
        "reason": "",
        "like": "",
        "scores": {**scores, "contrast": 0.25, "critic": -1.5},
        "phash": -1,
        "colour": "ab" * 48,
        "pixels": DIGEST,
        "files": [
            {
                "platform": "whatsapp",
                "path": "whatsapp/cats-01/0000000000000000.webp",
                "sha256": DIGEST,
                "bytes": 9,
                "width_px": 512,
                "height_px": 512,
                "watermark": 0.99,
                "is_read": True,
            }
        ],
    }
    return Row.model_validate(plain | changes)


@given(
    text=st.text(max_size=20).filter(lambda t: t.isprintable() or "\u2028" in t),
    phash=st.integers(-(2**63), 2**63 - 1),
)
def test_a_row_survives_its_line_and_the_table(text: str, phash: int) -> None:
    """Whatever a class is called, the row that is read is the row that was written."""
    rows = [row(**{"class": text, "phash": phash}), row(files=[], verdict="copy", like="key")]

    assert Row.model_validate_json(rows[0].line()) == rows[0]
    assert rows[0].line().count("\n") == 1
    assert rows_of(parquet(rows)) == rows
    assert parquet(rows) == parquet(rows)


@pytest.mark.parametrize(
    "path", ["../up.png", "/etc/passwd", "png/../../x.png", "png", "png//x.png", ".hidden/x.png"]
)
def test_no_row_names_a_file_outside_of_its_batch(path: str) -> None:
    """A manifest that points elsewhere is damaged, and is not followed."""
    file = row().files[0].model_dump() | {"path": path}

    with pytest.raises(ValueError, match="path"):
        row(files=[file])


def test_rows_with_line_separators_in_a_class_are_read(tmp_path: Path) -> None:
    """A class name with a Unicode line separator stays on its line of the manifest."""
    odd = row(**{"class": "a\u2028b\x85c"})
    write_atomically(tmp_path / "rows.jsonl", (odd.line() * 2).encode())

    assert read_rows(tmp_path / "rows.jsonl") == [odd, odd]


def test_what_is_no_table_is_one_line() -> None:
    """A truncated or foreign Parquet file is named, without a traceback."""
    for payload in (b"", b"PAR1", parquet([row()])[:-9]):
        with pytest.raises(DamagedError, match=r"manifest\.parquet"):
            rows_of(payload)


def test_both_manifests_hold_the_same(batch: Path) -> None:
    """Parquet and JSON Lines are row for row equal; columns can be read alone."""
    rows = read_rows(batch / MANIFEST)

    assert rows_of((batch / PARQUET).read_bytes()) == rows
    table = pq.read_table(batch / PARQUET, columns=["asset", "phash", "colour"])
    assert table.column("asset").to_pylist() == [each.asset for each in rows]


def test_an_untouched_batch_is_sound(batch: Path, marks: Marks, tmp_path: Path) -> None:
    """`verify` of what was just minted finds nothing, and knows who signed."""
    assert verify(batch) == []
    assert verify(batch, open_identity(marks.signing)) == []
    (problem,) = verify(batch, open_identity(Signing(tmp_path / "stranger")))
    assert "batch.json" in problem


def test_each_missing_extra_and_altered_file_is_named(batch: Path) -> None:
    """All problems are listed at once, each with its file."""
    files = [each.files[0].path for each in read_rows(batch / MANIFEST)]
    (batch / files[0]).unlink()
    payload = bytearray((batch / files[1]).read_bytes())
    payload[-1] ^= 1
    (batch / files[1]).write_bytes(bytes(payload))
    (batch / files[2]).rename(batch / "renamed.png")
    (batch / "png" / "notes.txt").write_text("mine")
    (batch / "index.html").write_text("changed")
    (batch / "manifest.parquet").write_bytes(b"PAR1")
    picture = (batch / files[3]).read_bytes()
    (batch / files[3]).unlink()
    (batch / "elsewhere").write_bytes(picture)
    (batch / files[3]).symlink_to(batch / "elsewhere")
    (batch / "linked").symlink_to(batch / "png")

    assert sorted(verify(batch)) == sorted(
        [
            f"{files[0]}: missing",
            f"{files[1]}: altered",
            f"{files[2]}: missing",
            f"{files[3]}: altered",
            "index.html: altered",
            "manifest.parquet: altered",
            "elsewhere: extra",
            "linked: extra",
            "png/notes.txt: extra",
            "renamed.png: extra",
        ]
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "manifest.jsonl").write_text(""), "manifest.jsonl: altered"),
        (lambda f: (f / "manifest.jsonl").unlink(), "manifest.jsonl: missing"),
        (lambda f: (f / "contact_sheet.png").unlink(), "contact_sheet.png: missing"),
        (lambda f: (f / "batch.json").unlink(), "batch.json: missing"),
        (lambda f: (f / "batch.json").write_text('{"format": 1}'), "batch.json: format"),
        (lambda f: (f / "batch.json").write_text('{"form'), "not readable JSON"),
        (lambda f: (f / "batch.json").write_text("[]"), "batch.json"),
    ],
)
def test_a_spoilt_record_is_named(batch: Path, spoil: Callable[[Path], None], says: str) -> None:
    """A truncated, missing or foreign record is a problem, never a pass and never a traceback."""
    spoil(batch)

    assert any(says in problem for problem in verify(batch))


def test_every_flipped_bit_of_the_manifest_is_found(batch: Path) -> None:
    """No single changed byte in the manifest goes unnoticed."""
    whole = (batch / MANIFEST).read_bytes()
    for place in range(0, len(whole), 97):
        spoilt = bytearray(whole)
        spoilt[place] ^= 4
        (batch / MANIFEST).write_bytes(bytes(spoilt))
        assert verify(batch) == ["manifest.jsonl: altered"]


def test_a_changed_card_breaks_its_signature(batch: Path) -> None:
    """Whoever changes a digest or a count, and not the key's owner, is found out."""
    changes: list[dict[str, object]] = [
        {"accepted": 4},
        {"lineage": {"model_version": "4"}},
        {"digests": {}},
    ]
    for change in changes:
        card = read_json(batch / "batch.json") | change
        write_json(batch / "batch.json", card)
        (problem,) = verify(batch)
        assert "batch.json" in problem
        assert "sign" in problem


def test_rows_of_another_request_are_foreign(batch: Path, marks: Marks) -> None:
    """Even a card that is signed anew must have rows of its own request, in their order."""
    _rewrite(batch, marks, lambda rows: [rows[1], rows[0], *rows[2:]])
    assert all("is not the asset of ordinal" in problem for problem in verify(batch))
    assert len(verify(batch)) == 2
    _rewrite(batch, marks, lambda rows: sorted(rows, key=lambda each: each.ordinal)[:-1])
    assert any("5 of 5" in problem for problem in verify(batch))
    _rewrite(batch, marks, lambda rows: [each.model_copy(update={"seed": 9}) for each in rows])
    assert any("another request or model" in problem for problem in verify(batch))


def test_a_malformed_manifest_names_the_line(batch: Path) -> None:
    """Reading a damaged manifest says which line is wrong."""
    lines = (batch / MANIFEST).read_text().splitlines()
    (batch / MANIFEST).write_text("\n".join([lines[0], lines[1][:-9], *lines[2:]]))

    with pytest.raises(DamagedError, match="line 2"):
        read_rows(batch / MANIFEST)


def test_the_card_counts(batch: Path) -> None:
    """`batch.json` says how many there are, in all, of each class, and whose model made them."""
    card = read_batch(batch)

    assert (card.wanted, card.accepted, card.candidates) == (5, 5, 5)
    assert card.verdicts == {"accepted": 5}
    assert card.classes == {"cats": 2, "hearts & co": 2, "stars": 1}
    assert card.lineage["model_version"] == "3"
    assert card.marks.is_local
    assert card.watermark.files == 5


def _rewrite(batch: Path, marks: Marks, change: Callable[[list[Row]], list[Row]]) -> None:
    """Change the rows and seal and sign the batch anew, as its owner could."""
    rows = change(read_rows(batch / MANIFEST))
    write_atomically(batch / MANIFEST, "".join(each.line() for each in rows).encode())
    card = read_json(batch / "batch.json")
    card["digests"][MANIFEST] = sha256(batch / MANIFEST)
    write_json(batch / "batch.json", sign_statement(card, open_identity(marks.signing)))
