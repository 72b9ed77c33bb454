"""The parts of the house network: block, stage, activation."""

import torch
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.layers import Block, Stage, biased_leaky_relu
from gan.seeding import generator_at


def test_a_block_starts_as_identity() -> None:
    """A new block passes its input on unchanged, so that depth does no harm at the start."""
    x = torch.randn(2, 32, 8, 8)

    assert torch.equal(Block(32, 16, depth=3)(x), x)
    assert torch.equal(Block(32, 64, depth=3, groups=4)(x), x)


def test_the_activation_has_torchs_derivatives() -> None:
    """Value, gradient and double gradient are those of torch's leaky ReLU."""
    random = generator_at(1, "activation")
    x = torch.randn(2, 3, 4, 4, generator=random, requires_grad=True)
    bias = torch.randn(1, 3, 1, 1, generator=random, requires_grad=True)
    found = []
    for y in (biased_leaky_relu(x * 1, bias), F.leaky_relu(x + bias, 0.2)):
        first = torch.autograd.grad(y.pow(3).sum(), (x, bias), create_graph=True)
        penalty = first[0].square().sum() + first[1].square().sum()
        second = torch.autograd.grad(penalty, (x, bias))
        found.append([y, *first, *second])

    for mine, other in zip(*found, strict=True):
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_a_few_images_at_a_time_are_the_whole_batch() -> None:
    """How many images a processor's cache holds does not change what comes out or flows back."""
    torch.manual_seed(1)
    stage = Stage(*(Block(16, 32, depth=2, groups=2) for _ in range(2)))
    for weight in stage.parameters():
        weight.data += 0.1
    found = []
    for cache_bytes in (1, Stage.cache_bytes):
        x = torch.randn(5, 16, 8, 8, generator=generator_at(1, "x"), requires_grad=True)
        stage.cache_bytes = cache_bytes
        y = stage(x)
        found.append([y, *torch.autograd.grad(y.square().mean(), (x, *stage.parameters()))])

    for few, all_at_once in zip(*found, strict=True):
        assert torch.allclose(few, all_at_once, rtol=1e-4, atol=1e-6)
