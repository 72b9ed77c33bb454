"""Which class and audience each candidate is drawn for, so that a request is met within its budget.

A request is cut into cells, a class of a segment each, by largest remainders. The first round draws
exactly what is wanted, each later one what is still short over the acceptance rate seen so far.
All of it is a function of the request and the verdicts: a batch that was killed plans the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gan.errors import UsageError
from gan.sections import CampaignSpec

_PRIOR = 8.0  # candidates that the rate of all cells counts for in the rate of one


@dataclass(frozen=True)
class Cell:
    """A class of an audience.

    Attributes:
        segment: The audience, or "".
        number: Of the class, in the model's order.
        class_: Its name.
        wanted: Accepted assets.
    """

    segment: str
    number: int
    class_: str
    wanted: int


def cells(spec: CampaignSpec, classes: Sequence[str]) -> list[Cell]:
    """Return what a campaign wants of a model with these classes; the counts add up exactly.

    Raises:
        UsageError: A weight names a class that the model does not know.
    """
    if spec.segments is None:
        return _cut("", spec.count, spec.classes, classes, "assets.classes")
    found = []
    for name, segment in spec.segments.items():
        where = f"assets.segments.{name}.classes" if segment.classes else "assets.classes"
        found += _cut(name, segment.count, segment.classes or spec.classes, classes, where)
    return found


def plan(asked: Sequence[Cell], made: Sequence[int], passed: Sequence[int], left: int) -> list[int]:
    """Return which cell each candidate of the next round is drawn for; empty when it is over.

    Args:
        asked: The cells of the request.
        made: Candidates of each so far.
        passed: Those of them that passed, at most what is wanted of each.
        left: Candidates that the budget still has.
    """
    overall = (sum(passed) + 1) / (sum(made) + 1)
    wanted = []
    for cell, tried, good in zip(asked, made, passed, strict=True):
        rate = (good + _PRIOR * overall) / (tried + _PRIOR)
        short = cell.wanted - good
        wanted.append(math.ceil(short / min(rate, 1.0)) if sum(made) else short)
    # Spread evenly: whichever part of a round comes first, it holds every cell in its share.
    places = [((n + 0.5) / count, i) for i, count in enumerate(wanted) for n in range(count)]
    return [cell for _, cell in sorted(places)[: max(left, 0)]]


def most_candidates(spec: CampaignSpec) -> int:
    """Return how many candidates the budget of a campaign allows in all."""
    return math.floor(spec.budget * spec.wanted)


def _cut(
    segment: str,
    count: int,
    weights: dict[str, float] | None,
    classes: Sequence[str],
    where: str,
) -> list[Cell]:
    """Share `count` among classes: whole parts first, then the largest remainders, in order."""
    weights = weights or dict.fromkeys(classes, 1.0)
    if unknown := sorted(set(weights) - set(classes)):
        raise UsageError(
            f"params.yaml: {where}: the model knows no class {unknown[0]!r}; it has "
            f"{', '.join(classes)}. Correct it there."
        )
    total = math.fsum(weights.values())
    names = [name for name in classes if name in weights]
    exact = [count * weights[name] / total for name in names]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(names)), key=lambda place: shares[place] - exact[place])
    for place in by_remainder[: count - sum(shares)]:
        shares[place] += 1
    return [
        Cell(segment, classes.index(name), name, share)
        for name, share in zip(names, shares, strict=True)
        if share
    ]
