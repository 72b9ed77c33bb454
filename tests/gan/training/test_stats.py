"""The training's own account: `stats.jsonl` and the line for people."""

import json
from pathlib import Path

import pytest

from gan.errors import GanmillError
from gan.training.stats import Stats, progress_line, read_stats

FIGURES = {"loss_d": 1.0, "loss_g": 3.0, "gap": 0.5, "penalty": 0.1, "augment": 0.3}


def _stats(path: Path, start_nimg: int = 0, attempt: int = 0, seconds: float = 0.0) -> Stats:
    return Stats(path, "train x", start_nimg, attempt, seconds)


def test_a_row_holds_figures_progress_and_speed(tmp_path: Path) -> None:
    """Each row is one JSON object with figures, progress, speed and the time left."""
    path = tmp_path / "stats.jsonl"
    stats = _stats(path, seconds=100.0)
    stats.count(128)
    stats.row(128, 0.5, **FIGURES)
    stats.row(256, 1.0, **FIGURES, fd=3.5)
    first, second = read_stats(path)

    assert (first["nimg"], first["kimg"], first["share"], first["attempt"]) == (128, 0.128, 0.5, 0)
    assert FIGURES.items() <= first.items()
    assert first["seconds"] >= 100
    assert first["eta_seconds"] == pytest.approx(first["seconds"], abs=1)
    assert first["images_per_second"] > 0
    assert (second["fd"], second["eta_seconds"]) == (3.5, 0.0)


def test_people_see_a_line_with_an_eta(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log, each row is one line: bar, progress, speed, time left, what the losses do."""
    stats = _stats(tmp_path / "stats.jsonl", seconds=60.0)
    stats.row(500, 0.5, **FIGURES, memory_mb=1536.0)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train x  [##########..........] 0.5 kimg  0 img/s  ETA 1:00  loss_d")
    assert line.endswith("gap 0.50  penalty 0.100  augment 0.30  1.5 GB")


def test_a_measurement_stands_in_the_line() -> None:
    """The distance is shown where it was measured, and the GPU's memory in place of the host's."""
    row = {**FIGURES, "kimg": 1.0, "share": 0.1, "images_per_second": 9.0, "eta_seconds": 60.0}
    line = progress_line("train x", {**row, "fd": 1.234, "gpu_memory_mb": 1e4})

    assert "  fd 1.23  loss_d" in line
    assert line.endswith("GPU 10.0 GB")
    assert "fd" not in progress_line("train x", row)


def test_an_event_is_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a guard does is told with its reason, and kept with what it is about."""
    stats = _stats(tmp_path / "stats.jsonl")
    stats.event(64, "gamma", "gamma 2 chosen", gamma=2.0)

    assert capsys.readouterr().err == "train x: gamma 2 chosen\n"
    (row,) = read_stats(tmp_path / "stats.jsonl")
    assert {"nimg": 64, "event": "gamma", "message": "gamma 2 chosen", "gamma": 2.0}.items() <= (
        row.items()
    )


def test_a_resumed_run_forgets_what_will_be_done_again(tmp_path: Path) -> None:
    """Rows after the checkpoint and a torn line are dropped; earlier attempts stay."""
    path = tmp_path / "stats.jsonl"
    rows = [
        {"nimg": 64},
        {"nimg": 192},
        {"nimg": 192, "event": "rollback"},
        {"nimg": 128, "attempt": 1},
        {"nimg": 192, "attempt": 1},
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"nimg": 25')

    assert read_stats(path) == rows
    _stats(path, start_nimg=128, attempt=1)
    assert read_stats(path) == rows[:4]


def test_who_does_not_lead_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several processes one writes and speaks."""
    stats = Stats(None, "train x", 0, 0, 0.0)
    stats.row(64, 0.5, **FIGURES)
    stats.event(64, "gamma", "gamma 2 chosen")

    assert capsys.readouterr().err == ""
    assert not list(tmp_path.iterdir())


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    """Before the first tick there is nothing to read, and that is no error."""
    assert read_stats(tmp_path / "stats.jsonl") == []


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A run whose account cannot be kept stops with one line."""
    stats = _stats(tmp_path / "stats.jsonl")
    (tmp_path / "stats.jsonl").unlink()
    (tmp_path / "stats.jsonl").mkdir()

    with pytest.raises(GanmillError, match=r"stats\.jsonl: cannot be written \(Is a directory\)"):
        stats.row(64, 0.5, **FIGURES)
