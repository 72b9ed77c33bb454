"""When drift checks strike, and what their rows are."""

from pathlib import Path

import pytest

from flows.drift import checks
from flows.drift.checks import Outcome, Row
from gan.errors import DamagedError
from gan.sections import DriftSpec

MARKS: dict[str, Outcome] = {".": "pass", "x": "drifted", "?": "unknown", "-": "unjudged"}


def _row(outcome: Outcome = "drifted") -> Row:
    return Row(
        time_utc="2026-01-01T00:00:00.000+00:00",
        data="a" * 64,
        baseline="b" * 64,
        champion=1,
        outcome=outcome,
        struck=False,
        label_shift=0.25,
        fact_shift=None,
        feature_shift=None,
        feature_shift_shown=None,
        reasons=["größer"],
    )


@pytest.mark.parametrize(
    ("marks", "window", "violations", "strikes"),
    [
        ("", 3, 1, False),
        (".", 3, 1, False),
        ("-", 3, 1, False),
        ("x", 3, 1, True),
        ("?", 3, 1, True),  # what cannot be told is no sign of health
        ("x", 3, 2, False),
        ("x?", 3, 2, True),
        ("xx.", 3, 2, False),  # the latest is good again
        ("x..x", 3, 2, False),  # the first left the window
        ("x..x", 4, 2, True),
    ],
)
def test_the_rule(marks: str, window: int, violations: int, *, strikes: bool) -> None:
    """So many of the last so many, the latest among them."""
    spec = DriftSpec(window=window, violations=violations)

    assert checks.strikes([MARKS[mark] for mark in marks], spec) is strikes


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    """No file is no row; a line that a kill tore is left out, and takes no other with it."""
    path = tmp_path / "drift" / "a.jsonl"
    assert checks.read(path) == []
    checks.append(path, _row())
    with path.open("ab") as file:
        file.write(_row().model_dump_json().encode()[:50])
    checks.append(path, _row("pass"))

    assert checks.read(path) == [_row(), _row("pass")]


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    """It might be a violation, so it is not passed over."""
    path = tmp_path / "a.jsonl"
    path.write_text(f'{_row().model_dump_json()}\n{{"outcome": "pass"}}\n')

    with pytest.raises(DamagedError, match=r"a\.jsonl: line 2 is no row of a drift check"):
        checks.read(path)
