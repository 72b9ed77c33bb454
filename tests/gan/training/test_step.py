"""One iteration: what it changes, what it skips, and that parts of a batch add up to it."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.modality import modality
from gan.seeding import generator_at
from gan.training.feed import Half
from gan.training.losses import OBJECTIVES
from gan.training.step import SUMMED, Dials, Stepper
from gan.training.team import Team

ROOM = modality("image")
COUNT, CLASSES, SIDE = 8, 2, 16


def _networks() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    shape = ("tiny", SIDE, 3, CLASSES, torch.float32)
    generator, critic = ROOM.build_generator(*shape), ROOM.build_critic(*shape)
    average = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    return {"G": generator, "D": critic, "G_ema": average}


def _stepper(networks: dict[str, nn.Module], **options: Any) -> Stepper:
    optimizers = {
        name: torch.optim.Adam(
            networks[name].parameters(), lr=torch.tensor(1e-3), betas=(0.0, 0.9), fused=True
        )
        for name in ("G", "D")
    }
    given = {"penalty": "quarter", "augments": True, "flips": True, **options}
    return Stepper(networks, optimizers, ROOM, OBJECTIVES["relativistic"], Team(), **given)


def _half(role: str) -> Half:
    generator = generator_at(1, role)
    draws = [ROOM.augment_draws(COUNT, torch.device("cpu"), generator) for _ in range(2)]
    return Half(
        reals=torch.randint(0, 256, (COUNT, 3, SIDE, SIDE), generator=generator).byte(),
        c=torch.arange(COUNT) % CLASSES,
        z=torch.randn(COUNT, ROOM.z_dim("tiny"), generator=generator),
        draws=torch.cat([*draws, torch.rand(1, COUNT, generator=generator)]),
    )


def _dials(limit_d: float = math.inf, limit_g: float = math.inf) -> Dials:
    return Dials(*torch.tensor([1.0, 0.9, 0.3, limit_d, limit_g]))


def _weights(network: nn.Module) -> list[Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def _seen(stepper: Stepper) -> dict[str, float]:
    return dict(zip(SUMMED, stepper.sums.tolist(), strict=True))


def _same(before: list[Tensor], network: nn.Module) -> bool:
    return all(map(torch.equal, before, network.state_dict().values()))


def test_an_iteration_moves_both_networks_and_the_average() -> None:
    """After one iteration G, D and the average have moved, and the sums hold one step."""
    networks = _networks()
    before = {name: _weights(network) for name, network in networks.items()}
    stepper = _stepper(networks)
    stepper.take(_half("D"), _half("G"), _dials())
    seen = _seen(stepper)

    assert not any(_same(before[name], network) for name, network in networks.items())
    assert seen["nonfinite"] == seen["spikes"] == 0
    assert seen["grad_d"] > 0
    assert seen["loss_d"] > seen["objective_d"] > 0


def test_a_step_that_is_not_finite_is_skipped_on_the_device() -> None:
    """A NaN in the critic costs the step of both networks, not the weights; it is counted."""
    networks = _networks()
    stepper = _stepper(networks)
    stepper.take(_half("D"), _half("G"), _dials())
    whole = _weights(networks["G"])
    with torch.no_grad():
        next(networks["D"].parameters()).view(-1)[0] = math.nan
    spoilt = _weights(networks["D"])
    stepper.sums.zero_()
    stepper.take(_half("D"), _half("G"), _dials())
    seen = _seen(stepper)

    assert _same(whole, networks["G"])
    assert all(
        torch.equal(ours.nan_to_num(7), theirs.nan_to_num(7))
        for ours, theirs in zip(spoilt, networks["D"].state_dict().values(), strict=True)
    )
    assert seen["nonfinite"] == 2
    assert all(math.isfinite(value) for value in seen.values())


def test_a_spike_is_skipped_by_the_network_that_has_it() -> None:
    """A gradient over its limit leaves that network as it was; the other one steps."""
    networks = _networks()
    stepper = _stepper(networks)
    critic, generator = _weights(networks["D"]), _weights(networks["G"])
    stepper.take(_half("D"), _half("G"), _dials(limit_d=1e-9))

    assert _same(critic, networks["D"])
    assert not _same(generator, networks["G"])
    assert _seen(stepper)["spikes"] == 1


def test_a_skipped_step_leaves_adams_memory_alone() -> None:
    """After a skip the next step is the one that would have come without it."""
    plain, rough = _networks(), _networks()
    calm, stepper = _stepper(plain), _stepper(rough)
    stepper.take(_half("D"), _half("G"), _dials(limit_d=0.0, limit_g=0.0))
    for each in (calm, stepper):
        each.take(_half("D"), _half("G"), _dials())

    assert _same(_weights(plain["G"]), rough["G"])
    assert _same(_weights(plain["D"]), rough["D"])


@pytest.mark.parametrize("penalty", ["quarter", "whole", "none"])
def test_parts_of_a_batch_add_up_to_it(penalty: str) -> None:
    """Two micro-batches give the whole batch's step, but for the order of sums."""
    whole, halved = _networks(), _networks()
    first, second = _stepper(whole, penalty=penalty), _stepper(halved, penalty=penalty, parts=2)
    for stepper in (first, second):
        stepper.take(_half("D"), _half("G"), _dials())

    for name in ("G", "D"):
        for ours, theirs in zip(whole[name].parameters(), halved[name].parameters(), strict=True):
            # Adam's first step is lr times the gradient's sign: only a sign near 0 may differ
            assert ((ours - theirs).abs() > 1e-4).float().mean() < 0.01
    for name, value in _seen(first).items():
        assert _seen(second)[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name
