"""What the monitor reads of a workspace: ledger, notices, batches, drift checks, trainings."""

import json
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flows import ledger
from flows.drift import checks
from flows.ledger import Entry
from flows.monitor.products import ProductReader, training_of
from flows.monitor.snapshot import Product, Totals
from flows.monitor.told import NoticeReader
from gan.durable import append_line, run_lock, write_json
from gan.paths import Layout
from tests.flows.monitor.sights import NOW

PARAMS = """\
recipes:
  stickers:
    data: {source: files, path: pictures, resolution: 32}
    assets: {campaigns: {chat: {count: 8}}}
    alerts: {no_batch_hours: 24}
"""
WORD = Entry(event="done", recipe="stickers", actor="ganmill", reason="passed")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a workspace with one recipe and nothing made yet."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    return Layout(tmp_path)


def _watched(_recipe: str) -> datetime:
    return NOW


def _one(reader: ProductReader) -> Product:
    found = reader.read(_watched)
    assert found is not None
    assert reader.problems == {}
    return found[0]


def _row(**more: Any) -> str:
    speed = {"images_per_second": 100.0, "eta_seconds": 60.0}
    return json.dumps({"nimg": 1000, "share": 0.5, **speed, **more})


def _batch(layout: Layout, name: str, accepted: int) -> Path:
    card = layout.batches("stickers") / name / "batch.json"
    card.parent.mkdir(parents=True)
    verdicts = {"accepted": accepted, "broken": 2}
    write_json(card, {"batch": name, "accepted": accepted, "candidates": accepted + 2,
                      "verdicts": verdicts})  # fmt: skip
    return card


def _notice(layout: Layout, event: str, time: str, **payload: Any) -> None:
    line = {"event": event, "recipe": "stickers", "says": "", "time_utc": time, "payload": payload}
    layout.notices.parent.mkdir(exist_ok=True)
    append_line(layout.notices, json.dumps(line))


def test_a_new_workspace_has_nothing_yet(layout: Layout) -> None:
    """Nothing is made up where nothing was made."""
    assert _one(ProductReader(layout)) == Product(
        name="stickers",
        campaigns=("chat",),
        alerts=_one(ProductReader(layout)).alerts,
        watched=NOW,
    )


def test_the_ledger_says_who_is_champion_and_who_waits(layout: Layout) -> None:
    """Champion, waiting version and hold are those of the ledger, from when its lines are."""
    reader = ProductReader(layout)
    layout.state.mkdir()
    ledger.append(layout.ledger, replace(WORD, to_version=2))
    assert _one(reader).champion is not None

    asked = ledger.append(layout.ledger, replace(WORD, event="ask", to_version=3))
    held = ledger.append(layout.ledger, replace(WORD, event="hold-production"))
    found = _one(reader)

    assert found.champion is not None
    assert found.champion.version == 2
    assert found.waiting is not None
    assert (found.waiting.version, found.waiting.since.isoformat(timespec="milliseconds")) == (
        3,
        asked.time_utc,
    )
    assert found.held is not None
    assert found.held.isoformat(timespec="milliseconds") == held.time_utc
    assert dict(found.decisions) == {"promoted": 1, "asked": 1}


def test_a_damaged_ledger_is_a_problem_and_hides_nothing_else(layout: Layout) -> None:
    """The champion stays the one that was known, and the batches go on being seen."""
    reader = ProductReader(layout)
    layout.state.mkdir()
    ledger.append(layout.ledger, replace(WORD, to_version=2))
    before = _one(reader).champion

    layout.ledger.write_text('{"event": "done"}\n')
    _batch(layout, "monday", 6)
    (found,) = reader.read(_watched) or ()

    assert "line 1 was altered" in reader.problems["ledger"]
    assert found.champion == before
    assert found.batch is not None


def test_a_mistake_in_params_yaml_leaves_the_recipes_that_were_known(layout: Layout) -> None:
    """Alerts go on while somebody edits the file, and the mistake is named."""
    reader = ProductReader(layout)
    before = _one(reader)
    layout.params.write_text(f"{PARAMS}    alert: {{}}\n")

    assert reader.read(_watched) == (before,)
    assert "alerts" in reader.problems["params.yaml"]  # did you mean
    assert ProductReader(layout).read(_watched) is None


def test_the_newest_complete_batch_counts(layout: Layout) -> None:
    """A batch without its card is not there yet; one that went away gives way to the one before."""
    reader = ProductReader(layout)
    old, new = _batch(layout, "monday", 6), _batch(layout, "tuesday", 8)
    os.utime(old, (NOW.timestamp() - 100, NOW.timestamp() - 100))
    os.utime(new, (NOW.timestamp(), NOW.timestamp()))
    (layout.batches("stickers") / "wednesday").mkdir()

    batch = _one(reader).batch
    assert batch is not None
    assert (batch.name, batch.made, batch.accepted, batch.passed_share) == ("tuesday", NOW, 8, 0.8)

    new.unlink()
    batch = _one(reader).batch
    assert batch is not None
    assert batch.name == "monday"


def test_counters_never_fall_when_old_batches_are_removed(layout: Layout) -> None:
    """What was accepted is summed over the notices, each batch once, whatever is kept of it."""
    reader = NoticeReader(layout.notices)
    assert reader.read() == {}
    facts = {"batch": "monday", "accepted": 6, "candidates": 8}
    _notice(layout, "batch.held", "2027-03-01T10:00:00+00:00", **facts)
    _notice(layout, "batch.delivered", "2027-03-01T11:00:00+00:00", **facts)
    _notice(layout, "model.promoted", "2027-03-01T12:00:00+00:00", version=3)
    with layout.notices.open("a") as file:
        file.write('{"event": "batch.del')  # a kill tore it
    first = reader.read()
    _notice(layout, "batch.delivered", "2027-03-02T11:00:00+00:00",
            batch="tuesday", accepted=7, candidates=9)  # fmt: skip

    events = {"batch.held": 1, "batch.delivered": 1, "model.promoted": 1}
    delivered = NOW.replace(hour=11)
    assert first == {"stickers": Totals(1, 6, 8, events, delivered)}
    assert reader.read()["stickers"].accepted == 13
    assert NoticeReader(layout.notices).read() == reader.read()


def test_a_file_of_notices_that_was_put_away_is_begun_anew(layout: Layout) -> None:
    """Who moves the file away and lets a new one begin starts the sums again."""
    reader = NoticeReader(layout.notices)
    _notice(layout, "data.drifted", "2027-03-01T10:00:00+00:00")
    assert reader.read()["stickers"].events == {"data.drifted": 1}
    layout.notices.rename(layout.notices.with_suffix(".old"))
    _notice(layout, "data.accepted", "2027-03-01T10:00:00+00:00")

    assert reader.read()["stickers"].events == {"data.accepted": 1}


def test_the_last_drift_check_counts(layout: Layout) -> None:
    """How the newest comparison ended, and when."""
    row = checks.Row(
        time_utc=NOW.isoformat(), data="a", baseline="b", champion=1, outcome="drifted",
        struck=True, label_shift=0.4, fact_shift=None, feature_shift=None,
        feature_shift_shown=None, reasons=["the classes shifted"],
    )  # fmt: skip
    checks.append(layout.drift_checks("stickers"), row)

    assert _one(ProductReader(layout)).drift == ("drifted", NOW)


def test_a_training_is_told_from_its_statistics_and_its_lock(layout: Layout) -> None:
    """Progress is that of the newest statistics; it goes on while a process holds the lock."""
    reader = ProductReader(layout)
    stats = layout.run("stickers") / "abc" / "stats.jsonl"
    stats.parent.mkdir(parents=True)
    stats.write_text(f"{_row(fd=0.5)}\n{_row(nimg=2000)}\n")

    with run_lock(layout.lock("train-stickers"), "training stickers"):
        going = _one(reader).training
    over = _one(reader).training

    assert going is not None
    assert (going.images, going.distance, going.share) == (2000, 0.5, 0.5)
    assert going.is_running
    assert over == replace(going, is_running=False)


@pytest.mark.parametrize("lines", [b"", b'{"nimg": 1', b'{"event": "best", "nimg": 1}\n', b"[]\n"])
def test_statistics_without_a_row_are_no_training(lines: bytes) -> None:
    """The first seconds of a training, or what a kill left, show no figure."""
    assert training_of(lines, is_running=True) is None
