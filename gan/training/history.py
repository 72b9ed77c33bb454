"""What was measured along a training, kept beside its bundle: rows and events without the clock.

`stats.jsonl` holds all of it and more, but lies outside of DVC and tells how fast a machine was;
this file is a function of the training alone, so `evaluate` may draw from it.
"""

from pathlib import Path
from typing import Any

from gan.durable import write_json
from gan.training.stats import read_stats

_FIGURES = (
    "nimg", "kimg", "attempt", "fd", "diversity", "worst_diversity", "coverage", "worst_coverage",
    "class_accuracy", "rank", "samples",
)  # fmt: skip
_SAID = ("nimg", "attempt", "event", "message")
_EVENTS = ("best", "rollback", "stop")  # what others say depends on the machine


def write_history(stats: Path, destination: Path) -> None:
    """Write the measured rows and the events of a training, by attempt and images shown.

    Args:
        stats: Its `stats.jsonl`; a measurement that was made again after a kill counts once.
        destination: The JSON file to write: {"rows": [...], "events": [...]}.
    """
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    events: dict[tuple[int, int, str], dict[str, Any]] = {}
    for row in read_stats(stats):
        if row.get("event") in _EVENTS:
            place = row["attempt"], row["nimg"], row["event"]
            events[place] = {name: row[name] for name in _SAID}
        elif "fd" in row:
            rows[row["attempt"], row["nimg"]] = {
                name: row[name] for name in _FIGURES if name in row
            }
    found = {
        "rows": [rows[place] for place in sorted(rows)],
        "events": [events[place] for place in sorted(events)],
    }
    write_json(destination, found)
