"""R3GAN's objective: relativistic pairing with zero-centred penalties on reals and on fakes.

With d = D(A(x), c) - D(A(G(z, c)), c) for a pair of one class, A the augmentation, sp = softplus:

    L_D = mean[sp(-d)] + gamma/2 (mean ||grad_x D(A(x), c)||^2 + mean ||grad_y D(A(y), c)||^2)
    L_G = mean[sp(d)]

The penalties are taken on a random quarter of the batch, every step: unbiased, and a third of the
iteration's arithmetic is saved (finite differences and lazy penalties lost quality in our trials).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class CriticTerms:
    """The parts of the critic's loss, 0-dimensional float32 tensors."""

    loss: Tensor
    pairing: Tensor
    r1: Tensor
    r2: Tensor
    gap: Tensor


def critic_loss(
    score: Score, reals: Tensor, fakes: Tensor, c: Tensor, gamma: float, penalised: int
) -> CriticTerms:
    """Return the critic's loss and its parts.

    Args:
        score: (images, classes) -> logits [N], augmentation included, so that the penalty's
            gradient is with respect to the image before it.
        reals: [N, ...], float32.
        fakes: [N, ...], float32, without a graph; made with the reals' classes.
        c: Class indices, [N], int64.
        gamma: Weight of both penalties.
        penalised: How many pairs, the first ones, the penalties are taken on.
    """
    first = torch.cat([reals[:penalised], fakes[:penalised]]).requires_grad_()
    first_logits = score(first, c[:penalised].repeat(2))
    (gradient,) = torch.autograd.grad(first_logits.sum(), first, create_graph=True)
    norms = gradient.square().flatten(1).sum(dim=1)  # [2 penalised]
    r1, r2 = norms[:penalised].mean(), norms[penalised:].mean()
    rest = torch.cat([reals[penalised:], fakes[penalised:]])
    rest_logits = score(rest, c[penalised:].repeat(2))
    d = torch.cat([_margin(first_logits), _margin(rest_logits)])  # [N]
    pairing = softplus(-d).mean()
    return CriticTerms(pairing + gamma / 2 * (r1 + r2), pairing, r1, r2, d.mean())


def generator_loss(score: Score, reals: Tensor, fakes: Tensor, c: Tensor) -> Tensor:
    """Return the generator's loss, a 0-dimensional tensor; the reals' scores are constants in it.

    Args:
        score: (images, classes) -> logits [N], augmentation included.
        reals: [N, ...], float32.
        fakes: [N, ...], float32, with the generator's graph.
        c: Class indices, [N], int64.
    """
    with torch.no_grad():
        real_logits = score(reals, c)
    return softplus(real_logits - score(fakes, c)).mean()


def _margin(logits: Tensor) -> Tensor:
    """Return real minus fake for logits of [reals, fakes]."""
    real, fake = logits.chunk(2)
    return real - fake
