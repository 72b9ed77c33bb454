"""The full state of a training in one file, so that the same command resumes it to the same bits.

A checkpoint is one line with the SHA-256 of the rest, then safetensors bytes, whose metadata holds
the plain values. No generator state is in it, because randomness is a function of place
(`gan.seeding`). Three kinds lie in a training's folder, named by the real images shown:

    checkpoint-<nimg>.ckpt   where the same command goes on; two, the newest may be spoiled
    healthy-<nimg>.ckpt      found in good health by the guards: where an alarm goes back to; two
    best-<nimg>.ckpt         with the lowest tracked distance; one

`FORMAT` is raised when the record or the tensors' names change. Who changes them adds, in
`_opened`, a function from the record and tensors of the old number to those of the new one, and a
test with a file as the old code wrote it; until then the old ones are refused by name.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from gan.durable import drop_partials, read_sealed, remove, write_sealed
from gan.errors import DamagedError, GanmillError
from gan.progress import say
from gan.training.tensors import Held, safetensors_parts

FORMAT = 3
_ROLLING, _HEALTHY, _BEST = "checkpoint", "healthy", "best"
_KEPT = {_ROLLING: 2, _HEALTHY: 2, _BEST: 1}
_NAME = re.compile(r"(checkpoint|healthy|best)-(\d{12})\.ckpt")
_DELETE = "Delete that folder to train again from the start."


@dataclass
class State:
    """Everything that the next step depends on.

    Of the optimizers, moments and step counts are state; learning rate and betas are set by the
    loop at each step.

    Attributes:
        networks: G, D and G_ema by name.
        optimizers: Adam of G and D by name.
        nimg: Real images shown so far.
        seconds: Time spent training so far, over all resumed parts.
        attempt: Roll-backs so far.
        gamma: The penalty's weight that was chosen where the recipe says `auto`.
        boost: What the critic's overfitting adds to the augmentation's probability.
        watch: The guards' record, plain JSON.
        best: {} or the lowest tracked distance: `fd`, its `nimg`, and `stale`, the
            measurements since.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Adam]
    nimg: int = 0
    seconds: float = 0.0
    attempt: int = 0
    gamma: float | None = None
    boost: float = 0.0
    watch: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)


class _Record(BaseModel):
    """The plain values of a checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    tensors: int = Field(ge=0)  # how many there are, so that none can be missing
    nimg: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    attempt: int = Field(ge=0)
    gamma: float | None = Field(gt=0, allow_inf_nan=False)
    boost: float = Field(allow_inf_nan=False)
    watch: dict[str, Any]
    best: dict[str, int | float]

    @field_validator("best")
    @classmethod
    def _is_whole(cls, best: dict[str, int | float]) -> dict[str, int | float]:
        if best and set(best) != {"fd", "nimg", "stale"}:
            raise ValueError("wanted fd, nimg and stale, or nothing")
        return best


def save_checkpoint(folder: Path, state: State) -> Path:
    """Write the state as the one to resume from, and return the file; the newest two are kept.

    Raises:
        GanmillError: The folder cannot be written, or the disk is full; the others are intact.
    """
    return _save(folder, state, _ROLLING)


def save_healthy(folder: Path, state: State) -> Path:
    """Write the state as one to go back to after an alarm; the newest two are kept.

    Raises:
        GanmillError: The folder cannot be written, or the disk is full; the others are intact.
    """
    return _save(folder, state, _HEALTHY)


def save_best(folder: Path, state: State) -> Path:
    """Write the state as the best so far, in place of the one before.

    Raises:
        GanmillError: The folder cannot be written, or the disk is full; the others are intact.
    """
    return _save(folder, state, _BEST)


def restore_checkpoint(folder: Path, state: State) -> list[str]:
    """Load the newest whole checkpoint into `state`; nothing there leaves it as is.

    Returns:
        A line for each damaged file that was passed over.

    Raises:
        DamagedError: There are checkpoints and none is whole; training does not silently restart.
        GanmillError: The newest is of another format.
    """
    drop_partials(folder)
    found = _found(folder, _ROLLING)
    notes: list[str] = []
    if found and not _load_newest(found, state, notes):
        raise DamagedError(f"{folder}: all {len(found)} checkpoints are damaged. {_DELETE}")
    return notes


def load_healthy(folder: Path, state: State, before_nimg: int) -> bool:
    """Load the newest whole healthy checkpoint of at most `before_nimg` images into `state`.

    `attempt` and `boost` become those of the file as well: the caller sets them anew.

    Returns:
        Whether there was one; if not, `state` is as it was. Damaged ones are named on stderr.

    Raises:
        GanmillError: The newest is of another format.
    """
    return _load_saying([p for p in _found(folder, _HEALTHY) if _nimg(p) <= before_nimg], state)


def load_best(folder: Path, state: State) -> bool:
    """Load the best checkpoint into `state`.

    Returns:
        Whether there was a whole one; if not, `state` is as it was.

    Raises:
        GanmillError: It is of another format.
    """
    return _load_saying(_found(folder, _BEST), state)


def forget_after(folder: Path, nimg: int) -> None:
    """Remove the checkpoints of every kind that are later than `nimg`, newest first.

    After a roll-back, call it once the state gone back to is saved by `save_checkpoint`. Killed
    in between, the training goes on from before the roll-back and comes to it again.

    Raises:
        GanmillError: A file cannot be removed.
    """
    later = [path for kind in _KEPT for path in _found(folder, kind) if _nimg(path) > nimg]
    for path in sorted(later, key=_nimg, reverse=True):
        remove(path)


def _save(folder: Path, state: State, kind: str) -> Path:
    tensors = Held(state.networks, state.optimizers).tensors()
    record = _Record(
        format=FORMAT,
        tensors=len(tensors),
        nimg=state.nimg,
        seconds=state.seconds,
        attempt=state.attempt,
        gamma=state.gamma,
        boost=state.boost,
        watch=state.watch,
        best=state.best,
    )
    path = folder / f"{kind}-{state.nimg:012d}.ckpt"
    write_sealed(path, safetensors_parts(tensors, json.dumps(record.model_dump())))
    # Later ones are of before a roll-back: `forget_after` removes them, and they count for nothing.
    known = [old for old in _found(folder, kind) if _nimg(old) <= state.nimg]
    for old in known[: -_KEPT[kind]]:
        remove(old)
    return path


def _found(folder: Path, kind: str) -> list[Path]:
    """Return the folder's checkpoints of a kind, oldest first."""
    return sorted(path for path in folder.glob(f"{kind}-*.ckpt") if _NAME.fullmatch(path.name))


def _nimg(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _load_saying(found: list[Path], state: State) -> bool:
    notes: list[str] = []
    is_loaded = _load_newest(found, state, notes)
    for note in notes:
        say(note)
    return is_loaded


def _load_newest(found: list[Path], state: State, notes: list[str]) -> bool:
    """Load the last whole one of `found`; add a line to `notes` for each that is damaged."""
    for path in reversed(found):
        try:
            record, tensors = _opened(path)
            Held(state.networks, state.optimizers).fill(tensors)
        except DamagedError as error:
            notes.append(str(error))
        except ValueError as error:
            notes.append(_foreign(path, error))
        else:
            for name in ("nimg", "seconds", "attempt", "gamma", "boost", "watch", "best"):
                setattr(state, name, getattr(record, name))
            return True
    return False


def _opened(path: Path) -> tuple[_Record, dict[str, Tensor]]:
    """Return what a checkpoint holds, every byte of it checked.

    Raises:
        DamagedError: It is not as it was written, or not a checkpoint.
        GanmillError: It is of another format.
    """
    payload = read_sealed(path)
    try:
        tensors = load(payload)
        header_bytes = int.from_bytes(payload[:8], "little")
        plain = json.loads(json.loads(payload[8 : 8 + header_bytes])["__metadata__"]["state"])
        found = plain.get("format", 1)
        if type(found) is int and found != FORMAT:
            raise GanmillError(
                f"{path}: has format {found}; this ganmill reads format {FORMAT}. Go on with the "
                f"ganmill that wrote it, or delete {path.parent} to train again from the start."
            )
        record = _Record.model_validate(plain)
    except (SafetensorError, LookupError, ValueError, RuntimeError, AttributeError) as error:
        raise DamagedError(_foreign(path, error)) from error
    if (record.nimg, record.tensors) != (_nimg(path), len(tensors)):
        raise DamagedError(_foreign(path, "its name or tensors are not those that it says"))
    return record, tensors


def _foreign(path: Path, reason: object) -> str:
    return f"{path}: is not a checkpoint of this training ({' '.join(str(reason).split())[:200]})."
