"""That a step can be captured, shown without a GPU; `test_cuda.py` captures it on one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan.modality import modality
from gan.training.capture import _copies, _tensors
from gan.training.feed import Half
from gan.training.losses import OBJECTIVES
from gan.training.step import Dials, Stepper
from gan.training.team import Team

ROOM = modality("image")
PRESETS = ("tiny", "base", "conv28", "dense32")
BATCH, SIDE_PX = 8, 32


def _step(preset: str, device: str) -> tuple[Stepper, tuple[Half, Half, Dials]]:
    """Return a step on networks without content, and inputs for it."""
    parts = 1 if preset == "conv28" else 2
    with torch.device(device):
        shape = (preset, SIDE_PX, 4, 3, torch.bfloat16)
        networks: dict[str, nn.Module] = {
            "G": ROOM.build_generator(*shape),
            "D": ROOM.build_critic(*shape),
            "G_ema": ROOM.build_generator(*shape).requires_grad_(requires_grad=False),
        }
        kinds = len(ROOM.augment_draws(1, "cpu", torch.Generator()))
        halves = [
            Half(
                torch.zeros(BATCH, 4, SIDE_PX, SIDE_PX, dtype=torch.uint8),
                torch.zeros(BATCH, dtype=torch.int64),
                torch.zeros(BATCH, ROOM.z_dim(preset)),
                torch.zeros(2 * kinds + 1, BATCH),
            )
            for _ in range(2)
        ]
        dials = Dials(*(torch.zeros(()) for _ in range(5)))
        optimizers = {name: _adam(networks[name]) for name in ("G", "D")}
    stepper = Stepper(
        networks,
        optimizers,
        ROOM,
        OBJECTIVES["relativistic"],
        Team(),
        penalty="quarter",
        augments=True,
        flips=True,
        parts=parts,
    )
    return stepper, (halves[0], halves[1], dials)


def _adam(network: nn.Module) -> torch.optim.Adam:
    """Return Adam as it is in mid-training: its moments are there."""
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.0, 0.9), fused=True)
    for weight in network.parameters():
        moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[weight] = {"step": torch.zeros(()), **moments}
    return optimizer


class _Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Notes each operation with the devices of what it takes and gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, set[str]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, out))
        devices = {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)}
        self.seen.append((str(func), devices))
        return out


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_never_leaves_its_device(preset: str) -> None:
    """No operation of a whole iteration reads a tensor of the host or makes one there.

    On a GPU either would be a copy that waits, and could not be captured.
    """
    stepper, inputs = _step(preset, "meta")
    with _Watched() as watched:
        stepper.take(*inputs)

    assert len(watched.seen) > 500
    assert [each for each in watched.seen if not each[1] <= {"meta"}] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_asks_for_no_value(preset: str) -> None:
    """A whole iteration runs on tensors that have no values: Python decides by none of them.

    Asking for one raises here; on a GPU it would wait for the device.
    """
    with FakeTensorMode():
        stepper, inputs = _step(preset, "cpu")
        stepper.take(*inputs)

    assert stepper.sums.shape == (12,)


def test_inputs_are_copied_field_by_field() -> None:
    """A recording owns its inputs: equal to those given, each in memory of its own."""
    _, inputs = _step("tiny", "cpu")
    copies = _copies(inputs)

    assert [type(part) for part in copies] == [Half, Half, Dials]
    pairs = list(zip(_tensors(inputs), _tensors(copies), strict=True))
    assert len(pairs) == 4 + 4 + 5
    assert all(torch.equal(given, held) for given, held in pairs)
    assert all(given.data_ptr() != held.data_ptr() for given, held in pairs)
