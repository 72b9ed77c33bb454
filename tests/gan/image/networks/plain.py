"""The house network and its step as plainly as torch says them: what the fast path is held to.

It takes our networks' own weights and uses nothing of our code: float32, torch's convolutions and
interpolations with torch's derivatives of them, reals and fakes through the critic one after the
other, the exact penalty. Only for the published sizes; `tiny` has its golden figures.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.presets import Preset, published
from gan.image.networks.r3gan import Critic, Generator, Shape
from gan.seeding import generator_at
from gan.training.losses import OBJECTIVES, Batch, Score, critic_loss, generator_loss


@dataclass(frozen=True)
class Narrow(Shape):
    """A network of the published family at a width of one's own, for tests and benchmarks."""

    width: int = 48

    @property
    def size(self) -> Preset:
        """The published numbers at this width."""
        return published(self.width)


def pair(shape: Shape, dtype: torch.dtype = torch.float32) -> tuple[Generator, Critic]:
    """Return both networks, the same at each call, no branch at zero: every weight takes part."""
    torch.manual_seed(1)
    networks = Generator(shape, dtype), Critic(shape, dtype)
    for network in networks:
        for place, weight in enumerate(network.parameters()):
            if not weight.any():
                weight.data += 0.05 * torch.randn(weight.shape, generator=generator_at(2, place))
    return networks


class Step(NamedTuple):
    """What one step of each network is made from: z [N, z_dim], reals [N, C, H, W], c [N]."""

    z: Tensor
    reals: Tensor
    c: Tensor
    gamma: float


def step_of(shape: Shape, count: int) -> Step:
    """Return a step of `count` pairs of noise, the same at each call, gamma 1."""
    z = torch.randn(count, shape.size.z_dim, generator=generator_at(3, "z"))
    side = (shape.channels, shape.resolution, shape.resolution)
    reals = torch.rand(count, *side, generator=generator_at(3, "x")) * 2 - 1
    return Step(z, reals, torch.arange(count) % shape.num_classes, 1.0)


def generate(network: Generator, z: Tensor, c: Tensor, *, exact: bool = True) -> Tensor:
    """Return images. Without `exact` the border is repeated when doubling, which is cheaper."""
    scale = F.linear(torch.cat([z, network.embed[c]], dim=1), network.scale)
    x = network.basis * scale[:, :, None, None]
    for place, stage in enumerate(network.stages):
        if place:
            x = _double(_change(network.transitions[place - 1], x), exact=exact)
        x = _blocks(stage, x)
    return F.conv2d(x, network.paint.weight)


def score(network: Critic, images: Tensor, c: Tensor, *, exact: bool = True) -> Tensor:
    """Return logits [N]."""
    x = F.conv2d(images, network.look.weight)
    for place, stage in enumerate(network.stages):
        if place:
            x = _change(network.transitions[place - 1], _halve(x, exact=exact))
        x = _blocks(stage, x)
    features = F.linear((x * network.pool).sum(dim=(2, 3)), network.head)
    return (features * network.embed[c]).sum(dim=1)


def critic_step(generator: Generator, critic: Critic, step: Step, *, exact: bool = True) -> Tensor:
    """Add the critic's gradient of the relativistic loss with both penalties; return the loss."""
    with torch.no_grad():
        fakes = generate(generator, step.z, step.c, exact=exact)
    reals, fakes = step.reals.detach().requires_grad_(), fakes.requires_grad_()
    real_logits = score(critic, reals, step.c, exact=exact)
    fake_logits = score(critic, fakes, step.c, exact=exact)
    norms = [
        torch.autograd.grad(logits.sum(), images, create_graph=True)[0].square().sum((1, 2, 3))
        for logits, images in ((real_logits, reals), (fake_logits, fakes))
    ]
    pairing = F.softplus(fake_logits - real_logits).mean()
    loss = pairing + step.gamma / 2 * (norms[0].mean() + norms[1].mean())
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    return loss.detach()


def generator_step(
    generator: Generator, critic: Critic, step: Step, *, exact: bool = True
) -> Tensor:
    """Add the generator's gradient of the relativistic loss; return the loss."""
    critic.requires_grad_(requires_grad=False)
    with torch.no_grad():
        real_logits = score(critic, step.reals, step.c, exact=exact)
    fakes = generate(generator, step.z, step.c, exact=exact)
    loss = F.softplus(real_logits - score(critic, fakes, step.c, exact=exact)).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    critic.requires_grad_(requires_grad=True)
    return loss.detach()


def fast_critic_step(
    generator: Generator, critic: Critic, step: Step, penalty: Literal["quarter", "whole"]
) -> None:
    """Add the critic's gradient as our training does: one pass, the networks' own operations."""
    with torch.no_grad():
        fakes = generator(step.z, step.c)
    reals = _batch(step, step.reals)
    objective = OBJECTIVES["relativistic"]
    terms = critic_loss(_scorer(critic), reals, _batch(step, fakes), objective, step.gamma, penalty)
    terms.loss.backward()  # type: ignore[no-untyped-call]  # torch's own


def fast_generator_step(generator: Generator, critic: Critic, step: Step) -> None:
    """Add the generator's gradient as our training does."""
    critic.requires_grad_(requires_grad=False)
    fakes = _batch(step, generator(step.z, step.c))
    objective = OBJECTIVES["relativistic"]
    loss = generator_loss(_scorer(critic), _batch(step, step.reals), fakes, objective)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    critic.requires_grad_(requires_grad=True)


def _batch(step: Step, items: Tensor) -> Batch:
    return Batch(items, step.c, step.z.new_zeros(1, len(step.c)))  # no augmentation: no draws


def _scorer(critic: Critic) -> Score:
    return lambda batch: critic(batch.items, batch.c)


def _blocks(stage: Any, x: Tensor) -> Tensor:
    for block in stage.children():
        y = F.leaky_relu(F.conv2d(x, block.narrow.weight) + block.bias1, 0.2)
        groups = block.mix.groups
        y = F.conv2d(y, block.mix.weight, padding=1, groups=groups) + block.bias2
        x = x + F.conv2d(F.leaky_relu(y, 0.2), block.widen.weight)
    return x


def _change(transition: Any, x: Tensor) -> Tensor:
    return x if isinstance(transition, nn.Identity) else F.conv2d(x, transition.weight)


def _double(x: Tensor, *, exact: bool) -> Tensor:
    if not exact:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return _double(F.pad(x, (1, 1, 1, 1)), exact=False)[:, :, 2:-2, 2:-2]


def _halve(x: Tensor, *, exact: bool) -> Tensor:
    """Halve by the triangle filter, which inside the border is [1, 3, 3, 1]/8."""
    if not exact:
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    return _halve(F.pad(x, (2, 2, 2, 2)), exact=False)[:, :, 1:-1, 1:-1]
