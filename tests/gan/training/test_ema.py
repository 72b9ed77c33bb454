"""The average of the weights."""

import copy

import pytest
import torch
from torch import nn

from gan.training.ema import keep_of, update_average


def _pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    network = nn.Linear(3, 2)
    average = copy.deepcopy(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
    return average, network


def _move(average: nn.Module, network: nn.Module, images: int, half_life: float) -> None:
    update_average(average, network, torch.tensor(keep_of(images, half_life)))


def test_after_a_half_life_half_of_the_way_is_gone() -> None:
    """The half-life is in images: half the distance after one, three quarters after two."""
    average, network = _pair()
    _move(average, network, images=500, half_life=500)
    for ours, theirs in zip(average.parameters(), network.parameters(), strict=True):
        assert torch.allclose(theirs - ours, torch.full_like(ours, 0.5), atol=1e-6)

    _move(average, network, images=500, half_life=500)
    for ours, theirs in zip(average.parameters(), network.parameters(), strict=True):
        assert torch.allclose(theirs - ours, torch.full_like(ours, 0.25), atol=1e-6)


def test_the_batch_size_does_not_matter() -> None:
    """Ten updates of 64 images move the average as far as one of 640."""
    often, network = _pair()
    once = copy.deepcopy(often)
    for _ in range(10):
        _move(often, network, images=64, half_life=1000)
    _move(once, network, images=640, half_life=1000)

    for ours, theirs in zip(often.parameters(), once.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("half_life", [0.0, 0])
def test_without_a_half_life_it_is_the_network(half_life: float) -> None:
    """A half-life of 0 copies the weights; the network itself is never changed."""
    average, network = _pair()
    before = copy.deepcopy(network.state_dict())
    _move(average, network, images=64, half_life=half_life)

    for name, weight in average.state_dict().items():
        assert torch.allclose(weight, before[name])
        assert torch.equal(network.state_dict()[name], before[name])


def test_what_a_network_counts_goes_with_it() -> None:
    """Buffers, say of batch normalisation, are copied, not averaged."""
    network, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    network(torch.arange(8.0).view(4, 2))
    _move(average, network, images=64, half_life=1000)

    assert torch.equal(average.running_mean, network.running_mean)  # type: ignore[arg-type]
    assert average.num_batches_tracked == 1
