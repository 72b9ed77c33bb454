"""The alerts that are open: told once, told again after a day, cleared when what they are about is.

They are kept in `.ganmill/alerts.json`, so that a restart tells nothing twice:

    alerts    [{rule, about, recipe, since, told, says, mend}], the open ones
    watched   {recipe: since when a monitor looks after it}
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from flows.monitor.rules import Finding, Findings
from gan.changes import explained, make_folder
from gan.durable import read_json, write_json
from gan.errors import DamagedError

AGAIN = timedelta(hours=24)
_SOON = timedelta(minutes=15)  # where the webhook did not take it
_FORMAT = 1


@dataclass(frozen=True)
class Alert:
    """An open alert.

    Attributes:
        rule: The kind of finding.
        about: What it is about; with the rule its name.
        recipe: The product line; "" of what is for all.
        since: When it was first found.
        told: When it is taken to have been told last.
        says: One sentence.
        mend: What to do.
    """

    rule: str
    about: str
    recipe: str
    since: datetime
    told: datetime
    says: str
    mend: str

    @property
    def key(self) -> str:
        """The name by which it is known as long as it lasts."""
        return Finding(self.rule, self.about, "", "", "").key


Tell = Callable[[Literal["alert.raised", "alert.cleared"], Alert], bool]


class Book:
    """The open alerts of a workspace, and what is about to become one."""

    def __init__(self, path: Path) -> None:
        """Read what was open when the last monitor ended.

        Raises:
            DamagedError: The file is not as one was written.
        """
        self._path = path
        self._found_first: dict[str, datetime] = {}
        self.alerts, self._watched = _read(path)
        self._kept = (dict(self.alerts), dict(self._watched))

    def watched(self, recipe: str) -> datetime:
        """Return since when a recipe is looked after: from now on, if it is new."""
        return self._watched.setdefault(recipe, datetime.now(UTC))

    def settle(self, found: Findings, now: datetime, tell: Tell) -> None:
        """Tell what is new, what is mended and what lasts for another day; keep what is open.

        Told first and kept then: a kill in between tells twice, never not at all.

        Args:
            found: What the rules found, by kind; of a kind that cannot tell, all stays.
            now: The present.
            tell: Tells of an alert; returns whether everybody was reached.

        Raises:
            GanmillError: The file cannot be written; it is tried again the next time.
        """
        lasting = {each.key: each for kind in found.values() for each in kind or ()}
        for alert in [each for each in self.alerts.values() if found.get(each.rule) is not None]:
            if alert.key not in lasting:
                del self.alerts[alert.key]
                tell("alert.cleared", alert)
        self._found_first = {
            key: self._found_first.get(key, now) for key in lasting if key not in self.alerts
        }
        for key, finding in lasting.items():
            self._follow(key, finding, now, tell)
        if self._kept != (self.alerts, self._watched):
            self._write()

    def _follow(self, key: str, finding: Finding, now: datetime, tell: Tell) -> None:
        known = self.alerts.get(key)
        since = known.since if known else self._found_first[key]
        if known is None and now - since < timedelta(seconds=finding.patience_seconds):
            return
        alert = _alert(finding, since, known.told if known else now)
        # A clock that was set back must not keep an alert quiet for ever.
        if known is None or not timedelta() <= now - known.told < AGAIN:
            reached = tell("alert.raised", alert)
            alert = replace(alert, told=now if reached else now - AGAIN + _SOON)
        self.alerts[key] = alert

    def _write(self) -> None:
        with explained(self._path, "written"):
            make_folder(self._path.parent)
        alerts = [_as_json(self.alerts[key]) for key in sorted(self.alerts)]
        watched = {recipe: since.isoformat() for recipe, since in self._watched.items()}
        write_json(self._path, {"format": _FORMAT, "alerts": alerts, "watched": watched})
        self._kept = (dict(self.alerts), dict(self._watched))


def now_open(book: Book, found: Findings, now: datetime) -> list[Alert]:
    """Return what a look finds now, with the time since when the monitor has known it.

    Args:
        book: Of the monitor; it is not changed.
        found: What the rules found.
        now: For what the monitor does not know.
    """
    lasting = [each for kind in found.values() for each in kind or ()]
    known = book.alerts
    alerts = [
        _alert(each, known[each.key].since if each.key in known else now, now) for each in lasting
    ]
    unknown = [each for each in known.values() if found.get(each.rule) is None]
    return sorted([*alerts, *unknown], key=lambda alert: (alert.recipe, alert.key))


def _alert(finding: Finding, since: datetime, told: datetime) -> Alert:
    return Alert(
        finding.kind, finding.about, finding.recipe, since, told, finding.says, finding.mend
    )


def _as_json(alert: Alert) -> dict[str, str]:
    times = {"since": alert.since.isoformat(), "told": alert.told.isoformat()}
    return {**asdict(alert), **times}


def _read(path: Path) -> tuple[dict[str, Alert], dict[str, datetime]]:
    if not path.exists():
        return {}, {}
    try:
        kept: Mapping[str, Any] = read_json(path)
        times = {recipe: _time(since) for recipe, since in kept["watched"].items()}
        alerts = list(_alerts(kept["alerts"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"{path}: is not as the monitor writes it. Delete it.") from error
    return {alert.key: alert for alert in alerts}, times


def _alerts(rows: Iterable[Mapping[str, Any]]) -> Iterable[Alert]:
    for row in rows:
        words = {name: str(row[name]) for name in ("rule", "about", "recipe", "says", "mend")}
        yield Alert(**words, since=_time(row["since"]), told=_time(row["told"]))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
