"""One iteration on the device: a critic step, a generator step, the average's update.

Nothing is read back to the host: a step whose loss or gradient is not finite, or whose gradient is
a spike, is skipped on the device (Adam's `found_inf`), and what happened is summed in a tensor that
the loop reads once a tick. So a step can be captured as one CUDA graph.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gan.modality import Modality
from gan.training.ema import update_average
from gan.training.feed import Half
from gan.training.losses import Batch, Objective, Score, critic_loss, generator_loss
from gan.training.team import Team

SUMMED = (
    "loss_d",
    "loss_g",
    "objective_d",
    "r1",
    "r2",
    "gap",
    "positive",
    "grad_d",
    "grad_g",
    "saturation",
    "nonfinite",
    "spikes",
)
_SATURATED = 1.2
_D, _G, _EMA = "D", "G", "G_ema"


@dataclass(frozen=True)
class Dials:
    """What the schedule and the guards set at each step: 0-dimensional float32, on the device."""

    gamma: Tensor
    keep: Tensor
    augment: Tensor
    limit_d: Tensor
    limit_g: Tensor


class Stepper:
    """Takes iterations and sums what they show."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimizers: dict[str, torch.optim.Adam],
        room: Modality,
        objective: Objective,
        team: Team,
        *,
        penalty: Literal["quarter", "whole", "none"],
        augments: bool,
        flips: bool,
        parts: int = 1,
    ) -> None:
        """Take networks G, D, G_ema and the optimizers of G and D.

        Args:
            networks: By name.
            optimizers: By name; fused, which is what makes them skip on the device.
            room: The modality: augmentation, mirroring, number format.
            objective: The row of the losses' table.
            team: The processes that share a batch.
            penalty: On which pairs.
            augments: Whether augmentation is ever on.
            flips: Whether reals are mirrored at random.
            parts: Micro-batches of a step; their mean is exact unless a network mixes images.
        """
        self._networks, self._optimizers, self._room = networks, optimizers, room
        self._objective, self._team, self._penalty = objective, team, penalty
        self._augments, self._flips, self._parts = augments, flips, parts
        device = next(networks[_D].parameters()).device
        self.sums = torch.zeros(len(SUMMED), device=device)

    def take(self, critic: Half, generator: Half, dials: Dials) -> None:
        """Take one iteration on this process's slice of both batches."""
        seen = self._critic_step(critic, dials) | self._generator_step(generator, dials)
        seen |= {
            "nonfinite": seen.pop("nonfinite_d") + seen.pop("nonfinite_g"),
            "spikes": seen.pop("spikes_d") + seen.pop("spikes_g"),
        }
        self.sums += torch.stack([seen[name] for name in SUMMED])
        update_average(self._networks[_EMA], self._networks[_G], dials.keep)

    def _critic_step(self, half: Half, dials: Dials) -> dict[str, Tensor]:
        self._networks[_D].requires_grad_(requires_grad=True)  # also after a capture that failed
        self._optimizers[_D].zero_grad(set_to_none=True)
        total: dict[str, Tensor] = {}
        for part in _parts(half, self._parts):
            with torch.no_grad():
                made = self._networks[_G](part.z, part.c)
            reals, fakes = self._batches(part, made)
            terms = critic_loss(
                self._scorer(dials), reals, fakes, self._objective, dials.gamma, self._penalty
            )
            (terms.loss / self._parts).backward()  # type: ignore[no-untyped-call]
            seen = {
                "loss_d": terms.loss,
                "objective_d": terms.objective,
                "r1": terms.r1,
                "r2": terms.r2,
                "gap": terms.gap,
                "positive": terms.positive,
                "saturation": (made.abs() > _SATURATED).float().mean(),
            }
            _add(total, seen, self._parts)
        return self._descend(_D, total, "loss_d", dials.limit_d)

    def _generator_step(self, half: Half, dials: Dials) -> dict[str, Tensor]:
        self._optimizers[_G].zero_grad(set_to_none=True)
        self._networks[_D].requires_grad_(requires_grad=False)
        total: dict[str, Tensor] = {}
        for part in _parts(half, self._parts):
            made = self._networks[_G](part.z, part.c)
            reals, fakes = self._batches(part, made)
            loss = generator_loss(self._scorer(dials), reals, fakes, self._objective)
            (loss / self._parts).backward()  # type: ignore[no-untyped-call]
            _add(total, {"loss_g": loss}, self._parts)
        self._networks[_D].requires_grad_(requires_grad=True)
        return self._descend(_G, total, "loss_g", dials.limit_g)

    def _descend(
        self, name: str, total: dict[str, Tensor], loss: str, limit: Tensor
    ) -> dict[str, Tensor]:
        """Let Adam step unless the gradient is not finite or longer than `limit`."""
        network, optimizer = self._networks[name], self._optimizers[name]
        self._team.average(network)
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        length = nn.utils.get_total_norm(gradients)
        finite = self._team.worst((~(length + total[loss]).isfinite()).float()) == 0
        spike = finite & (length > limit)
        optimizer.found_inf = (~finite | spike).float()  # type: ignore[attr-defined]
        optimizer.step()
        side = name.lower()
        kept = {key: torch.where(finite, value, 0.0) for key, value in total.items()}
        return kept | {
            f"grad_{side}": torch.where(finite, length, 0.0),
            f"nonfinite_{side}": (~finite).float(),
            f"spikes_{side}": spike.float(),
        }

    def _batches(self, half: Half, made: Tensor) -> tuple[Batch, Batch]:
        kinds = (len(half.draws) - 1) // 2
        reals = self._room.from_uint8(half.reals)
        if self._flips:
            reals = self._room.flip(reals, half.draws[-1])
        return (
            Batch(reals, half.c, half.draws[:kinds]),
            Batch(made, half.c, half.draws[kinds : 2 * kinds]),
        )

    def _scorer(self, dials: Dials) -> Score:
        def score(batch: Batch) -> Tensor:
            items = batch.items
            if self._augments:
                items = self._room.augment(items, dials.augment, batch.draws)
            logits: Tensor = self._networks[_D](items, batch.c)
            return logits

        return score


def _parts(half: Half, count: int) -> list[Half]:
    if count == 1:
        return [half]
    size = len(half.c) // count
    return [
        Half(half.reals[a:b], half.c[a:b], half.z[a:b], half.draws[:, a:b])
        for a, b in ((i * size, (i + 1) * size) for i in range(count))
    ]


def _add(total: dict[str, Tensor], seen: dict[str, Tensor], count: int) -> None:
    for name, value in seen.items():
        share = value.detach() / count
        total[name] = total[name] + share if name in total else share
