"""The average of the weights."""

import copy

import pytest
import torch
from torch import nn

from gan.training.ema import update_average


def _pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    network = nn.Linear(3, 2)
    average = copy.deepcopy(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
    return average, network


def test_after_a_half_life_half_of_the_way_is_gone() -> None:
    """The half-life is in images: half the distance after one, three quarters after two."""
    average, network = _pair()
    update_average(average, network, images=500, half_life=500)
    for ours, theirs in zip(average.parameters(), network.parameters(), strict=True):
        assert torch.allclose(theirs - ours, torch.full_like(ours, 0.5), atol=1e-6)

    update_average(average, network, images=500, half_life=500)
    for ours, theirs in zip(average.parameters(), network.parameters(), strict=True):
        assert torch.allclose(theirs - ours, torch.full_like(ours, 0.25), atol=1e-6)


def test_the_batch_size_does_not_matter() -> None:
    """Ten updates of 64 images move the average as far as one of 640."""
    often, network = _pair()
    once = copy.deepcopy(often)
    for _ in range(10):
        update_average(often, network, images=64, half_life=1000)
    update_average(once, network, images=640, half_life=1000)

    for ours, theirs in zip(often.parameters(), once.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("half_life", [0.0, 0])
def test_without_a_half_life_it_is_the_network(half_life: float) -> None:
    """A half-life of 0 copies the weights; the network itself is never changed."""
    average, network = _pair()
    before = copy.deepcopy(network.state_dict())
    update_average(average, network, images=64, half_life=half_life)

    for name, weight in average.state_dict().items():
        assert torch.allclose(weight, before[name])
        assert torch.equal(network.state_dict()[name], before[name])
