"""Checkpoints: all or nothing, the last two kept, the damaged one passed over with a note."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan.errors import DamagedError
from gan.training.checkpoint import (
    State,
    forget_after,
    load_best,
    load_healthy,
    restore_checkpoint,
    save_best,
    save_checkpoint,
    save_healthy,
)

_PLAIN: dict[str, Any] = {
    "attempt": 2,
    "gamma": 0.25,
    "boost": 0.125,
    "watch": {"guards": [1, 2.5, None, "x"], "limit": float("inf")},
    "best": {"fd": 12.5, "nimg": 64, "stale": 1},
}


def _state(seed: int = 1, width: int = 3, steps: int = 0, nimg: int = 0) -> State:
    """Return small networks after a few steps of Adam."""
    torch.manual_seed(seed)
    networks: dict[str, nn.Module] = {
        # As the house network is laid out, and with counters as the textbook's have them.
        name: nn.Sequential(nn.Conv2d(width, 2, 3), nn.BatchNorm2d(2)).to(
            memory_format=torch.channels_last
        )
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
    fields = [field.name for field in dataclasses.fields(State)][2:]
    return [*weights, *moments, *(getattr(state, name) for name in fields)]


def test_everything_comes_back(tmp_path: Path) -> None:
    """Weights, counters, both moments of Adam, its step count and every plain value come back."""
    saved = dataclasses.replace(_state(steps=3, nimg=192), **_PLAIN)
    save_checkpoint(tmp_path, saved)
    restored = _state(seed=2)

    assert restore_checkpoint(tmp_path, restored) == []
    assert _content(restored) == _content(saved)
    assert restored.networks["D"].state_dict()["1.num_batches_tracked"] == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_number_format_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights and moments in other formats than float32 keep all their bits."""
    saved, restored = _state(steps=1, nimg=8), _state(seed=2, steps=1)
    for state in (saved, restored):
        state.networks["G"].to(dtype)
        for slot in state.optimizers["G"].state.values():
            slot |= {name: slot[name].to(dtype) for name in ("exp_avg", "exp_avg_sq")}
    save_checkpoint(tmp_path, saved)

    assert restore_checkpoint(tmp_path, restored) == []
    assert _content(restored) == _content(saved)
    assert restored.networks["G"].state_dict()["0.weight"].dtype == dtype


def test_values_are_put_where_the_old_ones_lie(tmp_path: Path) -> None:
    """A captured step goes on reading the same memory; the rate of the optimizer stays its own."""
    save_checkpoint(tmp_path, _state(steps=3, nimg=192))
    restored = _state(seed=2, steps=1)
    optimizer = restored.optimizers["D"]
    optimizer.param_groups[0]["lr"] = rate = torch.tensor(0.5)

    def places() -> list[int]:
        values = [*restored.networks["D"].state_dict().values()]
        values += [value for slot in optimizer.state.values() for value in slot.values()]
        return [value.data_ptr() for value in values]

    before = places()
    restore_checkpoint(tmp_path, restored)

    assert places() == before
    assert optimizer.param_groups[0]["lr"] is rate


def test_a_state_before_the_first_step_comes_back(tmp_path: Path) -> None:
    """Going back to before any step, moments are nothing again, where they lie."""
    saved = _state()
    save_healthy(tmp_path, saved)
    restored = _state(seed=2, steps=2)
    assert load_healthy(tmp_path, restored, before_nimg=0)
    for state in (saved, restored):
        state.optimizers["D"].zero_grad()
        state.networks["D"](torch.ones(4, 3, 5, 5)).square().sum().backward()
        state.optimizers["D"].step()

    wanted = saved.networks["D"].state_dict()
    assert all(value.equal(wanted[k]) for k, value in restored.networks["D"].state_dict().items())


@pytest.mark.gpu
def test_the_last_step_is_saved_also_from_another_stream(tmp_path: Path) -> None:
    """What still runs on the device when a checkpoint is begun is in it."""
    state = State({"G": nn.Linear(4096, 4096, bias=False).cuda()}, {})
    weight = state.networks["G"].state_dict()["weight"]
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        for _ in range(50):
            weight.copy_(weight @ weight / weight.norm())
    save_checkpoint(tmp_path, state)
    torch.cuda.synchronize()
    restored = copy.deepcopy(state)
    restored.networks["G"].state_dict()["weight"].zero_()
    restore_checkpoint(tmp_path, restored)

    assert restored.networks["G"].state_dict()["weight"].equal(weight)


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


def test_healthy_and_best_are_kinds_of_their_own(tmp_path: Path) -> None:
    """Two healthy ones and one best are kept beside those to resume from; each is found again."""
    for nimg in (64, 128, 192):
        for save in (save_checkpoint, save_healthy, save_best):
            save(tmp_path, _state(seed=nimg, steps=1, nimg=nimg))
    found = _state()

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-000000000192.ckpt",
        "checkpoint-000000000128.ckpt",
        "checkpoint-000000000192.ckpt",
        "healthy-000000000128.ckpt",
        "healthy-000000000192.ckpt",
    ]
    assert load_best(tmp_path, found)
    assert found.nimg == 192
    assert load_healthy(tmp_path, found, before_nimg=191)
    assert _content(found) == _content(_state(seed=128, steps=1, nimg=128))
    assert not load_healthy(tmp_path, found, before_nimg=127)
    assert not load_best(tmp_path / "nowhere", found)
    assert found.nimg == 128


def test_a_damaged_healthy_one_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An alarm goes back to the healthy checkpoint before, and says which one it could not use."""
    for nimg in (64, 128):
        save_healthy(tmp_path, _state(steps=1, nimg=nimg))
    _truncate(tmp_path / "healthy-000000000128.ckpt")
    found = _state()

    assert load_healthy(tmp_path, found, before_nimg=500)
    assert found.nimg == 64
    assert "healthy-000000000128.ckpt: digest does not match" in capsys.readouterr().err


def test_a_roll_back_is_kept_and_what_was_later_forgotten(tmp_path: Path) -> None:
    """The state gone back to is saved before the later ones are removed, and is not among them."""
    for nimg in (64, 128, 192):
        for save in (save_checkpoint, save_healthy, save_best):
            save(tmp_path, _state(steps=1, nimg=nimg))
    back = _state()
    assert load_healthy(tmp_path, back, before_nimg=128)
    back.attempt = 1
    save_checkpoint(tmp_path, back)
    forget_after(tmp_path, 128)
    found = _state()

    assert restore_checkpoint(tmp_path, found) == []
    assert (found.nimg, found.attempt) == (128, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-000000000128.ckpt",
        "healthy-000000000128.ckpt",
    ]


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    """A plain value of a wrong kind is an error of the program when saving, not a day later."""
    wrongs: list[dict[str, Any]]
    wrongs = [{"gamma": "auto"}, {"best": {"fd": 1.0}}, {"seconds": float("nan")}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            save_checkpoint(tmp_path, dataclasses.replace(_state(), **wrong))

    assert list(tmp_path.iterdir()) == []


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_if_all_are_damaged_training_does_not_silently_restart(tmp_path: Path) -> None:
    """The error names the folder and what to do; hours of work are not thrown away unasked."""
    for nimg in (64, 128):
        _truncate(save_checkpoint(tmp_path, _state(steps=1, nimg=nimg)))

    with pytest.raises(DamagedError, match=r"all 2 checkpoints are damaged\. Delete that folder"):
        restore_checkpoint(tmp_path, _state())
