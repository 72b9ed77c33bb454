"""What a gate's page shows of figures: how far from the limit each is, and which check used it.

All drawings of a page have one scale: 0 is as the champion, 1 is the limit, right is worse.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.page_style import cell, head, minus, table, text

CLASSES_SHOWN = 24
_REACH_LEAST, _REACH_MOST = 1.6, 4.0  # of the scale, in limits
_WIDTH, _MIDDLE, _HEIGHT = 220.0, 14.0, 28.0
# How the sentences of each check begin, or what is in them; the name that the page gives it.
_BEST, _FLOOR = "Against the best champion so far", "Floor"
_CHECKS = (
    (r"not all could be found out", "What is missing"),
    (r"of the classes|no class |class '|there is no coverage of any|coverage of class", "Classes"),
    (r".*best champion", _BEST),
    (r"of recall and coverage|recall |there is no recall", "Diversity"),
    (r"fd_share |there is no fd_share", _FLOOR),
    (r"time and memory|.* MB an asset", "Time and memory"),
    (r".*cop(y|ies) training images", "Copies"),
    (r".*in a clean process", "A clean process"),
    (r"checks |nothing was checked|the evidence does not say", "Bundle"),
    (r".*champion|the comparison|the paired difference", "Against the champion"),
)


@dataclass(frozen=True)
class Figure:
    """A measured value with its interval and the limit that the gate holds it to.

    Attributes:
        check: The name of the check that it belongs to.
        name: What was measured.
        value: In the metric's own unit, with `low` and `high`.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        limit: In the same unit.
        more_is_worse: Whether the limit is an upper one.
    """

    check: str
    name: str
    value: float
    low: float
    high: float
    limit: float
    more_is_worse: bool

    @property
    def places(self) -> tuple[float, float, float]:
        """The least bad, the value and the worst, in limits: 0 as the champion, 1 the limit."""
        size = abs(self.limit) or max(abs(self.low), abs(self.high)) or 1.0
        sign = 1 if self.more_is_worse else -1
        low, value, high = (sign * each / size for each in (self.low, self.value, self.high))
        return min(low, high), value, max(low, high)

    @property
    def bound(self) -> float:
        """Where the limit is on that scale: a limit of 0 is at 0."""
        return 1.0 if self.limit else 0.0


def check_of(reason: str) -> str:
    """Return the name of the check whose sentence this is, "" for one that is not known here."""
    return next((name for begins, name in _CHECKS if re.match(begins, reason)), "")


def figures(evidence: Mapping[str, Any], gate: Mapping[str, Any]) -> list[Figure]:
    """Return the figures that have an interval and a limit; one that is no measurement is none."""
    found: list[Figure | None] = []
    paired = evidence.get("paired")
    for check, part in (("Against the champion", paired), (_BEST, evidence.get("best"))):
        if part and gate.get("margin") is not None:
            limit = gate["margin"] * _number(part["champion_fd"])
            found.append(_figure(check, "distance", part["difference"], limit, worse=True))
    floor = gate.get("max_fd_share")
    if evidence.get("fd_share") and floor is not None:
        found.append(_figure(_FLOOR, "fd_share", evidence["fd_share"], floor, worse=True))
    for name in ("recall", "coverage"):
        if paired and paired.get(name) and gate.get("diversity") is not None:
            limit = -gate["diversity"] * _number(paired[name]["champion"])
            part = paired[name]["difference"]
            found.append(_figure("Diversity", name, part, limit, worse=False))
    return [each for each in found if each is not None]


def of_classes(evidence: Mapping[str, Any], gate: Mapping[str, Any]) -> list[Figure]:
    """Return the coverage of each class against the champion's, the greatest loss first."""
    share = gate.get("worst_class")
    found = [
        _figure(
            "Classes",
            name,
            part["difference"],
            -(share if share is not None else 1.0) * _number(part["champion"]),
            worse=False,
        )
        for name, part in ((evidence.get("paired") or {}).get("classes") or {}).items()
    ]
    return sorted((each for each in found if each), key=lambda each: (each.value, each.name))


def reach_of(shown: Iterable[Figure]) -> float:
    """Return how far the scale of a page goes to both sides of 0, in limits."""
    ends = (abs(place) for each in shown for place in each.places)
    return min(_REACH_MOST, max(_REACH_LEAST, *ends, 0.0) * 1.1)


def plot(figure: Figure, state: str, reach: float) -> str:
    """Return a figure as SVG: its interval, the limit as a line, what is beyond it shaded.

    Args:
        figure: What is drawn; ends beyond the scale become arrows.
        state: `pass`, `fail` or `unknown`: the colour of one that is not within its limit.
        reach: Of the scale, in limits.
    """
    low, value, high = (_at(place, reach) for place in figure.places)
    zero, limit = _at(0, reach), _at(figure.bound, reach)
    ends = "".join(
        f"M{x:.1f} {_MIDDLE - 4}v8" if abs(place) <= reach else _arrow(x, place)
        for x, place in ((low, figure.places[0]), (high, figure.places[2]))
    )
    value_text, low_text, high_text, limit_text = _said(figure)
    said = f"{figure.name}: {value_text}, {low_text} to {high_text}; limit {limit_text}"
    colour = state if figure.places[2] > figure.bound else "pass"
    return (
        f'<svg class="{colour}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-label="{text(said)}"><rect class="beyond" x="{limit:.1f}" y="1" '
        f'width="{_WIDTH - limit:.1f}" height="{_HEIGHT - 2:g}"/>'
        f'<path class="zero" d="M{zero:.1f} 1v{_HEIGHT - 2:g}"/>'
        f'<path class="limit" d="M{limit:.1f} 1v{_HEIGHT - 2:g}"/>'
        f'<path class="span" d="M{low:.1f} {_MIDDLE:g}H{high:.1f}{ends}"/>'
        f'<circle cx="{value:.1f}" cy="{_MIDDLE:g}" r="4.5"/></svg>'
    )


def interval(figure: Figure) -> str:
    """Return value, bounds and limit in figures, as HTML."""
    value, low, high, limit = map(minus, _said(figure))
    word = "at most" if figure.more_is_worse else "at least"
    return f"{text(figure.name)} {value} <small>[{low}, {high}], {word} {limit}</small>".lstrip()


def legend(shown: Sequence[Figure]) -> str:
    """Return in a sentence how the drawings are read; "" where there is none."""
    if not shown:
        return ""
    return (
        "In each drawing the line at the edge of the shaded part is the limit, the dashed line is "
        "as the champion (of the floor: a distance of 0); the bar is the 95 % interval, and right "
        "is worse. All have one scale, in limits."
    )


def class_table(found: Sequence[Figure], gate: Mapping[str, Any], reach: float) -> str:
    """Return how the coverage of each class changed, the greatest loss first."""
    if not found:
        return ""
    shown = found[:CLASSES_SHOWN]
    rows = "".join(
        f'<tr role="row">{head(f"<bdi>{text(each.name)}</bdi>")}'
        f"{cell('Coverage', interval(replace(each, name='')))}"
        f"{cell('Against the limit', plot(each, _fares(each), reach))}</tr>\n"
        for each in shown
    )
    limit = (
        "No limit is set (gate.worst_class: null); the line is where nothing would be left."
        if gate.get("worst_class") is None
        else "A class fails only where its whole interval is beyond the limit: of many classes "
        "some interval reaches beyond it by chance."
    )
    more = f" The {len(shown)} of {len(found)} that lost most are shown." * (shown != found)
    heads = ("Class", "Coverage against the champion&rsquo;s", "Against the limit")
    return (
        f"<h2>Coverage by class</h2>\n{table(heads, rows, 'classtable')}"
        f'<p class="faded">{text(limit + more)}</p>\n'
    )


def _fares(figure: Figure) -> str:
    """Return the colour of a class: it is shown to be beyond the limit, might be, or is not."""
    best, _, worst = figure.places
    if best > figure.bound:
        return "fail"
    return "unknown" if worst > figure.bound else "pass"


def _figure(
    check: str, name: str, found: Mapping[str, Any], limit: float, *, worse: bool
) -> Figure | None:
    value, low, high = (_number(found[part]) for part in ("value", "low", "high"))
    sound = all(math.isfinite(each) for each in (value, low, high, limit)) and low <= value <= high
    return Figure(check, name, value, low, high, limit, worse) if sound else None


def _number(value: Any) -> float:  # a number, or a word for one that is not finite
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _at(place: float, reach: float) -> float:
    inner = _WIDTH / 2 - 6
    return _WIDTH / 2 + inner * max(-1.0, min(1.0, place / reach))


def _arrow(x: float, place: float) -> str:
    back = -5 if place > 0 else 5
    return f"M{x + back:.1f} {_MIDDLE - 5:g}L{x:.1f} {_MIDDLE:g}L{x + back:.1f} {_MIDDLE + 5:g}"


def _said(figure: Figure) -> tuple[str, str, str, str]:
    """Return value, bounds and limit in figures; differences with their sign."""
    form = ".3g" if figure.check == _FLOOR else "+.3g"
    value, low, high, limit = (
        f"{each:{form}}" if each else "0"
        for each in (figure.value, figure.low, figure.high, figure.limit)
    )
    return value, low, high, limit
