"""Signs that a generator collapses, read off the figures that the tracker measures.

Every figure is held against the best that the same training has reached, so that a recipe on hard
data is judged by its own standard, and an untrained generator (diversity 0.2, coverage 0) by none.
A measurement with a new best distance shows no sign at all: features spread widely on noise too,
so diversity and rank may well fall while a young generator learns what its data look like.
"""

import math
from collections.abc import Mapping

_DISTANCE = "fd"
_SHARES = ("diversity", "worst_diversity", "coverage", "worst_coverage", "rank")

_RISE = 3.0  # of the distance, times the best
_DIVERSITY_LEFT, _DIVERSITY_LEAST = 0.7, 0.6  # of the best; of the reals', once settled
_TEXTBOOK_LEFT = 0.4  # of the best diversity: their diversity is low, and swings
_RANK_LEFT, _CLASS_DIVERSITY_LEFT, _COVERAGE_LEFT = 0.4, 0.5, 0.5  # of the best
_DIVERSE, _COVERED = 0.5, 0.2  # a best below this is no height to fall from
_CLASS_LOST, _CLASS_HAD, _OTHERS_HAVE = 0.2, 0.4, 0.5  # of a class now and at best; of the mean


def signs_of_collapse(
    figures: Mapping[str, float], best: Mapping[str, float], *, settled: bool, paired: bool
) -> dict[str, str]:
    """Return what a measurement shows against the training, a sentence for each guard.

    Args:
        figures: Of the tracker; a figure that is absent shows nothing, one that is not finite is
            the worst there is.
        best: What `best_of` made of the measurements before.
        settled: Whether so much of the run is over that diversity may be judged by itself.
        paired: Whether the loss is the relativistic one: the textbook's generators, trained as
            they should be, draw one image for a class more often than not.
    """
    now = _plain(figures)
    distance, nearest = now.get(_DISTANCE, 0.0), best.get(_DISTANCE, math.inf)
    if distance < nearest and _DISTANCE in now:
        return {}
    signs = {}
    if distance > _RISE * nearest:
        signs["distance"] = f"{_DISTANCE} is {distance:.2f}, at best it was {nearest:.2f}"
    left = _DIVERSITY_LEFT if paired else _TEXTBOOK_LEFT
    least = _DIVERSITY_LEAST if paired and settled else 0.0
    if _has_fallen(now, best, "diversity", left) or now.get("diversity", least) < least:
        signs["collapse"] = _sentence("diversity", now, best)
    elif _has_fallen(now, best, "rank", _RANK_LEFT):
        signs["collapse"] = _sentence("rank", now, best)
    return signs | _lost_ground(now, best)


def best_of(figures: Mapping[str, float], best: Mapping[str, float]) -> dict[str, float]:
    """Return the best of each figure so far, this measurement included.

    A share counts up to 1: fakes that are more diverse than the reals are no better for it.
    """
    now = _plain(figures)
    found = dict(best)
    for name in _SHARES:
        if name in now:
            found[name] = max(min(now[name], 1.0), best.get(name, 0.0))
    if now.get(_DISTANCE, math.inf) < best.get(_DISTANCE, math.inf):
        found[_DISTANCE] = now[_DISTANCE]
    return found


def _lost_ground(now: Mapping[str, float], best: Mapping[str, float]) -> dict[str, str]:
    """Return what shows that reals, or one class of them, are no longer drawn."""
    signs = {}
    if _has_fallen(now, best, "coverage", _COVERAGE_LEFT):
        signs["coverage"] = _sentence("coverage", now, best)
    had = best.get("worst_coverage", 0.0) > _CLASS_HAD and now.get("coverage", 0.0) > _OTHERS_HAVE
    if had and now.get("worst_coverage", 1.0) < _CLASS_LOST:
        signs["class"] = _sentence("worst_coverage", now, best)
    elif _has_fallen(now, best, "worst_diversity", _CLASS_DIVERSITY_LEFT):
        signs["class"] = _sentence("worst_diversity", now, best)
    return signs


def _plain(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures with the worst in place of what is not finite."""
    worst = dict.fromkeys(_SHARES, 0.0) | {_DISTANCE: math.inf}
    return {
        name: figures[name] if math.isfinite(figures[name]) else worst[name]
        for name in worst
        if name in figures
    }


def _has_fallen(
    now: Mapping[str, float], best: Mapping[str, float], name: str, left: float
) -> bool:
    reached = best.get(name, 0.0)
    height = _COVERED if name == "coverage" else _DIVERSE
    return name in now and reached >= height and now[name] < left * reached


def _sentence(name: str, now: Mapping[str, float], best: Mapping[str, float]) -> str:
    return f"{name} is {now[name]:.2f} of the reals', at best it was {best.get(name, 0.0):.2f}"
