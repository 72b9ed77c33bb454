"""The full state of a training in one file, so that the same command resumes it to the same bits.

A checkpoint is one line with the SHA-256 of the rest, then safetensors bytes. The last two are
kept: the newest may be the one that a failing disk spoils. No generator state is in it, because
randomness is a function of place (`gan.seeding`).
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gan.durable import drop_partials, write_atomically
from gan.errors import DamagedError

_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{12})\.ckpt")


@dataclass
class State:
    """Everything that the next step depends on.

    Attributes:
        networks: G, D and G_ema by name.
        optimizers: Adam of G and D by name.
        nimg: Real images shown so far.
        seconds: Time spent training so far, over all resumed parts.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Adam]
    nimg: int = 0
    seconds: float = 0.0


def save_checkpoint(folder: Path, state: State) -> Path:
    """Write the state, then drop all but the newest two; return the new file."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in _tensors(state).items()}
    record = json.dumps({"nimg": state.nimg, "seconds": state.seconds})
    payload = save(tensors, {"state": record})
    digest = hashlib.sha256(payload).hexdigest()
    path = folder / f"checkpoint-{state.nimg:012d}.ckpt"
    write_atomically(path, f"{digest}\n".encode() + payload)
    for old in _checkpoints(folder)[:-_KEPT]:
        old.unlink()
    return path


def restore_checkpoint(folder: Path, state: State) -> list[str]:
    """Load the newest checkpoint whose digest matches into `state`; nothing there leaves it as is.

    Returns:
        A line for each damaged file that was passed over.

    Raises:
        DamagedError: There are checkpoints and none is whole; training does not silently restart.
    """
    drop_partials(folder)
    found = _checkpoints(folder)
    notes = []
    for path in reversed(found):
        try:
            _load_into(path, state)
        except DamagedError as error:
            notes.append(str(error))
        else:
            return notes
    if found:
        raise DamagedError(
            f"{folder}: all {len(found)} checkpoints are damaged. Delete that folder to train "
            "again from the start."
        )
    return notes


def _checkpoints(folder: Path) -> list[Path]:
    """Return the folder's checkpoints, oldest first."""
    return sorted(path for path in folder.glob("checkpoint-*.ckpt") if _NAME.fullmatch(path.name))


def _load_into(path: Path, state: State) -> None:
    try:
        digest, _, payload = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror}).") from error
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise DamagedError(f"{path}: digest does not match (file damaged).")
    try:
        tensors = load(payload)
        header_bytes = int.from_bytes(payload[:8], "little")
        record = json.loads(json.loads(payload[8 : 8 + header_bytes])["__metadata__"]["state"])
        _fill(state, tensors)
    except (SafetensorError, LookupError, ValueError, RuntimeError) as error:
        raise DamagedError(f"{path}: is not a checkpoint of this training ({error}).") from error
    state.nimg, state.seconds = int(record["nimg"]), float(record["seconds"])


def _tensors(state: State) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, network in state.networks.items():
        tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"adam {name}/{index}/{key}": value for key, value in moments.items()}
    return tensors


def _fill(state: State, tensors: dict[str, Tensor]) -> None:
    for name, network in state.networks.items():
        network.load_state_dict({key: tensors[f"{name}/{key}"] for key in network.state_dict()})
    for name, optimizer in state.optimizers.items():
        filled = optimizer.state_dict()
        prefix = f"adam {name}/"
        weights = optimizer.param_groups[0]["params"]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(prefix):
                index, moment = key.removeprefix(prefix).split("/")
                weight = weights[int(index)]
                # The fused Adam walks memory, not indices: a moment must lie as its weight does.
                laid = torch.empty_like(weight).copy_(value) if value.dim() else value
                moments.setdefault(int(index), {})[moment] = laid
        filled["state"] = moments
        optimizer.load_state_dict(filled)
