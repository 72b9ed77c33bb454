"""How long a checkpoint of `base` takes to write and to read, against its floors."""

import hashlib
import os
import tempfile
from pathlib import Path

import torch

from gan.modality import modality
from gan.training.checkpoint import State, restore_checkpoint, save_checkpoint
from tests.benchmarks.figures import seconds, show


def _state() -> State:
    """Return `base` for 32 px RGB and 10 classes with moments, as after a first step."""
    room = modality("image")
    shape = ("base", 32, 3, 10, torch.float32)
    networks = {
        "G": room.build_generator(*shape),
        "D": room.build_critic(*shape),
        "G_ema": room.build_generator(*shape),
    }
    optimizers = {n: torch.optim.Adam(networks[n].parameters(), fused=True) for n in "GD"}
    for optimizer in optimizers.values():
        for weight in optimizer.param_groups[0]["params"]:
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        optimizer.zero_grad()
    return State(networks, optimizers, nimg=1)


def _write(path: Path, payload: bytes) -> None:
    with path.open("wb") as file:
        file.write(payload)
        os.fsync(file.fileno())


def main() -> None:
    """Print the figures."""
    state = _state()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        path = save_checkpoint(folder, state)
        payload = path.read_bytes()
        megabytes = len(payload) / 1e6
        show("checkpoint of base, 32 px", megabytes, "MB")
        digest = seconds(lambda: hashlib.sha256(payload).digest(), times=3)
        show("SHA-256 of it", megabytes / digest, "MB/s")
        write = seconds(lambda: _write(folder / "plain", payload), times=3)
        show("write and fsync of it", megabytes / write, "MB/s")
        floor = digest + write
        save = seconds(lambda: save_checkpoint(folder, state), times=3)
        show("save_checkpoint", save, "s", f"{floor / save:.0%} of it are those two")
        restore = seconds(lambda: restore_checkpoint(folder, state), times=3)
        show("restore_checkpoint", restore, "s", f"{digest / restore:.0%} of it are the SHA-256")
