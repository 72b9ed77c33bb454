"""A training that hangs ends by itself: real processes with a planted hang."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gan.durable import read_failure
from gan.errors import GanmillError
from gan.training.stall import StallGuard
from gan.training.stats import STATS, read_stats

_HANGS = """
import ctypes, sys, time
from pathlib import Path
from gan.training.stall import StallGuard
folder, how = Path(sys.argv[1]), sys.argv[2]
hold = ctypes.PyDLL(None).sleep if how == "locked" else time.sleep
with StallGuard(
    folder, "train tiny", folder / "failure.json", seconds=float(sys.argv[3]), first_seconds=3
) as stall:
    print("entered", flush=True)
    if how != "unstarted":
        for step in range(1, 4):
            time.sleep(0.05)
            stall.beat(16 * step, 0.05 * step)
    print("stepped", flush=True)
    hold(60)
"""


def start(folder: Path, how: str, seconds: float) -> subprocess.Popen[str]:
    """Start three steps and then a hang of a minute, guarded with `seconds` of patience."""
    return subprocess.Popen(
        [sys.executable, "-c", _HANGS, str(folder), how, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_hang_ends_the_process_with_one_line(tmp_path: Path) -> None:
    """Exit code 1; the line on stderr is the one in the record and in `stats.jsonl`."""
    (tmp_path / STATS).write_text(json.dumps({"nimg": 32, "loss_d": 0.5}) + "\n")
    process = start(tmp_path, "sleeps", 0.6)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 1
    assert stderr.count("\n") == 1
    assert stderr.startswith("train tiny: no step for 1 s after 0.0 kimg; the device or a disk")
    failure = read_failure(tmp_path / "failure.json")
    assert type(failure) is GanmillError
    assert str(failure) == stderr.strip()
    event = read_stats(tmp_path / STATS)[-1]
    assert (event["event"], event["guard"], event["nimg"]) == ("stall", "stall", 48)
    assert event["seconds"] == pytest.approx(0.15)
    assert event["message"] == stderr.strip()


def test_a_hang_with_the_interpreters_lock_ends_too(tmp_path: Path) -> None:
    """A call that lets no thread of Python run is ended by the watchdog below Python."""
    process = start(tmp_path, "locked", 0.5)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "Timeout" in stderr
    assert "most recent call first" in stderr


def test_the_first_step_may_take_longer(tmp_path: Path) -> None:
    """Before the first beat it is the longer patience that counts."""
    process = start(tmp_path, "unstarted", 0.2)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.kill()
    process.communicate()


def test_a_pause_is_no_hang(tmp_path: Path) -> None:
    """A process that was stopped and goes on within twice the patience is not ended for it."""
    process = start(tmp_path, "sleeps", 1.0)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["entered\n", "stepped\n"]
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.4)
    process.send_signal(signal.SIGCONT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.4)
    process.kill()
    process.communicate()


def test_a_full_disk_does_not_keep_it(tmp_path: Path) -> None:
    """Where nothing can be written the process still ends, with its line on stderr."""
    (tmp_path / "failure.json").mkdir()
    (tmp_path / STATS).mkdir()
    process = start(tmp_path, "sleeps", 0.5)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 1
    assert stderr.startswith("train tiny: no step for")
    assert stderr.count("\n") == 1


def test_beats_keep_it_quiet_and_leaving_ends_it(tmp_path: Path) -> None:
    """A loop that steps in time is left alone, for longer than the patience, and after its end."""
    with StallGuard(tmp_path, "train tiny", tmp_path / "f.json", seconds=0.4) as stall:
        for step in range(14):
            time.sleep(0.05)
            stall.beat(step, 0.0)
    time.sleep(0.5)

    assert not list(tmp_path.iterdir())
