"""How a training went, as a curve whose title says what is seen; and the style of all plots.

    distance.png   the tracked distance against kimg, coverage and diversity below it

matplotlib is imported in the functions and used without pyplot: nothing is kept between calls, a
user's own settings do not count, and equal arguments give equal bytes on the same matplotlib.
"""

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.durable import write_atomically
from gan.metrics.sheet import FADED, GENERATED, INK, PAPER, REAL, RULE, WARNING, number, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE = "distance.png"
DPI = 110
_EVENTS = {"rollback": "roll-back", "stop": "stopped", "stall": "stalled"}
_EVENTS_AT_MOST = 12  # more would hide the curve
_PERFECT = "A perfect generator has diversity 1 and coverage 0.97."
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $x$
    "axes.edgecolor": FADED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": FADED,
    "ytick.color": FADED,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class _Point:
    """A measurement, and whether a roll-back went back over it."""

    kimg: float
    distance: float
    row: Mapping[str, Any]
    undone: bool


def write_curve(
    path: Path, title: str, rows: Sequence[Mapping[str, Any]], *, packed_kimg: float | None = None
) -> Path | None:
    """Write how the tracked distance went during a training.

    Args:
        path: The PNG file.
        title: Which model this is.
        rows: Lines of `stats.jsonl`, oldest first: those with a finite `fd` are the points, those
            with an `event` of a roll-back or an early end become marks, others are passed over.
        packed_kimg: Where the weights of the bundle are from, if known.

    Returns:
        The path; None, and nothing is written, where no row holds a finite distance.
    """
    points = _points(rows)
    if not points:
        return None
    lower = any(_finite(p.row.get(name)) for p in points for name in ("coverage", "diversity"))
    finding, caption = _curve_finding(points), _curve_caption(points, lower=lower)
    with figure(9.2, 6.4 if lower else 4.4, f"{finding}\n{title}", caption) as (made, box):
        if lower:
            top, bottom = made.subplots(2, 1, sharex=True, gridspec_kw={**box, "hspace": 0.3})
            _draw_shares(bottom, points)
        else:
            top = bottom = made.subplots(gridspec_kw=box)
        _draw_distance(top, points, packed_kimg)
        _draw_events(top, rows)
        bottom.set_xlim(left=0)
        bottom.set_xlabel("real images shown to the critic, thousands (kimg)")
        return save(path, made)


@contextmanager
def figure(
    width: float, height: float, heading: str, caption: str
) -> Iterator[tuple["Figure", dict[str, float]]]:
    """Yield an empty figure under our style, and the part of it that is free for axes.

    Width and height in inches; the heading is the finding and, on a second line, what it is about.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        made = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(made)
        finding, about = heading.split("\n", 1)
        y = 1 - 0.16 / height
        for line in textwrap.wrap(finding, int(9.0 * width)):
            made.text(0.35 / width, y, line, fontsize=14, fontweight="bold", va="top")
            y -= 0.26 / height
        made.text(0.35 / width, y, readable(about), fontsize=10, color=FADED, va="top")
        lines = textwrap.wrap(caption, int(12.5 * width))
        for number, line in enumerate(reversed(lines)):
            place = (0.12 + 0.18 * number) / height
            made.text(0.35 / width, place, line, fontsize=9, color=FADED)
        yield (
            made,
            {
                "left": 0.85 / width,
                "right": 1 - 0.35 / width,
                "bottom": (0.72 + 0.18 * len(lines)) / height,
                "top": y - 0.55 / height,
            },
        )


def save(path: Path, made: "Figure") -> Path:
    """Write a figure as PNG, without a date or the name of a program, and return where."""
    file = io.BytesIO()
    made.savefig(file, format="png", metadata={"Software": None})
    write_atomically(path, file.getvalue())
    return path


def _points(rows: Sequence[Mapping[str, Any]]) -> list[_Point]:
    """Return the finite measurements, oldest first."""
    began: dict[int, float] = {}  # by attempt; it is as far as the roll-back to it went
    for row in rows:
        if "event" not in row and _finite(row.get("kimg")):
            attempt = int(row.get("attempt", 0))
            began[attempt] = min(began.get(attempt, math.inf), float(row["kimg"]))
    found = []
    for row in rows:
        if _finite(row.get("fd")) and _finite(row.get("kimg")):
            kimg, attempt = float(row["kimg"]), int(row.get("attempt", 0))
            undone = any(kimg >= first for later, first in began.items() if later > attempt)
            found.append(_Point(kimg, float(row["fd"]), row, undone))
    return found


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _curve_finding(points: Sequence[_Point]) -> str:
    """Return in words how the distance went."""
    kept = [p for p in points if not p.undone] or list(points)
    first, last = kept[0], kept[-1]
    best = min(kept, key=lambda p: p.distance)
    if len(kept) == 1:
        return f"One measurement: distance {number(last.distance)} at {number(last.kimg)} kimg"
    if max(p.distance for p in kept) - best.distance <= 1e-6 * abs(best.distance):
        return f"The distance stayed at {number(best.distance)}"
    if best is last:
        return f"The distance fell from {number(first.distance)} to {number(last.distance)}"
    if best is first:
        return f"The distance rose from {number(first.distance)} to {number(last.distance)}"
    return (
        f"The distance was best at {number(best.kimg)} kimg, {number(best.distance)}, and ended "
        f"at {number(last.distance)}"
    )


def _curve_caption(points: Sequence[_Point], *, lower: bool) -> str:
    """Return how many images a point is of, and what it may be compared with."""
    counts = [int(p.row["samples"]) for p in points if _finite(p.row.get("samples"))]
    sizes = sorted({min(counts), max(counts)}) if counts else []
    said = f"N {' to '.join(f'{size:,}' for size in sizes)} images a point: to" if sizes else "To"
    said += " compare with points of this curve only, not with an evaluation. Lower is better."
    return f"{said} {_PERFECT}" if lower else said


def _draw_distance(axes: "Axes", points: Sequence[_Point], packed_kimg: float | None) -> None:
    """Draw the distance, the best of it and what was packed."""
    kept = [p for p in points if not p.undone] or list(points)
    undone = [p for p in points if p.undone and p not in kept]
    if undone:
        axes.plot(
            [p.kimg for p in undone],
            [p.distance for p in undone],
            "o",
            ms=4,
            mfc=PAPER,
            color=FADED,
            label="undone by a roll-back",
        )
    axes.plot([p.kimg for p in kept], [p.distance for p in kept], "o-", ms=4, lw=1.8, color=REAL)
    best = min(kept, key=lambda p: p.distance)
    marks = [(best, "best", GENERATED, "o")]
    if packed_kimg is not None:
        packed = min(kept, key=lambda p: abs(p.kimg - packed_kimg))
        if not math.isclose(packed.kimg, packed_kimg, rel_tol=0.005):
            label = f"packed, at {number(packed_kimg)} kimg"
            axes.axvline(packed_kimg, color=INK, lw=1.2, ls=":", label=label)
        elif packed.distance == best.distance:
            marks = [(packed, "best, packed", GENERATED, "o")]
        else:
            marks.append((packed, "packed", INK, "s"))
    for point, word, colour, marker in marks:
        label = f"{word}: {number(point.distance)} at {number(point.kimg)} kimg"
        axes.plot(
            [point.kimg],
            [point.distance],
            marker,
            ms=10,
            mew=2,
            mfc="none",
            color=colour,
            label=label,
        )
    values = [p.distance for p in points]
    axes.set_ylabel("distance to the real images")
    if min(values) > 0 and max(values) / min(values) > 10:
        _log(axes)
    elif max(values) > min(values):
        axes.set_ylim(max(0, min(values) - 0.15 * (max(values) - min(values))), None)
    _legend(axes)


def _log(axes: "Axes") -> None:
    """Give an axis of several decades plain figures at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_events(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw roll-backs and early ends as vertical marks."""
    shown = [row for row in rows if row.get("event") in _EVENTS and _finite(row.get("nimg"))]
    for row in shown[-_EVENTS_AT_MOST:]:
        kimg = row["nimg"] / 1000
        guard = f": {readable(str(row['guard']))[:24]}" if row.get("guard") else ""
        axes.axvline(kimg, color=WARNING, lw=1.2, ls=(0, (4, 3)))
        axes.annotate(
            f"{_EVENTS[row['event']]}{guard}",
            (kimg, 0.98),
            xytext=(-3, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=8,
            color=WARNING,
        )


def _draw_shares(axes: "Axes", points: Sequence[_Point]) -> None:
    """Draw coverage and diversity, of all classes and of the worst."""
    kept = [p for p in points if not p.undone] or list(points)
    highest = 1.0
    for name, colour in (("diversity", GENERATED), ("coverage", REAL)):
        for prefix, line, wide in (("", "o-", 1.8), ("worst_", "--", 1.2)):
            found = [p for p in kept if _finite(p.row.get(prefix + name))]
            if not found:
                continue
            values = [float(p.row[prefix + name]) for p in found]
            highest = max(highest, *values)
            label = f"{name}, worst class" if prefix else name
            axes.plot(
                [p.kimg for p in found], values, line, ms=3, lw=wide, color=colour, label=label
            )
    axes.axhline(1, color=FADED, lw=0.9, ls=":")
    axes.set_ylim(0, 1.08 * highest)
    axes.set_ylabel("relative to the real images")
    _legend(axes)


def _legend(axes: "Axes") -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.99),
        ncols=4,
        fontsize=9,
        handlelength=1.6,
        columnspacing=1.4,
        borderaxespad=0.2,
    )
