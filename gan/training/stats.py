"""What a training says while it runs: `stats.jsonl` for machines, one line on stderr for people.

The flow's side tails the file into MLflow and Prefect, so neither is ever waited for here.
"""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.durable import write_atomically
from gan.errors import GanmillError

STATS = "stats.jsonl"


@dataclass
class Stats:
    """Collects values between ticks and writes them out.

    Attributes:
        path: The `stats.jsonl` to append to.
        label: Shown before progress, say `train stickers`.
        total_kimg: The budget.
        start_nimg: Images shown before this process began; speed is counted from there.
        before_seconds: Training time before this process began.
    """

    path: Path
    label: str
    total_kimg: float
    start_nimg: int
    before_seconds: float
    _began: float = field(default_factory=time.monotonic)
    _sums: dict[str, float] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        """Drop rows of steps that a killed process took after its last checkpoint."""
        kept = [row for row in read_stats(self.path) if row["nimg"] <= self.start_nimg]
        write_atomically(self.path, "".join(f"{json.dumps(row)}\n" for row in kept).encode())

    @property
    def seconds(self) -> float:
        """Training time so far, over all resumed parts."""
        return self.before_seconds + time.monotonic() - self._began

    def add(self, **values: float) -> None:
        """Take one step's values into the running means."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def tick(self, nimg: int, **values: float) -> None:
        """Write the means since the last tick, with speed and remaining time."""
        elapsed = time.monotonic() - self._began
        speed = (nimg - self.start_nimg) / elapsed
        eta_seconds = (self.total_kimg * 1000 - nimg) / speed
        row = {name: total / self._count for name, total in self._sums.items()} | values
        row |= {"nimg": nimg, "kimg": nimg / 1000, "seconds": round(self.seconds, 3)}
        row |= {
            "images_per_second": round(speed, 1),
            "eta_seconds": round(max(0.0, eta_seconds), 1),
        }
        try:
            with self.path.open("a") as file:
                file.write(f"{json.dumps(row)}\n")
        except OSError as error:
            raise GanmillError(f"{self.path}: cannot be written ({error.strerror}).") from error
        self._sums, self._count = {}, 0
        self._show(row)

    def _show(self, row: dict[str, Any]) -> None:
        share = min(1.0, row["kimg"] / self.total_kimg)
        minutes, seconds = divmod(round(row["eta_seconds"]), 60)
        bar = ("#" * round(20 * share)).ljust(20, ".")
        line = (
            f"{self.label}  [{bar}] {row['kimg']:.1f}/{self.total_kimg:g} kimg "
            f"{row['images_per_second']:.0f} img/s  ETA {minutes}:{seconds:02d}  "
            f"loss_d {row['loss_d']:.3f}  loss_g {row['loss_g']:.3f}"
        )
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{line}" + ("\n" if share == 1 else ""))
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def read_stats(path: Path) -> list[dict[str, Any]]:
    """Return the whole rows of a `stats.jsonl`, oldest first; a torn last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break  # the process died while writing it
    return rows
