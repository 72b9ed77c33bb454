"""Told once, told again after a day, cleared when mended, whatever is restarted meanwhile."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from flows.monitor.alerts import Alert, Book, now_open
from flows.monitor.rules import Finding, Findings
from flows.open_alerts import read_alerts
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout
from tests.flows.monitor.sights import NOW

LATE = Finding("late", "retrain stickers", "stickers", "it is late.", "Start a worker.")
AWAY = Finding("server", "mlflow", "", "mlflow is away.", "Start it.", patience_seconds=120.0)


class _Listener:
    """Keeps what it is told, and answers whether everybody was reached."""

    def __init__(self, *, reached: bool = True) -> None:
        self.told: list[tuple[str, str]] = []
        self.reached = reached

    def __call__(self, event: str, alert: Alert) -> bool:
        self.told.append((event, alert.key))
        return self.reached


def _found(*found: Finding) -> Findings:
    kinds: Findings = {"late": [], "server": []}
    return {**kinds, **{each.kind: [each] for each in found}}


def _after(**time: float) -> datetime:
    return NOW + timedelta(**time)


def test_an_alert_is_told_once_and_cleared_when_mended(tmp_path: Path) -> None:
    """However many rounds it lasts, there is one notice when it begins and one when it ends."""
    book, tell = Book(tmp_path / "alerts.json"), _Listener()
    for minutes in range(5):
        book.settle(_found(LATE), _after(minutes=minutes), tell)
    book.settle(_found(), _after(minutes=6), tell)
    book.settle(_found(), _after(minutes=7), tell)

    assert tell.told == [("alert.raised", LATE.key), ("alert.cleared", LATE.key)]
    assert book.alerts == {}


def test_an_open_alert_is_told_again_after_a_day(tmp_path: Path) -> None:
    """What nobody mended is not forgotten, and is told once a day, not each round."""
    book, tell = Book(tmp_path / "alerts.json"), _Listener()
    for hours in range(50):
        book.settle(_found(LATE), _after(hours=hours), tell)

    assert tell.told == [("alert.raised", LATE.key)] * 3
    assert book.alerts[LATE.key].since == NOW


def test_a_restart_tells_nothing_twice(tmp_path: Path) -> None:
    """A monitor that was killed goes on with the alerts that were open."""
    path, tell = tmp_path / "alerts.json", _Listener()
    Book(path).settle(_found(LATE), NOW, tell)
    second = Book(path)
    second.settle(_found(LATE), _after(minutes=1), tell)

    assert tell.told == [("alert.raised", LATE.key)]
    second.settle(_found(), _after(minutes=2), tell)
    assert Book(path).alerts == {}


def test_what_a_restart_mends_by_itself_is_not_told(tmp_path: Path) -> None:
    """A server has two minutes to come back; only then is it an alert, since it went away."""
    book, tell = Book(tmp_path / "alerts.json"), _Listener()
    book.settle(_found(AWAY), NOW, tell)
    book.settle(_found(AWAY), _after(seconds=90), tell)
    book.settle(_found(), _after(seconds=100), tell)
    book.settle(_found(AWAY), _after(seconds=200), tell)
    assert tell.told == []

    book.settle(_found(AWAY), _after(seconds=330), tell)

    assert tell.told == [("alert.raised", AWAY.key)]
    assert book.alerts[AWAY.key].since == _after(seconds=200)


def test_not_knowing_clears_nothing(tmp_path: Path) -> None:
    """While Prefect is away, what it said last stays open: nobody knows that it is mended."""
    book, tell = Book(tmp_path / "alerts.json"), _Listener()
    book.settle(_found(LATE), NOW, tell)
    book.settle({"late": None, "server": []}, _after(minutes=1), tell)
    book.settle({"server": []}, _after(minutes=2), tell)

    assert list(book.alerts) == [LATE.key]
    assert tell.told == [("alert.raised", LATE.key)]


def test_what_did_not_get_through_is_told_again_soon(tmp_path: Path) -> None:
    """A webhook that was away when an alert was raised hears of it within a quarter of an hour."""
    book, tell = Book(tmp_path / "alerts.json"), _Listener(reached=False)
    book.settle(_found(LATE), NOW, tell)
    book.settle(_found(LATE), _after(minutes=14), tell)
    assert len(tell.told) == 1

    tell.reached = True
    book.settle(_found(LATE), _after(minutes=15), tell)
    book.settle(_found(LATE), _after(minutes=60), tell)

    assert len(tell.told) == 2


def test_a_clock_that_was_set_back_silences_nothing(tmp_path: Path) -> None:
    """An alert told in what is now the future is told again."""
    book, tell = Book(tmp_path / "alerts.json"), _Listener()
    book.settle(_found(LATE), _after(days=400), tell)
    book.settle(_found(LATE), NOW, tell)

    assert len(tell.told) == 2


def test_the_file_is_what_others_read(tmp_path: Path) -> None:
    """`ganmill status` and scripts find rule, recipe, time and sentence of each open alert."""
    layout = Layout(tmp_path)
    path = layout.state / "alerts.json"
    Book(path).settle(_found(LATE), NOW, _Listener())

    (alert,) = read_alerts(layout)
    (kept,) = json.loads(path.read_text())["alerts"]

    assert (alert.rule, alert.recipe, alert.since, alert.says) == ("late", "stickers", NOW,
                                                                    "it is late.")  # fmt: skip
    assert kept["mend"] == "Start a worker."


def test_the_file_is_written_only_when_something_changed(tmp_path: Path) -> None:
    """A round in which nothing happened leaves the disk alone."""
    path = tmp_path / "alerts.json"
    book = Book(path)
    book.watched("stickers")
    book.settle(_found(LATE), NOW, _Listener())
    before = path.stat().st_ino
    book.settle(_found(LATE), _after(minutes=1), _Listener())

    assert path.stat().st_ino == before
    assert Book(path).watched("stickers") == book.watched("stickers")


def test_a_full_disk_makes_nobody_hear_twice(tmp_path: Path) -> None:
    """While the file cannot be written nothing is told again, and it is written once it can."""
    path, tell = tmp_path / "folder" / "alerts.json", _Listener()
    path.parent.write_text("a file stands where the folder should be")
    book = Book(path)
    for minutes in range(3):
        with pytest.raises(GanmillError, match="folder"):
            book.settle(_found(LATE), _after(minutes=minutes), tell)
    path.parent.unlink()
    book.settle(_found(LATE), _after(minutes=4), tell)

    assert tell.told == [("alert.raised", LATE.key)]
    assert list(Book(path).alerts) == [LATE.key]


@pytest.mark.parametrize("words", ["", "{", "[]", '{"alerts": [{}], "watched": {}}'])
def test_a_damaged_file_is_named(tmp_path: Path, words: str) -> None:
    """A file that nobody can read is an error that names it, never a silent beginning anew."""
    path = tmp_path / "alerts.json"
    path.write_text(words)

    with pytest.raises(DamagedError, match=r"alerts\.json"):
        Book(path)


def test_a_look_from_a_terminal_changes_nothing(tmp_path: Path) -> None:
    """`ganmill alerts` shows what is found now, with the time since when the monitor knows it."""
    book = Book(tmp_path / "alerts.json")
    book.settle(_found(LATE), NOW, _Listener())
    found: Findings = {"late": None, "server": [AWAY]}

    shown = now_open(book, found, _after(hours=1))

    assert [(alert.key, alert.since) for alert in shown] == [
        (AWAY.key, _after(hours=1)),
        (LATE.key, NOW),
    ]
    assert list(book.alerts) == [LATE.key]
