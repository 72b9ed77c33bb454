"""Signs that a step goes wrong, read off the means between two ticks: one function for each guard.

Each returns {guard: what was seen}, or nothing. Some limits know what is usual in this training,
the others count only once it is `settled`: an untrained critic wins, and untrained fakes saturate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_VANISHED, _DEAD = 1e-3, 1e-8  # times the median; a norm that is as good as none
_GAP, _GAP_GROWING, _POSITIVE = 10.0, 5.0, 0.99
_APART, _PENALTY_RISE, _PENALTY_LEAST = 10.0, 50.0, 1e-8
_SATURATED = 0.3


@dataclass(frozen=True)
class Tick:
    """What the steps since the last tick showed; means are over those steps.

    Attributes:
        nimg: Real images shown so far.
        steps: Since the last tick, at least 1.
        nonfinite: Skips for a loss or gradient that is not finite, of both networks.
        spikes: Skips for a gradient over its limit, of both networks.
        gap: Mean of d = D(real) - D(fake).
        positive: Share of pairs with d > 0.
        r1: Squared gradient of D on reals, mean.
        r2: The same on fakes.
        penalty_share: gamma/2 (r1 + r2) over the critic's loss.
        grad_d: Global gradient norm of D.
        grad_g: Global gradient norm of G.
        saturation: Share of the fakes' values beyond +-1.2.
        loss_d: Of the critic.
        loss_g: Of the generator.
    """

    nimg: int
    steps: int
    nonfinite: int
    spikes: int
    gap: float
    positive: float
    r1: float
    r2: float
    penalty_share: float
    grad_d: float
    grad_g: float
    saturation: float
    loss_d: float
    loss_g: float


@dataclass(frozen=True)
class Usual:
    """What the ticks before showed.

    Attributes:
        medians: Running medians by the name of a tick's field; None while there are too few.
        gap_before: The gap a window ago, or None at the first tick.
    """

    medians: Mapping[str, float | None]
    gap_before: float | None


def signs_of_vanishing(tick: Tick, usual: Usual, *, settled: bool) -> dict[str, str]:
    """Return a sign where the gradient of a network is a thousandth of its median, or nothing."""
    for name, norm in (("D", tick.grad_d), ("G", tick.grad_g)):
        before = usual.medians[f"grad_{name.lower()}"] or 0.0
        if norm < _VANISHED * before or (settled and norm < _DEAD):
            return {"vanishing": f"the gradient of {name} is {norm:.2g}, usual is {before:.2g}"}
    return {}


def signs_of_saturation(tick: Tick) -> dict[str, str]:
    """Return a sign where too many of the fakes' values lie outside what an image can hold."""
    if tick.saturation > _SATURATED:
        return {"saturation": f"{tick.saturation:.0%} of the fakes' values are beyond +-1.2"}
    return {}


def signs_of_a_winning_critic(tick: Tick, usual: Usual) -> dict[str, str]:
    """Return a sign where the gap is wide or doubles, or where nearly all pairs are told apart."""
    grows = usual.gap_before is not None and tick.gap > max(_GAP_GROWING, 2 * usual.gap_before)
    if tick.gap > _GAP or grows or tick.positive > _POSITIVE:
        pairs = f"{tick.positive:.1%} of the pairs are told apart"
        return {"critic": f"the critic wins: its gap is {tick.gap:.3g} and {pairs}"}
    return {}


def signs_of_odd_penalties(tick: Tick, usual: Usual, *, settled: bool) -> dict[str, str]:
    """Return a sign where R1 and R2 drift apart, or one is 50 times its median."""
    low, high = sorted((tick.r1, tick.r2))
    if settled and high > max(_PENALTY_LEAST, _APART * low):
        return {"penalty": f"the penalties are apart: R1 {tick.r1:.3g}, R2 {tick.r2:.3g}"}
    for name, value in (("R1", tick.r1), ("R2", tick.r2)):
        before = usual.medians[name.lower()]
        if before is not None and value > max(_PENALTY_LEAST, _PENALTY_RISE * before):
            return {"penalty": f"{name} is {value:.3g}, usual is {before:.3g}"}
    return {}
