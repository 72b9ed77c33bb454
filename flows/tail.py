"""Follows a training's statistics file into MLflow, from outside the training process."""

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from flows._mlflow import Row, TrackedRun, log_picture, log_stats
from gan.errors import ServiceError

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_logger = logging.getLogger(__name__)


class StatsTail(threading.Thread):
    """Follows `runs/<recipe>/stats.jsonl` into MLflow and calls `on_row` for each row, in order.

    A listener that fails is logged and not called again: showing progress never ends a training.
    MLflow being away stops nothing: it is said once, rows wait, and go when it is back. Pictures
    `samples-<nimg>.png` in the same folder are sent too, each once. Use as a context manager, or
    `start` and then `finish`.
    """

    def __init__(
        self, run: TrackedRun | None, path: Path, on_row: Callable[[Row], None] | None = None
    ) -> None:
        """Follow `path`, which may not exist yet; without a run, rows only go to `on_row`."""
        super().__init__(name=f"tail {path}", daemon=True)
        self._run_info, self._path, self._on_row = run, path, on_row
        self._offset = 0
        self._waiting: list[Row] = []
        self._pictures: set[str] = set()
        self._over = threading.Event()
        self._away_since = 0.0

    def __enter__(self) -> Self:
        """Start following."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send what is left."""
        self.finish()

    def run(self) -> None:
        """Follow until `finish`."""
        while not self._over.wait(_POLL_SECONDS):
            self._step()

    def finish(self) -> bool:
        """Read to the end, send what waits, and tell whether everything arrived."""
        self._over.set()
        if self.is_alive():
            self.join()
        self._away_since = 0.0
        self._step()
        if self._waiting:
            _logger.warning(
                "%d rows did not reach MLflow; %s has them.", len(self._waiting), self._path
            )
        return not self._waiting

    def _step(self) -> None:
        rows = self._read()
        self._waiting += rows if self._run_info else []
        self._tell(rows)
        if self._run_info and time.monotonic() - self._away_since > _RETRY_SECONDS:
            self._send(self._run_info)

    def _tell(self, rows: list[Row]) -> None:
        for row in rows:
            if self._on_row is None:
                return
            try:
                self._on_row(row)
            except Exception:
                _logger.exception("A listener to %s failed; it is not called again.", self._path)
                self._on_row = None

    def _send(self, run: TrackedRun) -> None:
        try:
            if self._waiting:
                log_stats(run, self._waiting)
                self._waiting = []
            for picture in sorted(self._path.parent.glob("samples-*.png")):
                nimg = picture.stem.removeprefix("samples-")
                if nimg.isdigit() and picture.name not in self._pictures:
                    log_picture(run, picture, key="samples", nimg=int(nimg))
                    self._pictures.add(picture.name)
        except ServiceError as error:
            if not self._away_since:
                _logger.warning("%s Training goes on; its rows wait in %s.", error, self._path)
            self._away_since = time.monotonic()
        else:
            self._away_since = 0.0

    def _read(self) -> list[Row]:
        """Return the whole lines that were added since the last look."""
        if not self._path.exists():
            return []
        if self._path.stat().st_size < self._offset:  # begun anew; repeated rows change nothing
            self._offset = 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        if not whole:
            return []
        self._offset += len(whole) + 1
        rows: list[Row] = []
        for line in whole.split(b"\n"):
            try:
                row = json.loads(line)
                seconds = float(row.get("seconds", 0))
                rows.append({**row, "nimg": int(row["nimg"]), "seconds": seconds})
            except (ValueError, TypeError, KeyError, AttributeError):
                _logger.warning("%s: a line is no row of statistics, left out.", self._path)
        return rows
