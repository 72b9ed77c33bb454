"""The grouped convolution: torch's values and derivatives, in far fewer calls."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.utils._python_dispatch import TorchDispatchMode

from gan.image.networks.grouped import grouped_conv
from gan.image.networks.r3gan import Critic, Generator, Shape
from gan.seeding import generator_at
from tests.gan.image.networks import plain
from tests.gan.image.networks.plain import fast_critic_step

GROUPS = 3


class Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts convolutions: forward ones, and each gradient that a backward one hands out."""

    def __init__(self) -> None:
        """Start from 0."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Count, then do what was asked."""
        if func is torch.ops.aten.convolution.default:
            self.count += 1
        if func is torch.ops.aten.convolution_backward.default:
            self.count += sum(args[-1][:2])
        return func(*args, **(kwargs or {}))


def _inputs() -> tuple[Tensor, Tensor]:
    random = generator_at(1, "grouped")
    x = torch.randn(2, 12, 5, 6, dtype=torch.float64, generator=random)
    weight = torch.randn(12, 4, 3, 3, dtype=torch.float64, generator=random)
    return x.requires_grad_(), weight.requires_grad_()


def test_value_and_gradients_are_torchs() -> None:
    """The value and both gradients are those of torch's own grouped convolution."""
    x, weight = _inputs()
    ours, theirs = grouped_conv(x, weight, GROUPS), F.conv2d(x, weight, padding=1, groups=GROUPS)
    gradients = [torch.autograd.grad(y.square().sum(), (x, weight)) for y in (ours, theirs)]

    assert torch.allclose(ours, theirs, atol=1e-12)
    for mine, other in zip(*gradients, strict=True):
        assert torch.allclose(mine, other, atol=1e-10)


def test_double_gradients_are_torchs() -> None:
    """Gradients of a penalty on gradients, of images and of weights, are torch's own."""
    x, weight = _inputs()
    found = []
    for y in (grouped_conv(x, weight, GROUPS), F.conv2d(x, weight, padding=1, groups=GROUPS)):
        first = torch.autograd.grad(y.pow(3).sum(), (x, weight), create_graph=True)
        penalty = first[0].square().sum() + first[1].square().sum()
        found.append(torch.autograd.grad(penalty, (x, weight)))

    for mine, other in zip(*found, strict=True):
        assert torch.allclose(mine, other, rtol=1e-10)


def test_numerical_differences_agree() -> None:
    """Finite differences confirm the first and the second derivative."""
    x, weight = _inputs()
    convolve = partial(grouped_conv, groups=GROUPS)

    assert torch.autograd.gradcheck(convolve, (x, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(convolve, (x, weight), fast_mode=True)


def test_a_penalty_computes_no_weight_gradient_on_the_way() -> None:
    """Asking for the images' gradient with a graph costs two convolutions, not three."""
    x, weight = _inputs()
    with Convolutions() as counter:
        torch.autograd.grad(grouped_conv(x, weight, GROUPS).sum(), x, create_graph=True)

    assert counter.count == 2
    with Convolutions() as counter:
        torch.autograd.grad(grouped_conv(x, weight * 1, GROUPS).sum(), weight, create_graph=True)
    assert counter.count == 3  # the images' gradient could be wanted too


def test_a_critic_step_makes_a_tenth_of_the_calls() -> None:
    """At the published CIFAR-10 size a critic step makes 181 convolutions, torch's own 1,845."""
    with torch.device("meta"):
        generator, critic = Generator(shape := Shape("base", 32, 3, 10)), Critic(shape)
        z, reals = torch.randn(4, 64), torch.randn(4, 3, 32, 32)
        step = plain.Step(z, reals, torch.zeros(4, dtype=torch.int64), 1.0)
        with Convolutions() as theirs:
            plain.critic_step(generator, critic, step)
        with Convolutions() as ours:
            fast_critic_step(generator, critic, step, "whole")

    assert theirs.count > 1700
    assert ours.count < 200
