"""How each comparison with the champion's images ended: a row each, and the rule that reads them.

One odd delivery is told; `violations` of the last `window` checks, the latest among them, strike:
then the recipe's `drift.then` happens. Only checks against the images of the present champion
count, so that a new champion begins anew.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gan.durable import append_line
from gan.errors import DamagedError
from gan.sections import DriftSpec

Outcome = Literal["pass", "drifted", "unknown", "unjudged", "no-baseline"]
# What cannot be told is no sign of health.
VIOLATIONS = frozenset({"drifted", "unknown"})


class Row(BaseModel):
    """One check.

    Attributes:
        time_utc: When, ISO 8601.
        data: Digest of the images that were looked at.
        baseline: Digest of those that the champion was trained on; "" without a baseline.
        champion: Number of the version; None where there is none.
        outcome: How it ended.
        struck: Whether the rule struck with this row.
        label_shift: Of the classes, 0 to 1; None where it was not measured.
        fact_shift: The largest of the facts, 0 to 1.
        feature_shift: In distances between halves of the old images.
        feature_shift_shown: The lower end of its interval, which the limit is held against.
        reasons: A sentence for each limit that is exceeded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    time_utc: str
    data: str
    baseline: str
    champion: int | None
    outcome: Outcome
    struck: bool
    label_shift: float | None
    fact_shift: float | None
    feature_shift: float | None
    feature_shift_shown: float | None
    reasons: list[str]


def strikes(outcomes: Sequence[Outcome], spec: DriftSpec) -> bool:
    """Tell whether enough checks of the window exceed a limit, the latest among them.

    Args:
        outcomes: Those that count, oldest first.
        spec: The rule.
    """
    recent = outcomes[-spec.window :]
    return bool(recent) and recent[-1] in VIOLATIONS and violations(recent) >= spec.violations


def violations(outcomes: Sequence[Outcome]) -> int:
    """Return how many of some checks exceed a limit."""
    return sum(outcome in VIOLATIONS for outcome in outcomes)


def read(path: Path) -> list[Row]:
    """Return the rows of a recipe, oldest first; no file means none, and a torn line is left out.

    Raises:
        DamagedError: A whole line is no row.
    """
    rows = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"}"):  # a kill tore it; what follows begins a line of its own
            continue
        try:
            rows.append(Row.model_validate_json(line))
        except ValidationError as error:
            raise DamagedError(
                f"{path}: line {number} is no row of a drift check. "
                "Move the file away to begin anew."
            ) from error
    return rows


def append(path: Path, row: Row) -> None:
    """Add a row.

    Raises:
        GanmillError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(path, row.model_dump_json())
