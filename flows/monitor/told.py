"""What the file of notices adds up to, read on from where the last round ended.

The notices are only ever added to, so what is counted from them never falls: the folders of batches
may be removed when they are old, and a counter must not follow them.
"""

import json
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.monitor.snapshot import Totals

_MADE = frozenset({"batch.delivered", "batch.waiting"})
_BATCHES = _MADE | {"batch.held"}


@dataclass
class _Sum:
    batches: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    delivered: datetime | None = None


class NoticeReader:
    """Reads the file of notices again and again, each line once."""

    def __init__(self, path: Path) -> None:
        """Read this file, which need not be there yet."""
        self._path, self._offset, self._inode = path, 0, 0
        self._sums: defaultdict[str, _Sum] = defaultdict(_Sum)

    def read(self) -> dict[str, Totals]:
        """Return the sums of each recipe.

        Raises:
            OSError: The file cannot be read.
        """
        if self._path.exists():
            self._read_on()
        return {
            recipe: Totals(
                batches=len(each.batches),
                accepted=sum(accepted for accepted, _ in each.batches.values()),
                candidates=sum(candidates for _, candidates in each.batches.values()),
                events=dict(each.events),
                delivered=each.delivered,
            )
            for recipe, each in self._sums.items()
        }

    def _read_on(self) -> None:
        status = self._path.stat()
        if status.st_ino != self._inode or status.st_size < self._offset:  # another file
            self._offset, self._inode = 0, status.st_ino
            self._sums.clear()
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:  # a year of notices need not fit into memory
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                with suppress(ValueError, KeyError, TypeError, AttributeError):  # torn by a kill
                    self._take(json.loads(line))

    def _take(self, notice: dict[str, Any]) -> None:
        event, told = notice["event"], notice["payload"]
        time = datetime.fromisoformat(notice["time_utc"]).astimezone(UTC)
        each = self._sums[notice["recipe"] or ""]
        each.events[event] += 1
        if event in _BATCHES and "batch" in told:
            each.batches[told["batch"]] = (int(told["accepted"]), int(told["candidates"]))
        if event in _MADE:
            each.delivered = max(time, each.delivered or time)
