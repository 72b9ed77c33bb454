"""Images per second of training: our step against a plain one of the same networks, in one run.

Plain: float32, torch's convolutions and interpolations, exact penalties on the whole batch, reals
and fakes one after the other. Ours: what training runs, bfloat16 where the hardware has it, the
penalty on a quarter. Both with their optimisers, without augmentation, on one thread of a processor
or on the GPU that is there. Rounds are interleaved, so that a busy machine slows all alike. `used`
is processor time, which a busy machine changes less than wall time. `of peak` is the share of the
fastest matrix product or 1x1 convolution found in the same run and number format.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan.hardware import has_fast_bf16
from gan.image.networks.r3gan import Shape
from tests.gan.image.networks import plain
from tests.gan.image.networks.plain import Narrow, fast_critic_step, fast_generator_step

SIDE_PX, CLASSES = 32, 10
_HEAD = f"  {'step':<34}{'img/s':>8}{'median':>8}{'used':>8}{'GFLOP/img':>11}{'GFLOP/s':>9}"


class Trainer:
    """Both networks with their optimisers and one batch, all on one device."""

    def __init__(
        self, shape: Shape, count: int, dtype: torch.dtype, device: str, *, is_plain: bool
    ) -> None:
        """Build them: `dtype` of the activations, `count` pairs in a batch."""
        self.is_plain = is_plain
        generator, critic = plain.pair(shape, dtype)
        self.generator, self.critic = generator.to(device), critic.to(device)
        z, reals, c, gamma = plain.step_of(shape, count)
        self.step = plain.Step(z.to(device), reals.to(device), c.to(device), gamma)
        self.optimizers = [
            torch.optim.Adam(n.parameters(), lr=1e-5, betas=(0.0, 0.9), fused=device != "meta")
            for n in (self.critic, self.generator)
        ]

    def __call__(self) -> None:
        """Take one iteration: a critic step and a generator step."""
        if self.is_plain:
            plain.critic_step(self.generator, self.critic, self.step, exact=False)
        else:
            fast_critic_step(self.generator, self.critic, self.step, "quarter")
        self._descend(0)
        if self.is_plain:
            plain.generator_step(self.generator, self.critic, self.step, exact=False)
        else:
            fast_generator_step(self.generator, self.critic, self.step)
        self._descend(1)
        if self.step.z.is_cuda:
            torch.cuda.synchronize()

    def _descend(self, place: int) -> None:
        self.optimizers[place].step()
        self.optimizers[place].zero_grad()


class Arithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Counts multiplications and additions by torch's table of formulas.

    Not by its `FlopCounterMode`, whose hooks on modules refuse a penalty's `autograd.grad`. And the
    table overlooks groups in the backward of a convolution: each of the two gradients takes exactly
    what the forward takes.
    """

    def __init__(self) -> None:
        """Start from 0."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Do what was asked, then count it."""
        out, packet = func(*args, **(kwargs or {})), func._overloadpacket
        if packet is torch.ops.aten.convolution_backward:
            gradient, _, weight, *_, wanted = args
            self.flops += 2 * gradient.numel() * weight[0].numel() * sum(wanted[:2])
        elif packet in flop_registry:
            self.flops += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        return out


@dataclass
class Row:
    """One kind of step, how much arithmetic it asks for, and how long its rounds took."""

    name: str
    shape: Shape
    count: int
    dtype: torch.dtype
    device: str
    is_plain: bool
    walls: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)

    def trainer(self) -> Trainer:
        """Return what does the work."""
        return Trainer(self.shape, self.count, self.dtype, self.device, is_plain=self.is_plain)

    def gflop(self) -> float:
        """Return multiplications and additions of an iteration per image, 1e9; none are done."""
        trainer = Trainer(self.shape, self.count, self.dtype, "meta", is_plain=self.is_plain)
        with Arithmetic() as counter:
            trainer()
        return float(counter.flops / self.count / 1e9)

    def line(self, peak: float) -> str:
        """Return the row as printed; `peak` in GFLOP/s."""
        best, median = self.count / min(self.walls), self.count / statistics.median(self.walls)
        gflop, used = self.gflop(), self.count / min(self.used)
        rate = f"{gflop:>11.2f}{gflop * best:>9.0f}{gflop * best / peak:>9.0%}"
        return f"  {self.name:<34}{best:>8.1f}{median:>8.1f}{used:>8.1f}{rate}"


def main() -> None:
    """Print the table of this machine's processor, and of its GPU when there is one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _on_processor()
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        _on_gpu()


def _on_processor() -> None:
    dtype = torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32
    row = partial(Row, dtype=dtype, device="cpu", is_plain=False)
    slow = partial(Row, dtype=torch.float32, device="cpu", is_plain=True)
    width96 = Narrow("width96", SIDE_PX, 3, CLASSES, width=96)
    small, base = Shape("small", SIDE_PX, 3, CLASSES), Shape("base", SIDE_PX, 3, CLASSES)
    _table("one thread, 32 px, width 96, batch 32", 5, [
        slow("plain, float32", width96, 32),
        row("ours, float32", width96, 32, dtype=torch.float32),
        row(f"ours, {_short(dtype)}", width96, 32),
    ])  # fmt: skip
    _table("one thread, 32 px, tiny, batch 64", 3, [
        row(f"ours, {_short(dtype)}", Shape("tiny", SIDE_PX, 3, CLASSES), 64),
    ])  # fmt: skip
    _table("one thread, 32 px, small, batch 32", 2, [
        slow("plain, float32", small, 32), row(f"ours, {_short(dtype)}", small, 32),
    ])  # fmt: skip
    _table("one thread, 32 px, base, batch 4", 1, [
        slow("plain, float32", base, 4), row(f"ours, {_short(dtype)}", base, 4),
    ])  # fmt: skip


def _on_gpu() -> None:
    base = Shape("base", SIDE_PX, 3, CLASSES)
    bf16 = torch.bfloat16 if has_fast_bf16(torch.device("cuda")) else torch.float32
    _table(f"{torch.cuda.get_device_name()}, 32 px, base, batch 64", 3, [
        Row("plain, float32", base, 64, torch.float32, "cuda", is_plain=True),
        Row(f"ours, {_short(bf16)}", base, 64, bf16, "cuda", is_plain=False),
    ])  # fmt: skip
    _table("the same, batch 512", 5, [
        Row(f"ours, {_short(bf16)}", base, 512, bf16, "cuda", is_plain=False),
    ])  # fmt: skip


def _table(title: str, rounds: int, rows: list[Row]) -> None:
    """Take turns, a warm-up first where there are several, and print."""
    trainers = [row.trainer() for row in rows]
    formats = {row.dtype for row in rows}
    peaks = dict.fromkeys(formats, 0.0)
    for turn in range(rounds + (rounds > 1)):
        for row, work in zip(rows, trainers, strict=True):
            wall, used = _timed(work)
            if turn or rounds == 1:
                row.walls.append(wall)
                row.used.append(used)
        peaks = {dtype: max(peaks[dtype], _peak(dtype, rows[0].device)) for dtype in formats}
    print(f"\n  {title}; peak GFLOP/s: {_listed(peaks)}")
    print(_HEAD + f"{'of peak':>9}")
    for row in rows:
        print(row.line(peaks[row.dtype]), flush=True)
    if rows[0].is_plain:
        for row in rows[1:]:
            print(f"  {row.name}: {_against(rows[0], row)}")


def _against(slow: Row, fast: Row) -> str:
    """Return how many times faster a row is than the plain one of the same rounds."""
    rounds = sorted(a / b for a, b in zip(slow.walls, fast.walls, strict=True))
    used = min(slow.used) / min(fast.used)
    return (
        f"{min(slow.walls) / min(fast.walls):.2f} x plain, best against best; {used:.2f} x by "
        f"processor time; rounds {rounds[0]:.2f} to {rounds[-1]:.2f}, "
        f"median {statistics.median(rounds):.2f}"
    )


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and the processor time of one call, in seconds."""
    wall, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - used


def _peak(dtype: torch.dtype, device: str) -> float:
    """Return the GFLOP/s of the faster of a large matrix product and a 1x1 convolution."""
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    images, channels = side // 64, 256
    x = torch.randn(images, channels, 32, 32, device=device).to(dtype)
    weight = torch.randn(channels, channels, 1, 1, device=device).to(dtype)
    x, weight = (t.to(memory_format=torch.channels_last) for t in (x, weight))
    positions = images * 32 * 32
    with torch.no_grad():
        product = 2 * side**3 / _least(lambda: a @ b, device)
        convolution = 2 * positions * channels**2 / _least(lambda: F.conv2d(x, weight), device)
    return max(product, convolution) / 1e9


def _least(work: Callable[[], Tensor], device: str) -> float:
    """Return the least seconds of a few calls."""

    def whole() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    whole()
    return min(_timed(whole)[0] for _ in range(4))


def _listed(peaks: dict[torch.dtype, float]) -> str:
    return ", ".join(f"{_short(dtype)} {peak:.0f}" for dtype, peak in peaks.items())


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
