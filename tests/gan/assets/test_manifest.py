"""Names, rows, and what `verify` finds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.assets.batch import mint
from gan.assets.manifest import (
    Asked,
    Request,
    Row,
    begun,
    names,
    read_batch,
    read_request,
    read_rows,
    verify,
)
from gan.bundle import Bundle
from gan.durable import write_atomically, write_json
from gan.errors import DamagedError, UsageError
from gan.sections import AssetsSpec

SPEC = AssetsSpec(size_px=32)
DIGEST = "ab" * 32


@pytest.fixture
def batch(bundle: Bundle, tmp_path: Path) -> Path:
    """Return a complete batch of five assets."""
    return mint(bundle, SPEC, Request("stickers", 5, 1, "slot"), tmp_path).folder


def test_names_are_golden() -> None:
    """A name never changes from one release to the next: batches out there are found by it."""
    called = names(Request("stickers", 64, 1, "2026-11-21T10-00"), DIGEST, AssetsSpec())

    assert called.batch_id == "2026-11-21T10-00-334c5b67"
    assert called.asset(0) == "1b690dc48f83ca70"


def test_all_that_changes_bytes_changes_the_batch() -> None:
    """Another recipe, count, seed, slot, bundle, size or filter is another batch."""
    plain = Request("stickers", 64, 1, "slot")
    others = [
        (Request("cards", 64, 1, "slot"), DIGEST, SPEC),
        (Request("stickers", 63, 1, "slot"), DIGEST, SPEC),
        (Request("stickers", 64, 2, "slot"), DIGEST, SPEC),
        (Request("stickers", 64, 1, "slot2"), DIGEST, SPEC),
        (plain, "cd" * 32, SPEC),
        (plain, DIGEST, AssetsSpec(size_px=64)),
        (plain, DIGEST, AssetsSpec(size_px=32, upscale="nearest")),
        (plain, DIGEST, SPEC),
    ]

    assert len({names(*other).batch_id for other in others}) == len(others)


def test_lineage_changes_no_name() -> None:
    """A retry under another flow run finds the batch that the first try began."""
    plain = names(Request("stickers", 9, 1, "slot"), DIGEST, SPEC)
    retried = names(Request("stickers", 9, 1, "slot", {"flow_run": "2"}), DIGEST, SPEC)

    assert plain == retried


@pytest.mark.parametrize("slot", ["", "../up", ".hidden", "a/b", "x" * 65, "new\nline", "-flag"])
def test_a_slot_that_is_no_folder_name_is_refused(slot: str) -> None:
    """Nothing outside the batches' folder can be named."""
    with pytest.raises(UsageError, match="slot"):
        Request("stickers", 1, 1, slot)


@pytest.mark.parametrize(("recipe", "count"), [("../x", 1), ("stickers", 0), ("stickers", -3)])
def test_an_impossible_request_is_refused(recipe: str, count: int) -> None:
    """A recipe that is no name and a count below one are one line."""
    with pytest.raises(UsageError):
        Request(recipe, count, 1, "slot")


@given(text=st.text(max_size=20).filter(lambda t: t.isprintable() or "\u2028" in t))
def test_a_row_survives_its_line(text: str) -> None:
    """Whatever a class is called, the row that is read is the row that was written."""
    row = Row.model_validate(
        {
            "asset": "0" * 16,
            "file": "0" * 16 + ".png",
            "sha256": DIGEST,
            "ordinal": 0,
            "class": text,
            "seed": 1,
            "recipe": "stickers",
            "bundle_digest": DIGEST,
            "model_version": "3",
            "mlflow_run": "",
            "flow_run": "",
            "data_version": "",
            "verdict": "accepted",
        }
    )

    assert Row.model_validate_json(row.line()) == row
    assert row.line().count("\n") == 1


def test_rows_with_line_separators_in_a_class_are_read(tmp_path: Path, batch: Path) -> None:
    """A class name with a Unicode line separator stays on its line of the manifest."""
    row = read_rows(batch / "manifest.jsonl")[0].model_copy(update={"class_": "a\u2028b\x85c"})
    write_atomically(tmp_path / "rows.jsonl", (row.line() * 2).encode())

    assert read_rows(tmp_path / "rows.jsonl") == [row, row]


def test_an_untouched_batch_is_sound(batch: Path) -> None:
    """`verify` of what was just minted finds nothing."""
    assert verify(batch) == []


def test_each_missing_extra_and_altered_file_is_named(batch: Path) -> None:
    """All problems are listed at once, each with its file."""
    files = [row.file for row in read_rows(batch / "manifest.jsonl")]
    (batch / files[0]).unlink()
    payload = bytearray((batch / files[1]).read_bytes())
    payload[-1] ^= 1
    (batch / files[1]).write_bytes(bytes(payload))
    (batch / files[2]).rename(batch / "renamed.png")
    (batch / "notes.txt").write_text("mine")
    (batch / "index.html").write_text("changed")
    picture = (batch / files[3]).read_bytes()
    (batch / files[3]).unlink()
    (batch / "elsewhere").write_bytes(picture)
    (batch / files[3]).symlink_to(batch / "elsewhere")

    assert sorted(verify(batch)) == sorted(
        [
            f"{files[0]}: missing",
            f"{files[1]}: altered",
            f"{files[2]}: missing",
            f"{files[3]}: altered",
            "index.html: altered",
            "elsewhere: extra",
            "notes.txt: extra",
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
        (lambda f: (f / "batch.json").write_text('{"format": 2}'), "batch.json: format"),
        (lambda f: (f / "batch.json").write_text('{"form'), "not readable JSON"),
    ],
)
def test_a_spoilt_record_is_named(batch: Path, spoil: Callable[[Path], None], says: str) -> None:
    """A truncated, missing or foreign record is a problem, never a pass and never a traceback."""
    spoil(batch)

    assert any(says in problem for problem in verify(batch))


def test_every_flipped_bit_of_the_manifest_is_found(batch: Path) -> None:
    """No single changed byte in the manifest goes unnoticed."""
    whole = (batch / "manifest.jsonl").read_bytes()
    for place in range(0, len(whole), 37):
        spoilt = bytearray(whole)
        spoilt[place] ^= 4
        (batch / "manifest.jsonl").write_bytes(bytes(spoilt))
        assert verify(batch) == ["manifest.jsonl: altered"]


def test_a_malformed_manifest_names_the_line(batch: Path) -> None:
    """Reading a damaged manifest says which line is wrong."""
    lines = (batch / "manifest.jsonl").read_text().splitlines()
    (batch / "manifest.jsonl").write_text("\n".join([lines[0], lines[1][:-9], *lines[2:]]))

    with pytest.raises(DamagedError, match="line 2"):
        read_rows(batch / "manifest.jsonl")


def test_a_request_left_by_a_kill_spoils_no_complete_batch(bundle: Bundle, batch: Path) -> None:
    """A kill after `batch.json` leaves it; the batch is sound, and the same call removes it."""
    request = Request("stickers", 5, 1, "slot")
    asked = Asked(request=request, assets=SPEC, bundle_digest=bundle.digest)
    write_json(batch / ".request.json", asked.model_dump())

    assert read_request(batch) == asked
    assert verify(batch) == []
    assert begun(batch.parent) == []
    assert mint(bundle, SPEC, request, batch.parent).already
    assert not (batch / ".request.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "is no request"),
        ({"request": {"recipe": "stickers", "count": 0, "seed": 1, "slot": "s"}}, "is no request"),
        ({"assets": {"size_px": "large"}}, "is no request"),
        ({"bundle_digest": "ab" * 32}, "not for this one"),
        (None, "not readable JSON"),
    ],
)
def test_a_spoilt_request_is_named(
    batch: Path, bundle: Bundle, change: dict[str, object] | None, says: str
) -> None:
    """Nothing is minted by a request that is damaged, or that lies in another batch's folder."""
    request = Request("stickers", 5, 1, "slot")
    asked = Asked(request=request, assets=SPEC, bundle_digest=bundle.digest).model_dump()
    text = "{" if change is None else json.dumps(asked | change)
    (batch / ".request.json").write_text(text)

    with pytest.raises(DamagedError, match=says):
        read_request(batch)


def test_the_card_counts(batch: Path) -> None:
    """`batch.json` says how many there are, in all and of each class."""
    card = read_batch(batch)

    assert card.count == 5
    assert card.accepted + card.blank == 5
    assert card.classes == {"cats": 2, "hearts & co": 2, "stars": 1}
