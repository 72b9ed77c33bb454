"""A GPU belongs to one training at a time, whatever workspace it is of.

Two trainings that share a GPU run slower than one after the other, and either may take the memory
that the other needs for its next step. The lock is the kernel's: it ends with the process.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from gan.durable import run_lock
from gan.errors import UsageError


@contextmanager
def hold_device(device: torch.device, doing: str) -> Iterator[None]:
    """Hold a GPU for this process; a processor is shared by everyone and held by no one.

    Args:
        device: Of torch.
        doing: Begins the line that a second training is refused with, say `train stickers`.

    Raises:
        BusyError: Another training holds it; the message names its process id.
        UsageError: The folder of the locks is not this user's.
    """
    if device.type == "cpu":
        yield
        return
    with hold_named(_name(device), f"{doing} on {device}"):
        yield


@contextmanager
def hold_named(name: str, doing: str) -> Iterator[None]:
    """Hold the device called `name` on this machine; raises as `hold_device` does."""
    with run_lock(_folder() / f"{name}.lock", doing):
        yield


def _name(device: torch.device) -> str:
    """Return the GPU's own name: torch's number of it differs by CUDA_VISIBLE_DEVICES."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def _folder() -> Path:
    """Return this user's folder of locks, one for all workspaces of the machine."""
    folder = Path(tempfile.gettempdir()) / f"ganmill-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid():  # anyone may write beside it
        raise UsageError(f"{folder}: is not a folder of this user. Remove it, or set TMPDIR.")
    return folder
