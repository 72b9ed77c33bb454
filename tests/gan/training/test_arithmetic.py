"""Counting FLOPs and activations without data or device."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.modality import modality
from gan.sections import TrainSpec
from gan.training.arithmetic import META, Rehearsal, _Saved, flop_counter


def _rehearsal(preset: str = "tiny", **train: Any) -> Rehearsal:
    room, shape = modality("image"), (preset, 16, 3, 2, torch.float32)
    with META:
        networks = room.build_generator(*shape), room.build_critic(*shape)
    return Rehearsal(room, TrainSpec(**train), *networks)


def _forward_flops() -> int:
    room = modality("image")
    with META, flop_counter() as counter, torch.no_grad():
        c = torch.zeros(1, dtype=torch.int64)
        room.build_generator("tiny", 16, 3, 2, torch.float32)(torch.empty(1, 64), c)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("groups", [1, 4])
def test_a_grouped_convolution_is_counted_group_by_group(groups: int) -> None:
    """Forward is 2 per multiplication; backward is twice that, also for many groups."""
    with META:
        layer = nn.Conv2d(16, 32, 3, padding=1, groups=groups, bias=False)
        x = torch.empty(2, 16, 8, 8, requires_grad=True)
    with flop_counter() as counter:
        y = layer(x)
        forward = counter.get_total_flops()
        y.sum().backward()

    assert forward == 2 * (2 * 8 * 8 * 32) * (16 // groups * 9)
    assert counter.get_total_flops() == 3 * forward


def test_a_transposed_convolution_is_counted_by_its_input() -> None:
    """Each position of the input meets the whole kernel once; backward is twice that."""
    with META:
        layer = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1, bias=False)
        x = torch.empty(2, 16, 8, 8, requires_grad=True)
    with flop_counter() as counter:
        y = layer(x)
        forward = counter.get_total_flops()
        y.sum().backward()

    assert forward == 2 * (2 * 8 * 8 * 16) * (8 * 16)
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize(("penalty", "passes"), [("whole", 13.0), ("quarter", 8.5)])
def test_the_steps_are_the_published_number_of_passes(penalty: str, passes: float) -> None:
    """Generator 6 forward passes an image; critic 13, or 8.5 when a quarter is penalised.

    A little less where the images' own gradient is not wanted.
    """
    rehearsal = _rehearsal(penalty=penalty, batch_size=8, augment=0.0, adapt=False)
    unit = 8 * _forward_flops()

    assert rehearsal.penalty == penalty
    assert 0.9 * passes < rehearsal.critic_step(64, (3, 16, 16)).flops / unit <= passes
    assert 5.8 < rehearsal.generator_step(64, (3, 16, 16)).flops / unit <= 6.0


def test_without_gamma_there_is_no_penalty() -> None:
    """`gamma: 0` costs 7 passes in the critic's step; `auto` is a penalty."""
    rehearsal = _rehearsal(gamma=0.0, batch_size=8)

    assert rehearsal.penalty == "none"
    assert rehearsal.critic_step(64, (3, 16, 16)).flops <= 7 * 8 * _forward_flops()
    assert _rehearsal(gamma="auto").penalty == "quarter"


def test_activations_grow_with_the_batch_and_with_the_penalty() -> None:
    """Twice the images hold twice the bytes; a penalty holds a second graph."""
    costs = {
        (size, penalty): _rehearsal(penalty=penalty, batch_size=size)
        .critic_step(64, (3, 16, 16))
        .activations
        for size, penalty in ((8, "quarter"), (16, "quarter"), (8, "whole"))
    }

    assert costs[16, "quarter"] == pytest.approx(2 * costs[8, "quarter"], rel=0.05)
    assert costs[8, "whole"] > 1.3 * costs[8, "quarter"]


def test_gpus_share_the_batch() -> None:
    """What one process computes and holds is its share."""
    assert _rehearsal(batch_size=64, gpus=4).batch == 16


def test_a_storage_counts_once_and_a_weight_never() -> None:
    """A result that two operations save is one piece of memory; weights are there anyway."""
    layer = nn.Linear(8, 8, bias=False)
    saved = _Saved([layer])
    x = torch.randn(4, 8)

    def same(value: Tensor) -> Tensor:
        return value

    with torch.autograd.graph.saved_tensors_hooks(saved.note, same):
        hidden = layer(x).relu()  # the product saves x, the ReLU its result
        hidden.square().view(-1).sum()  # the square saves that same result

    assert saved.bytes == 4 * (x.numel() + hidden.numel())
