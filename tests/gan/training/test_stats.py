"""The training's own account: `stats.jsonl` and the line for people."""

import json
from pathlib import Path

import pytest

from gan.errors import GanmillError
from gan.training.stats import Stats, read_stats


def _stats(path: Path, start_nimg: int = 0, before_seconds: float = 0.0) -> Stats:
    return Stats(path, "train x", 1.0, start_nimg, before_seconds)


def test_a_row_holds_the_means_since_the_last_tick(tmp_path: Path) -> None:
    """Each tick is one JSON object with means, progress, speed and the time left."""
    path = tmp_path / "stats.jsonl"
    stats = _stats(path, before_seconds=100.0)
    stats.add(loss_d=1.0, loss_g=3.0)
    stats.add(loss_d=2.0, loss_g=5.0)
    stats.tick(128)
    stats.add(loss_d=7.0, loss_g=7.0)
    stats.tick(1000)
    first, second = read_stats(path)

    assert (first["loss_d"], first["loss_g"]) == (1.5, 4.0)
    assert (first["nimg"], first["kimg"]) == (128, 0.128)
    assert first["seconds"] >= 100
    assert first["images_per_second"] > 0
    assert (second["loss_d"], second["eta_seconds"]) == (7.0, 0.0)


def test_people_see_a_line_with_an_eta(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log, each tick is one line: bar, progress, speed, time left, losses."""
    stats = _stats(tmp_path / "stats.jsonl")
    stats.add(loss_d=1.0, loss_g=3.0)
    stats.tick(500)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train x  [##########..........] 0.5/1 kimg ")
    assert "img/s  ETA 0:0" in line
    assert line.endswith("loss_d 1.000  loss_g 3.000")


def test_a_resumed_run_forgets_what_will_be_done_again(tmp_path: Path) -> None:
    """Rows after the checkpoint, and a line torn by the kill, are dropped."""
    path = tmp_path / "stats.jsonl"
    rows = [{"nimg": 64}, {"nimg": 128}, {"nimg": 192}]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"nimg": 25')

    assert read_stats(path) == rows
    _stats(path, start_nimg=128)
    assert read_stats(path) == rows[:2]


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    """Before the first tick there is nothing to read, and that is no error."""
    assert read_stats(tmp_path / "stats.jsonl") == []


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A run whose account cannot be kept stops with one line."""
    stats = _stats(tmp_path / "stats.jsonl")
    (tmp_path / "stats.jsonl").unlink()
    (tmp_path / "stats.jsonl").mkdir()
    stats.add(loss_d=1.0, loss_g=3.0)

    with pytest.raises(GanmillError, match=r"stats\.jsonl: cannot be written \(Is a directory\)"):
        stats.tick(64)
