"""What one training iteration computes and keeps, counted without data and without a device.

The real networks and the real losses run on torch's `meta` device, where tensors have shapes and
no content.

* One multiplication and one addition are 2 FLOPs. Convolutions and matrix products are counted
  (torch.utils.flop_counter); additions, activations, resampling and the optimizer are not.
* Activations are what autograd holds at the moment when a step's last backward pass begins:
  distinct storages, weights left out, copies of weights in bfloat16 included. The allocator's
  rounding, workspaces of convolutions and the backward pass's own temporaries come on top.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan.modality import Modality
from gan.sections import TrainSpec
from gan.training.losses import OBJECTIVES, Batch, critic_loss, generator_loss

META = torch.device("meta")
_ANY_GAMMA = 1.0  # a weight changes no shape


@dataclass(frozen=True)
class Cost:
    """Of one step.

    Attributes:
        flops: Forward and backward, of the whole batch.
        activations: Bytes that autograd holds as the last backward pass begins.
    """

    flops: int
    activations: int


def flop_counter() -> FlopCounterMode:
    """Return a counter that knows what the backward pass of a grouped convolution costs."""
    formulas: Any = {torch.ops.aten.convolution_backward: _convolution_backward_flops}
    return FlopCounterMode(display=False, custom_mapping=formulas)


class Rehearsal:
    """The two steps of an iteration, on networks that were built on the meta device.

    Attributes:
        batch: Images of one process.
        penalty: On which pairs the critic's penalties are taken.
    """

    def __init__(
        self, room: Modality, spec: TrainSpec, generator: nn.Module, critic: nn.Module
    ) -> None:
        """Take a room, a recipe's section, and both networks."""
        self._room, self._spec, self._objective = room, spec, OBJECTIVES[spec.loss]
        self._generator, self._critic = generator.train(), critic.train()
        self.batch = spec.batch_size // spec.gpus
        self.penalty: Literal["quarter", "whole", "none"] = spec.penalty if spec.gamma else "none"

    def critic_step(self, z_dim: int, item: tuple[int, ...]) -> Cost:
        """Return what the critic's step costs, for latents [N, z_dim] and items [N, *item]."""
        return self._measure(self._critic, z_dim, item)

    def generator_step(self, z_dim: int, item: tuple[int, ...]) -> Cost:
        """Return what the generator's step costs, for latents [N, z_dim] and items [N, *item]."""
        return self._measure(self._generator, z_dim, item)

    def _measure(self, learns: nn.Module, z_dim: int, item: tuple[int, ...]) -> Cost:
        networks = (self._generator, self._critic)
        for network in networks:
            network.requires_grad_(requires_grad=network is learns)
        saved = _Saved(networks)
        with META, flop_counter() as counter:
            z = torch.empty(self.batch, z_dim)
            reals = self._batch(torch.empty(self.batch, *item))
            with torch.autograd.graph.saved_tensors_hooks(saved.note, lambda value: value):
                loss = self._critic_loss if learns is self._critic else self._generator_loss
                value = loss(z, reals)
            value.backward()  # type: ignore[no-untyped-call]
        return Cost(counter.get_total_flops(), saved.bytes)

    def _critic_loss(self, z: Tensor, reals: Batch) -> Tensor:
        with torch.no_grad():
            fakes = self._batch(self._generator(z, reals.c))
        terms = critic_loss(self._score, reals, fakes, self._objective, _ANY_GAMMA, self.penalty)
        return terms.loss

    def _generator_loss(self, z: Tensor, reals: Batch) -> Tensor:
        fakes = self._batch(self._generator(z, reals.c))
        return generator_loss(self._score, reals, fakes, self._objective)

    def _batch(self, items: Tensor) -> Batch:
        kinds = len(self._room.augment_draws(1, "cpu", torch.Generator("cpu")))
        c = torch.zeros(self.batch, dtype=torch.int64)
        return Batch(items, c, torch.empty(kinds, self.batch))

    def _score(self, batch: Batch) -> Tensor:
        # A view: the counter's hooks on a module cannot take a leaf inside torch.autograd.grad.
        items = batch.items.view_as(batch.items)
        if self._spec.augment > 0 or self._spec.adapt:
            items = self._room.augment(items, torch.zeros(()), batch.draws)
        logits: Tensor = self._critic(items, batch.c)
        return logits


class _Saved:
    """What autograd saves for backward passes, each storage once."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        values = (value for network in networks for value in network.state_dict().values())
        # Held, so that an id stays one storage's own.
        self._weights = {id(v.untyped_storage()): v.untyped_storage() for v in values}
        self._storages: dict[int, torch.UntypedStorage] = {}

    def note(self, saved: Tensor) -> Tensor:
        """Note a tensor that an operation saves, and return it unchanged."""
        storage = saved.untyped_storage()
        if id(storage) not in self._weights:
            self._storages[id(storage)] = storage
        return saved

    @property
    def bytes(self) -> int:
        """Of all that was noted, weights left out."""
        return sum(storage.nbytes() for storage in self._storages.values())


def _convolution_backward_flops(
    grad_shape: list[int],
    x_shape: list[int],
    weight_shape: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,  # noqa: FBT001  # the operator's own arguments, by position
    _output_padding: Any,
    _groups: int,
    wanted: list[bool],
    **_: Any,
) -> int:
    """Return the FLOPs of a convolution's backward pass: a forward pass for each gradient wanted.

    torch's own formula takes every convolution as one group for the weight's gradient, which for
    96 groups is 96 times too many.
    """
    positions = prod((x_shape if transposed else grad_shape)[2:])
    return 2 * x_shape[0] * positions * prod(weight_shape) * sum(wanted[:2])
