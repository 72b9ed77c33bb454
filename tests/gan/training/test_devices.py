"""A GPU is one training's at a time; the lock is tried with a device's name, so without a GPU."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gan.errors import BusyError, UsageError
from gan.training.devices import hold_device, hold_named

HOLDS = """
import time
from gan.training.devices import hold_named
with hold_named("GPU-of-a-test", "train other on cuda:0"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # forget the folder of before
    yield
    tempfile.tempdir = None


def test_a_held_device_is_refused_until_its_holder_dies(tmp_path: Path) -> None:
    """The second training is told who has the GPU; SIGKILL of the first frees it at once."""
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        said = rf"^train mine on cuda:1: process {holder.pid} is already at it"
        with (
            pytest.raises(BusyError, match=said),
            hold_named("GPU-of-a-test", "train mine on cuda:1"),
        ):
            pass
        with hold_named("GPU-another", "train mine on cuda:0"):
            pass
        holder.send_signal(signal.SIGKILL)
    with hold_named("GPU-of-a-test", "train mine on cuda:1"):
        pass

    assert (tmp_path / f"ganmill-devices-{os.getuid()}").stat().st_mode & 0o777 == 0o700


def test_processors_are_shared(tmp_path: Path) -> None:
    """Trainings on processors do not exclude each other: nothing is locked."""
    processor = torch.device("cpu")

    with hold_device(processor, "train a"), hold_device(processor, "train b"):
        assert not list(tmp_path.iterdir())


def test_a_folder_of_another_is_refused(tmp_path: Path) -> None:
    """A link that someone put in the place of the locks' folder is not followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"ganmill-devices-{os.getuid()}").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="is not a folder of this user"), hold_named("a", "b"):
        pass
