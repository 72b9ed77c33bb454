"""Checkpoints: all or nothing, the last two kept, the damaged one passed over with a note."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gan.errors import DamagedError
from gan.training.checkpoint import State, restore_checkpoint, save_checkpoint


def _state(seed: int = 1, width: int = 3, steps: int = 0, nimg: int = 0) -> State:
    """Return small networks after a few steps of Adam."""
    torch.manual_seed(seed)
    networks: dict[str, nn.Module] = {
        name: nn.Conv2d(width, 2, 3).to(memory_format=torch.channels_last)  # as the house network
        for name in ("G", "D", "G_ema")
    }
    optimizers = {
        name: torch.optim.Adam(networks[name].parameters(), betas=(0.0, 0.9), fused=True)
        for name in "GD"
    }
    for _ in range(steps):
        for name, optimizer in optimizers.items():
            optimizer.zero_grad()
            networks[name](torch.randn(4, width, 5, 5)).square().sum().backward()
            optimizer.step()
    return State(networks, optimizers, nimg, float(nimg))


def _content(state: State) -> list[object]:
    weights = [w.tolist() for n in state.networks.values() for w in n.state_dict().values()]
    moments = [
        {key: value.tolist() for key, value in sorted(each.items())}
        for optimizer in state.optimizers.values()
        for _, each in sorted(optimizer.state_dict()["state"].items())
    ]
    return [*weights, *moments, state.nimg, state.seconds]


def test_everything_comes_back(tmp_path: Path) -> None:
    """Weights, both moments of Adam, its step count, images shown and time are as they were."""
    saved = _state(steps=3, nimg=192)
    save_checkpoint(tmp_path, saved)
    restored = _state(seed=2)

    assert restore_checkpoint(tmp_path, restored) == []
    assert _content(restored) == _content(saved)


def test_the_next_step_is_the_same(tmp_path: Path) -> None:
    """A step after restoring moves the weights exactly as without the interruption."""
    saved = _state(steps=3, nimg=192)
    save_checkpoint(tmp_path, saved)
    restored = _state(seed=2)
    restore_checkpoint(tmp_path, restored)
    for state in (saved, restored):
        torch.manual_seed(5)
        for name, optimizer in state.optimizers.items():
            optimizer.zero_grad()
            state.networks[name](torch.randn(4, 3, 5, 5)).square().sum().backward()
            optimizer.step()

    assert _content(restored) == _content(saved)


def test_nothing_there_changes_nothing(tmp_path: Path) -> None:
    """A first run begins from its own start."""
    state = _state(steps=1)
    before = _content(state)

    assert restore_checkpoint(tmp_path, state) == []
    assert _content(state) == before


def test_the_last_two_are_kept_and_remains_of_kills_removed(tmp_path: Path) -> None:
    """The folder does not grow: two checkpoints, nothing of writers that were killed."""
    (tmp_path / ".checkpoint-000000000064.ckpt.77.partial").write_bytes(b"half")
    restore_checkpoint(tmp_path, _state())
    for nimg in (64, 128, 192, 256):
        save_checkpoint(tmp_path, _state(steps=1, nimg=nimg))

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-000000000192.ckpt", "checkpoint-000000000256.ckpt"]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _foreign(path: Path) -> None:
    other = save_checkpoint(path.parent.parent / "other", _state(width=5, steps=1, nimg=128))
    other.replace(path)


def _not_safetensors(path: Path) -> None:
    payload = b"PK\x03\x04 something else"
    path.write_bytes(f"{hashlib.sha256(payload).hexdigest()}\n".encode() + payload)


@pytest.mark.parametrize("damage", [_truncate, _empty, _directory, _foreign, _not_safetensors])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Training goes on from the one before, whole, and says which file it passed over."""
    folder = tmp_path / "run"
    older = _state(steps=1, nimg=64)
    save_checkpoint(folder, older)
    damage(save_checkpoint(folder, _state(seed=3, steps=2, nimg=128)))
    restored = _state(seed=2)
    (note,) = restore_checkpoint(folder, restored)

    assert "checkpoint-000000000128.ckpt: " in note
    assert _content(restored) == _content(older)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """One bit wrong anywhere in the file, and it is not resumed from."""
    path = save_checkpoint(tmp_path, _state(steps=1, nimg=64))
    whole = path.read_bytes()
    place = random.Random(1)  # noqa: S311  # a sample, not a secret
    bits = [*range(8 * 70), *place.sample(range(8 * len(whole)), 300)]  # the digest's line, and all
    for bit in bits:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            restore_checkpoint(tmp_path, _state())


def test_if_all_are_damaged_training_does_not_silently_restart(tmp_path: Path) -> None:
    """The error names the folder and what to do; hours of work are not thrown away unasked."""
    for nimg in (64, 128):
        _truncate(save_checkpoint(tmp_path, _state(steps=1, nimg=nimg)))

    with pytest.raises(DamagedError, match=r"all 2 checkpoints are damaged\. Delete that folder"):
        restore_checkpoint(tmp_path, _state())
