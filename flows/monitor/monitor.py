"""The monitor's round, again and again: look, keep what was seen for who asks, tell of alerts."""

import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from flows import notices
from flows.monitor.alerts import Alert, Book
from flows.monitor.exposition import text_of
from flows.monitor.rounds import Watcher
from flows.monitor.rules import findings
from flows.monitor.snapshot import Snapshot
from flows.settings import Settings
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout

ALERTS = "alerts.json"
_ROUND_SECONDS = 15.0
_STUCK_SECONDS = 600.0  # more than telling of many alerts takes


@dataclass(frozen=True)
class Seen:
    """The last round, as it is given to who asks."""

    snapshot: Snapshot
    alerts: tuple[Alert, ...]
    metrics: bytes


class Monitor:
    """Looks after one workspace.

    Attributes:
        last: The last round; None before the first one ended.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        """Begin with the alerts that were open when the last monitor ended."""
        self.last: Seen | None = None
        self._layout, self._settings = layout, settings
        self._book = open_book(layout)
        self._watcher = Watcher(layout, settings)
        self._looked = time.monotonic()

    @property
    def is_looking(self) -> bool:
        """Whether a round ended of late, or the first one still may."""
        return time.monotonic() - self._looked < _STUCK_SECONDS

    def start(self) -> None:
        """Go on in threads that end with the process."""
        self._watcher.machine.go_on_counting()
        threading.Thread(target=self._go_on, name="rounds", daemon=True).start()

    def round(self) -> Seen:
        """Look once, tell what there is to tell, and keep what was seen.

        Raises:
            GanmillError: The open alerts cannot be written down.
        """
        seen = self._watcher.look(self._book.watched)
        # Shown before it is told: telling waits for servers that may be away.
        self._keep(seen)
        self._book.settle(findings(seen), datetime.now(UTC), self._tell)
        return self._keep(seen)

    def _keep(self, seen: Snapshot) -> Seen:
        alerts = tuple(self._book.alerts[key] for key in sorted(self._book.alerts))
        self.last = Seen(seen, alerts, text_of(seen, alerts))
        self._looked = time.monotonic()
        return self.last

    def _go_on(self) -> None:
        while True:
            began = time.monotonic()
            try:
                self.round()
            except GanmillError as error:
                print(error, file=sys.stderr, flush=True)
            except Exception as error:  # noqa: BLE001  # the next round is no less needed
                said = f"this round failed, the next follows: {type(error).__name__}: {error}"
                print(said, file=sys.stderr, flush=True)
            time.sleep(max(1.0, _ROUND_SECONDS - (time.monotonic() - began)))

    def _tell(self, event: Literal["alert.raised", "alert.cleared"], alert: Alert) -> bool:
        """Tell of an alert; return whether the webhook, if there is one, has it."""
        says = f"{alert.says} {alert.mend}" if event == "alert.raised" else f"Over: {alert.says}"
        print(f"{event}: {says}", file=sys.stderr, flush=True)
        payload = {"alert": alert.key, "since": alert.since.isoformat(), "do": alert.mend}
        problems = notices.announce(
            self._layout, self._settings, event, alert.recipe, says, payload
        )
        return not problems.get(notices.WEBHOOK)


def open_book(layout: Layout) -> Book:
    """Return the open alerts; a damaged file is put aside, for alerts must go on."""
    path = layout.state / ALERTS
    try:
        return Book(path)
    except DamagedError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        print(f"{error} It is {aside} now; alerts begin anew.", file=sys.stderr, flush=True)
        return Book(path)
