"""Images per second of a training step, and how near its arithmetic is to a plain convolution's."""

import os
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.utils.flop_counter import FlopCounterMode

from gan.image.augment import augment
from gan.image.networks.r3gan import Critic, Generator, Shape
from gan.seeding import generator_at
from gan.training.losses import critic_loss, generator_loss
from tests.benchmarks.figures import seconds, show

BATCH, CLASSES, SIDE_PX, AUGMENT = 64, 14, 32, 0.3


class Players:
    """Both networks of the shipped size with a batch of each kind."""

    def __init__(self, dtype: torch.dtype) -> None:
        """Build them."""
        shape = Shape("tiny", SIDE_PX, 3, CLASSES)
        self.generator, self.critic = Generator(shape, dtype), Critic(shape, dtype)
        self.c = torch.arange(BATCH) % CLASSES
        self.z = torch.randn(BATCH, shape.size.z_dim, generator=generator_at(1, "z"))
        self.reals = torch.rand(BATCH, 3, SIDE_PX, SIDE_PX, generator=generator_at(1, "x")) * 2 - 1

    def _score(self, images: Tensor, c: Tensor) -> Tensor:
        logits: Tensor = self.critic(augment(images, AUGMENT, generator_at(1, "augment")), c)
        return logits

    def critic_step(self) -> None:
        """Compute the critic's gradient, as the loop does."""
        with torch.no_grad():
            fakes = self.generator(self.z, self.c)
        terms = critic_loss(self._score, self.reals, fakes, self.c, 1.0, BATCH // 4)
        _descend(self.critic, terms.loss)

    def generator_step(self) -> None:
        """Compute the generator's gradient, as the loop does."""
        self.critic.requires_grad_(requires_grad=False)
        fakes = self.generator(self.z, self.c)
        _descend(self.generator, generator_loss(self._score, self.reals, fakes, self.c))
        self.critic.requires_grad_(requires_grad=True)


def _descend(network: nn.Module, loss: Tensor) -> None:
    network.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own


def _gflop(work: Callable[[], object]) -> float:
    """Return the multiplications and additions of one call, in units of 1e9."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


def _plain_convolution(dtype: torch.dtype) -> float:
    """Return the GFLOP/s of one dense 3x3 convolution at a size of the networks' middle."""
    x = torch.randn(BATCH, 96, 16, 16).to(dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(96, 96, 3, 3).to(dtype).to(memory_format=torch.channels_last)
    work = partial(F.conv2d, x, weight, padding=1)
    with torch.no_grad():
        return _gflop(work) / seconds(work, 15, 3)


def _measure(dtype: torch.dtype, threads: int) -> None:
    torch.set_num_threads(threads)
    name = f"{str(dtype).removeprefix('torch.')}, {threads} thread{'s' if threads > 1 else ''}"
    players = Players(dtype)
    gflop = _gflop(players.critic_step) + _gflop(players.generator_step)
    critic, generator = seconds(players.critic_step, 4), seconds(players.generator_step, 4)
    total = critic + generator
    show(f"{name}: images", BATCH / total, "/s", f"the critic's step takes {critic / total:.0%}")
    floor = _plain_convolution(dtype)
    show(f"{name}: arithmetic", gflop / total, "GFLOP/s", f"{gflop / BATCH * 1e3:.0f} MFLOP/image")
    show(
        f"{name}: plain convolution",
        floor,
        "GFLOP/s",
        f"a step reaches {gflop / total / floor:.0%}",
    )


def main() -> None:
    """Print speed for each number format and one or all processors."""
    before, processors = torch.get_num_threads(), len(os.sched_getaffinity(0))
    for threads in sorted({1, min(2, processors)}):
        for dtype in (torch.float32, torch.bfloat16):
            _measure(dtype, threads)
    torch.set_num_threads(before)
