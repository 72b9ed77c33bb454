"""What a training says while it runs: `stats.jsonl` for machines, one line on stderr for people.

A line of the file is a row of figures, or an event: a roll-back, a choice, an early end. The flow's
side tails the file into MLflow and Prefect, so neither is ever waited for here.
"""

import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.durable import append_line, write_atomically

STATS = "stats.jsonl"
_CLOSING = {"best", "stop"}  # said again by each process that ends the training


@dataclass
class Stats:
    """Writes rows and events, and shows them.

    Attributes:
        path: The `stats.jsonl` to append to; None writes and shows nothing (not the leader).
        label: Shown before progress, say `train stickers`.
        start_nimg: Images shown before this process began; speed is counted from there.
        attempt: Roll-backs before this process began.
        before_seconds: Training time before this process began.
    """

    path: Path | None
    label: str
    start_nimg: int
    attempt: int
    before_seconds: float
    _began: float = field(default_factory=time.monotonic)
    _shown_images: int = 0

    def __post_init__(self) -> None:
        """Drop what a killed process wrote after its last checkpoint."""
        if self.path is None:
            return
        here = self.attempt, self.start_nimg
        kept = [
            row
            for row in read_stats(self.path)
            if (row.get("attempt", 0), row["nimg"]) <= here and row.get("event") not in _CLOSING
        ]
        write_atomically(self.path, "".join(f"{json.dumps(row)}\n" for row in kept).encode())

    @property
    def seconds(self) -> float:
        """Training time so far, over all resumed parts."""
        return self.before_seconds + time.monotonic() - self._began

    def count(self, images: int) -> None:
        """Count images of a step of this process: the speed's numerator."""
        self._shown_images += images

    def row(self, nimg: int, share: float, **values: float) -> None:
        """Write a row of figures, with speed and remaining time.

        Args:
            nimg: Real images shown.
            share: Of the budget that is spent, 0..1.
            values: Means since the last row.
        """
        if self.path is None:
            return
        elapsed = time.monotonic() - self._began
        row = values | {
            "nimg": nimg,
            "kimg": nimg / 1000,
            "share": round(share, 6),
            "attempt": self.attempt,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self._shown_images / elapsed, 1),
            "eta_seconds": round(self.seconds * (1 - share) / share, 1) if share else 0.0,
        }
        append_line(self.path, json.dumps(row))
        self._show(row)

    def event(self, nimg: int, event: str, message: str, **about: Any) -> None:
        """Write an event and say it on a line of its own.

        Args:
            nimg: Real images shown.
            event: Its kind: `rollback`, `skip`, `gamma`, `stop`.
            message: One sentence.
            about: More about it, plain JSON.
        """
        if self.path is None:
            return
        row = {"nimg": nimg, "attempt": self.attempt, "seconds": round(self.seconds, 3)}
        append_line(self.path, json.dumps(row | {"event": event, "message": message} | about))
        start = "\r\x1b[2K" if sys.stderr.isatty() else ""
        print(f"{start}{self.label}: {message}", file=sys.stderr, flush=True)

    def _show(self, row: dict[str, Any]) -> None:
        line = progress_line(self.label, row)
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[2K{line[:width]}" + ("\n" if row["share"] >= 1 else ""))
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def progress_line(label: str, row: dict[str, Any]) -> str:
    """Return a row as one line: what matters first, so that a narrow terminal cuts the rest."""
    share = min(1.0, row["share"])
    minutes, seconds = divmod(round(row["eta_seconds"]), 60)
    parts = [
        f"{label}  [{('#' * round(20 * share)).ljust(20, '.')}] {row['kimg']:.1f} kimg",
        f"{row['images_per_second']:.0f} img/s",
        f"ETA {minutes}:{seconds:02d}",
    ]
    if "fd" in row:
        parts.append(f"fd {row['fd']:.2f}")
    parts += [f"loss_d {row['loss_d']:.3f}", f"loss_g {row['loss_g']:.3f}"]
    parts += [f"gap {row['gap']:.2f}", f"penalty {row['penalty']:.3f}"]
    parts.append(f"augment {row['augment']:.2f}")
    memory = "gpu_memory_mb" if "gpu_memory_mb" in row else "memory_mb"
    if memory in row:
        parts.append(f"{'GPU ' if 'gpu' in memory else ''}{row[memory] / 1000:.1f} GB")
    return "  ".join(parts)


def read_stats(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a `stats.jsonl`, oldest first; a torn last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break  # the process died while writing it
    return rows
