"""The objectives, as a table, and the zero-centred penalties that go with any of them.

With r = D(A(x), c), f = D(A(G(z, c)), c) for a pair of one class, A = augmentation, sp = softplus:

    name            critic                  generator       source
    relativistic    sp(f - r)               sp(r - f)       R3GAN, Huang et al. 2024
    minimax         sp(-r) + sp(f)          sp(-f)          Goodfellow et al. 2014, non-saturating
    least_squares   (r - 1)^2/2 + f^2/2     (f - 1)^2/2     LSGAN, Mao et al. 2017

    L_D = mean[critic] + gamma/2 (mean ||grad_x D(A(x), c)||^2 + mean ||grad_y D(A(y), c)||^2)

The penalties are taken on a quarter of the batch or on all of it, every step. A quarter is unbiased
and saves a third of the iteration's arithmetic at the same quality (finite differences and lazy
penalties lost quality in our trials).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan.errors import UsageError

Score = Callable[["Batch"], Tensor]


@dataclass(frozen=True)
class Objective:
    """A row of the table: per-pair losses of logits [N] float32 -> [N].

    Attributes:
        critic: (reals' logits, fakes' logits) -> the critic's loss.
        generator: The same for the generator.
        pairs: Whether the generator's loss looks at the reals' logits too.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    pairs: bool


OBJECTIVES = {
    "relativistic": Objective(
        critic=lambda r, f: softplus(f - r),
        generator=lambda r, f: softplus(r - f),
        pairs=True,
    ),
    "minimax": Objective(
        critic=lambda r, f: softplus(-r) + softplus(f),
        generator=lambda r, f: softplus(-f),  # noqa: ARG005
        pairs=False,
    ),
    "least_squares": Objective(
        critic=lambda r, f: ((r - 1).square() + f.square()) / 2,
        generator=lambda r, f: (f - 1).square() / 2,  # noqa: ARG005
        pairs=False,
    ),
}


class Batch(NamedTuple):
    """What the critic scores.

    Attributes:
        items: [N, ...] float32.
        c: Class indices, [N] int64.
        draws: Of the augmentation, [K, N] float32 in [0, 1).
    """

    items: Tensor
    c: Tensor
    draws: Tensor

    def take(self, places: slice) -> "Batch":
        """Return a part of it."""
        return Batch(self.items[places], self.c[places], self.draws[:, places])


@dataclass(frozen=True)
class CriticTerms:
    """The parts of the critic's loss: 0-dimensional float32 tensors.

    Attributes:
        loss: What is minimised.
        objective: Its first part, without the penalties.
        r1: Mean squared gradient norm on reals, before gamma; 0 without penalties.
        r2: The same on fakes.
        gap: Mean of D(real) - D(fake) over the pairs.
        positive: Share of pairs where that is above 0.
    """

    loss: Tensor
    objective: Tensor
    r1: Tensor
    r2: Tensor
    gap: Tensor
    positive: Tensor


def critic_loss(
    score: Score,
    reals: Batch,
    fakes: Batch,
    objective: Objective,
    gamma: Tensor | float,
    penalty: Literal["quarter", "whole", "none"],
) -> CriticTerms:
    """Return the critic's loss and its parts.

    Args:
        score: Batch -> logits [N], augmentation included, so that the penalty's gradient is with
            respect to the item before it.
        reals: N of them; a quarter of them must be a whole number.
        fakes: N of them, without a graph; made with the reals' classes.
        objective: A row of the table.
        gamma: Weight of both penalties.
        penalty: On which pairs: each fourth, all, or none (then gamma is not used).

    Raises:
        UsageError: N is not a multiple of 4.
    """
    if len(reals.items) % 4:
        raise UsageError(
            f"a batch of {len(reals.items)} has no whole quarter; take a multiple of 4"
        )
    zero = torch.zeros((), device=reals.items.device)
    r1, r2 = zero, zero
    logits: list[tuple[Tensor, Tensor]] = []
    if penalty != "none":
        real, fake = (_quarter(b) if penalty == "quarter" else b for b in (reals, fakes))
        both = _joined(real, fake)
        both = both._replace(items=both.items.detach().requires_grad_())
        scores = score(both)
        (gradient,) = torch.autograd.grad(scores.sum(), both.items, create_graph=True)
        norms = gradient.square().flatten(1).sum(dim=1)
        r1, r2 = (part.mean() for part in norms.chunk(2))
        logits.append(_halves(scores))
    if penalty != "whole":
        rest = (_rest(b) if penalty == "quarter" else b for b in (reals, fakes))
        logits.append(_halves(score(_joined(*rest))))
    r = torch.cat([real for real, _ in logits])
    f = torch.cat([fake for _, fake in logits])
    d = (r - f).detach()
    mean = objective.critic(r, f).mean()
    loss = mean if penalty == "none" else mean + gamma / 2 * (r1 + r2)
    return CriticTerms(loss, mean, r1, r2, d.mean(), (d > 0).float().mean())


def generator_loss(score: Score, reals: Batch, fakes: Batch, objective: Objective) -> Tensor:
    """Return the generator's loss, a 0-dimensional tensor; the reals' scores are constants in it.

    Args:
        score: Batch -> logits [N], augmentation included.
        reals: N of them; used where the objective pairs.
        fakes: N of them, with the generator's graph.
        objective: A row of the table.
    """
    f = score(fakes)
    if not objective.pairs:
        return objective.generator(f, f).mean()
    with torch.no_grad():
        r = score(reals)
    return objective.generator(r, f).mean()


def _joined(reals: Batch, fakes: Batch) -> Batch:
    """Return both as one batch: no network here mixes items, so one pass scores them as two."""
    return Batch(
        torch.cat([reals.items, fakes.items]),
        torch.cat([reals.c, fakes.c]),
        torch.cat([reals.draws, fakes.draws], dim=1),
    )


def _halves(logits: Tensor) -> tuple[Tensor, Tensor]:
    real, fake = logits.chunk(2)
    return real, fake


def _quarter(batch: Batch) -> Batch:
    """Return each fourth pair, so that parts of a batch hold their share of the penalised."""
    return batch.take(slice(None, None, 4))


def _rest(batch: Batch) -> Batch:
    """Return what `_quarter` leaves."""
    places = torch.arange(len(batch.c), device=batch.c.device).view(-1, 4)[:, 1:].flatten()
    return Batch(batch.items[places], batch.c[places], batch.draws[:, places])
