"""The ledger: nothing altered goes unseen, and a crash in the middle of a line costs that line."""

import logging
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.ledger import BEGINNING, Entry, Event, append, missing_end, open_intent, read, waiting
from gan.errors import DamagedError

_ENTRY = Entry(
    event="intend", recipe="stickers", actor="Ada", reason="better\nby far", to_version=2
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a ledger of four entries."""
    ledger = tmp_path / "ledger.jsonl"
    for event in ("intend", "done", "hold", "reject"):
        append(ledger, Entry(event=event, recipe="stickers", actor="Ada", reason="why"))
    return ledger


def test_entries_come_back_in_order_and_chained(path: Path) -> None:
    """Each entry has a number, a UTC time, and the digest of the one before."""
    sealed = append(path, _ENTRY)
    entries = read(path)

    assert entries[-1] == sealed
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0].previous == BEGINNING
    assert entries[4].previous == entries[3].digest
    assert sealed.time_utc.endswith("+00:00")
    assert len(path.read_bytes().splitlines()) == 5


def test_no_ledger_has_no_entries(tmp_path: Path) -> None:
    """A workspace that never promoted has an empty ledger."""
    assert read(tmp_path / "ledger.jsonl") == []


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_altered_byte_is_found(path: Path, data: st.DataObject) -> None:
    """Whatever byte is changed, in whatever line, the ledger is refused."""
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    altered = path.with_name("altered.jsonl")
    altered.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])

    with pytest.raises(DamagedError, match=r"altered\.jsonl: line \d"):
        read(altered)
    with pytest.raises(DamagedError):
        append(altered, _ENTRY)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_torn_last_line_is_dropped(path: Path, data: st.DataObject) -> None:
    """A file cut anywhere keeps its whole lines, and the next entry follows them."""
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole)))
    torn = path.with_name("torn.jsonl")
    torn.write_bytes(whole[:place])
    kept = read(torn)
    sealed = append(torn, _ENTRY)

    assert kept == read(path)[: len(kept)]
    assert len(kept) - whole[:place].count(b"\n") in {0, 1}
    assert read(torn) == [*kept, sealed]


def test_a_torn_line_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That a line was dropped is logged with the file's name."""
    path.write_bytes(path.read_bytes()[:-9])
    caplog.set_level(logging.WARNING)

    assert len(read(path)) == 3
    assert "ledger.jsonl: its last line was cut short" in caplog.text


def test_removed_moved_and_foreign_lines_are_found(path: Path) -> None:
    """Lines cannot be taken out, exchanged or doubled."""
    one, two, three, four = path.read_bytes().splitlines(keepends=True)
    for lines in ([two, three, four], [one, three, four], [one, three, two, four], [one, one]):
        path.write_bytes(b"".join(lines))
        with pytest.raises(DamagedError, match="does not follow"):
            read(path)
    path.write_bytes(b"[1, 2]\n")
    with pytest.raises(DamagedError, match="line 1 was altered"):
        read(path)


def test_writers_take_turns(tmp_path: Path) -> None:
    """Entries added at the same time are all there, in one chain."""
    ledger = tmp_path / "ledger.jsonl"
    threads = [threading.Thread(target=append, args=(ledger, _ENTRY)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(read(ledger)) == 12


def test_open_intents_are_found(tmp_path: Path) -> None:
    """An intent is open until it is closed; other recipes and refusals do not matter."""
    ledger = tmp_path / "ledger.jsonl"
    intent = append(ledger, _ENTRY)
    append(ledger, Entry(event="done", recipe="other", actor="A", reason="r"))
    append(ledger, Entry(event="reject", recipe="stickers", actor="A", reason="r"))
    assert open_intent(read(ledger), "stickers") == intent
    append(ledger, Entry(event="done", recipe="stickers", actor="A", reason="r"))
    assert open_intent(read(ledger), "stickers") is None
    assert open_intent([], "stickers") is None


def test_a_cut_off_end_is_found_by_digests_kept_elsewhere(path: Path) -> None:
    """The chain of what is left holds, but it lacks digests that versions and tags carry."""
    entries = read(path)
    known = {entries[1].digest, entries[3].digest}
    assert missing_end(entries, known) == []

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert missing_end(read(path), known) == [entries[3].digest]


def test_what_waits_is_the_newest_request_that_nobody_answered(tmp_path: Path) -> None:
    """The gate's word on another version does not answer it; a promotion of any does."""
    ledger = tmp_path / "ledger.jsonl"

    def add(event: Event, number: int, recipe: str = "cats") -> Entry:
        return append(ledger, Entry(event, recipe, "Ada", "why", to_version=number))

    assert waiting(read(ledger), "cats") is None
    asked = add("ask", 2)
    add("reject", 3)
    add("hold", 4)
    add("reject", 2, recipe="dogs")
    add("done", 1, recipe="dogs")
    assert waiting(read(ledger), "cats") == asked
    newer = add("ask", 5)
    assert waiting(read(ledger), "cats") == newer
    add("hold", 5)
    assert waiting(read(ledger), "cats") is None
    again = add("ask", 5)
    assert waiting(read(ledger), "cats") == again
    add("intend", 6)
    assert waiting(read(ledger), "cats") is None
