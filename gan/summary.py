"""What a recipe asks of a machine, before anything is trained: layers, arithmetic, memory.

`gan.training.arithmetic` says how FLOPs and activations are counted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan.durable import SUMS
from gan.hardware import has_fast_bf16
from gan.modality import Modality, modality
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import TrainSpec
from gan.training.arithmetic import META, Rehearsal, flop_counter

_FLOAT32_BYTES = 4
_FLOAT16_BYTES = 2


@dataclass(frozen=True)
class Layer:
    """One part of a network.

    Attributes:
        name: Where it is in the network, say `stages.0.1`.
        output: Shape of what it returns for one image; None for weights outside every part.
        parameters: How many numbers it learns.
        mflops: Of a forward pass, per image, millions.
    """

    name: str
    output: tuple[int, ...] | None
    parameters: int
    mflops: float


@dataclass(frozen=True)
class Network:
    """A generator or a critic.

    Attributes:
        layers: In the order in which an image passes them; weights outside every part come last.
        parameters: Of all layers together.
        mflops: Of a forward pass, per image, millions.
    """

    layers: list[Layer]
    parameters: int
    mflops: float


@dataclass(frozen=True)
class Iteration:
    """The arithmetic of one training iteration, GFLOPs per real image shown."""

    critic_gflops: float
    generator_gflops: float
    gflops: float
    penalty: Literal["quarter", "whole", "none"]


@dataclass(frozen=True)
class Memory:
    """How many bytes hold what.

    Attributes:
        weights: Of both networks, float32, with buffers.
        ema: The generator's average.
        adam: Both optimizers' moments.
        gradients: Of both networks.
        activations: Of the larger of the two steps.
        training: All of these: what one process holds besides its data.
        checkpoint: A checkpoint's tensors, on the disk.
        bundle: The bundle's tensors, on the disk.
    """

    weights: int
    ema: int
    adam: int
    gradients: int
    activations: int
    training: int
    checkpoint: int
    bundle: int


@dataclass(frozen=True)
class Summary:
    """A recipe's networks, what they compute and what they hold.

    Attributes:
        num_classes: From the prepared data; None when there are none yet (then 1 is counted).
        batch: Images of one process in an iteration.
        precision: Of the activations: bf16 or float32; chosen by this machine where it is auto.
    """

    recipe: str
    preset: str
    resolution: int
    channels: int
    num_classes: int | None
    batch: int
    precision: str
    generator: Network
    critic: Network
    iteration: Iteration
    memory_bytes: Memory


def summarise(layout: Layout, recipe: Recipe) -> Summary:
    """Return the summary of a recipe, whether its data are prepared or not.

    Raises:
        DamagedError: Prepared data are there, and are not what was written.
    """
    room, data, preset = modality("image"), recipe.data, recipe.model.preset
    num_classes = _num_classes(room, layout, recipe.name)
    dtype = _dtype(recipe.train)
    shape = (preset, data.resolution, data.channels, num_classes or 1, dtype)
    z_dim, item = room.z_dim(preset), (data.channels, data.resolution, data.resolution)
    with META:
        generator, critic = room.build_generator(*shape), room.build_critic(*shape)
        c = torch.zeros(1, dtype=torch.int64)
        tables = (
            _network(generator, torch.empty(1, z_dim), c),
            _network(critic, torch.empty(1, *item), c),
        )
    rehearsal = Rehearsal(room, recipe.train, generator, critic)
    steps = rehearsal.critic_step(z_dim, item), rehearsal.generator_step(z_dim, item)
    critic_gflops, generator_gflops = (step.flops / rehearsal.batch / 1e9 for step in steps)
    return Summary(
        recipe=recipe.name,
        preset=preset,
        resolution=data.resolution,
        channels=data.channels,
        num_classes=num_classes,
        batch=rehearsal.batch,
        precision="bf16" if dtype is torch.bfloat16 else "float32",
        generator=tables[0],
        critic=tables[1],
        iteration=Iteration(
            critic_gflops, generator_gflops, critic_gflops + generator_gflops, rehearsal.penalty
        ),
        memory_bytes=_memory(generator, critic, max(step.activations for step in steps)),
    )


def _num_classes(room: Modality, layout: Layout, name: str) -> int | None:
    folder = layout.train_data(name)
    return len(room.open_dataset(folder).classes) if (folder / SUMS).exists() else None


def _dtype(spec: TrainSpec) -> torch.dtype:
    """Return the activations' format; a GPU that the recipe wants need not be in this machine."""
    on_gpu = spec.device != "cpu" and torch.cuda.is_available()
    is_fast = has_fast_bf16(torch.device("cuda" if on_gpu else "cpu"))
    wants = spec.precision == "bf16" or (spec.precision == "auto" and is_fast)
    return torch.bfloat16 if wants else torch.float32


@torch.no_grad()
def _network(network: nn.Module, first: Tensor, c: Tensor) -> Network:
    """Return a network's table: what each part did while one image passed."""
    layers: list[Layer] = []
    with flop_counter() as counter:
        hooks = [
            handle
            for name, part in _parts("", network)
            for handle in _watch(part, name, counter.get_total_flops, layers)
        ]
        network.eval()(first, c)
        total = counter.get_total_flops() / 1e6
    for handle in hooks:
        handle.remove()
    parameters = _count(network)
    own = parameters - sum(layer.parameters for layer in layers)
    if own:
        names = ", ".join(name for name, _ in network.named_parameters(recurse=False))
        left = total - sum(layer.mflops for layer in layers)
        layers.append(Layer(names or "other", None, own, left))
    return Network(layers, parameters, total)


def _parts(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a network's parts by name: its children, those of lists and sequences instead."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from _parts(f"{prefix}{name}.", child)
        else:
            yield f"{prefix}{name}", child


def _watch(
    part: nn.Module, name: str, flops: Callable[[], int], layers: list[Layer]
) -> list[Any]:  # of handles, whose class torch does not export
    """Add a row to `layers` when `part` is called; return what ends that."""
    begun: list[int] = []

    def begin(*_: object) -> None:
        begun.append(flops())

    def end(_: nn.Module, __: object, output: Tensor) -> None:
        mflops = (flops() - begun.pop()) / 1e6
        layers.append(Layer(name, tuple(output.shape[1:]), _count(part), mflops))

    return [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]


def _memory(generator: nn.Module, critic: nn.Module, activations: int) -> Memory:
    learnt = _count(generator) + _count(critic)
    tensors = [*generator.state_dict().values(), *critic.state_dict().values()]
    ema = sum(value.nbytes for value in generator.state_dict().values())
    weights = sum(value.nbytes for value in tensors)
    adam, gradients = 2 * learnt * _FLOAT32_BYTES, learnt * _FLOAT32_BYTES
    return Memory(
        weights=weights,
        ema=ema,
        adam=adam,
        gradients=gradients,
        activations=activations,
        training=weights + ema + adam + gradients + activations,
        checkpoint=weights + ema + adam,
        bundle=sum(
            value.numel() * (_FLOAT16_BYTES if value.is_floating_point() else value.element_size())
            for value in tensors
        ),
    )


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
