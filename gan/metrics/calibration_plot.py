"""What the chosen number of images can see, beside the gate's margin: `calibration.png`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gan.metrics.plots import figure, save
from gan.metrics.sheet import FADED, GENERATED, INK, REAL, WARNING, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CALIBRATION = "calibration.png"
_AT_MOST = 100  # comparisons that are drawn; all are counted
_TALL = 40  # comparisons up to this many have a number each


def write_calibration(
    path: Path,
    title: str,
    differences: Sequence[tuple[float, float, float]],
    *,
    margin: float,
    visible: float,
    samples: int,
) -> Path:
    """Write a model's differences from itself, each with its interval, as a forest plot.

    Args:
        path: The PNG file.
        title: Which model this is.
        differences: (value, low, high) of the distance, each of one seed set less another; all of
            the same model, so that the true difference is 0.
        margin: How much worse a challenger's upper bound may be at the gate, in distance, above 0.
        visible: The smallest true difference that this many images can tell from 0, above 0.
        samples: Images of each side, N.

    Returns:
        The path.

    Raises:
        ValueError: There is no difference, or a figure is not finite.
    """
    found = np.array(differences, dtype=np.float64).reshape(-1, 3)
    if len(found) == 0 or not np.isfinite([*found.ravel(), margin, visible]).all():
        raise ValueError("a calibration needs at least one difference, and finite figures only")
    alarms = (found[:, 1] > 0) | (found[:, 2] < 0)
    refused = found[:, 2] > margin
    heading = f"{_finding(margin, visible, samples)}\n{title}"
    caption = (
        f"Each line compares the model with itself on other seeds, N {samples:,} images a side: "
        f"the true difference is 0. {alarms.sum()} of {len(found)} intervals miss 0, a false alarm "
        f"(about 5 % should); the gate would refuse {refused.sum()} of {len(found)}, those that "
        "reach beyond its margin."
    )
    shown = min(len(found), _AT_MOST)
    with figure(9.2, 3.4 + min(0.2, 8 / shown) * shown, heading, caption) as (drawn, box):
        axes = drawn.subplots(gridspec_kw=box)
        places = np.arange(1, shown + 1)
        for mask, colour, label in (
            (~alarms, REAL, "difference, 95 % interval"),
            (alarms, WARNING, "false alarm: misses 0"),
        ):
            some = mask[:shown]
            if some.any():
                axes.hlines(places[some], *found[:shown][some, 1:].T, color=colour, lw=1.8)
                axes.plot(
                    found[:shown][some, 0], places[some], "o", ms=4, color=colour, label=label
                )
        _draw_limits(axes, margin, visible)
        axes.set_ylim(shown + 0.7, 0.3)
        axes.set_ylabel("comparison")
        axes.set_yticks(places if shown <= _TALL else [])
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference of the distance (right: the challenger is worse)")
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 0.99),
            ncols=4,
            fontsize=9,
            handlelength=1.4,
            columnspacing=1.2,
        )
        return save(path, drawn)


def _draw_limits(axes: "Axes", margin: float, visible: float) -> None:
    """Draw 0, what can be seen, and where the gate refuses."""
    axes.axvline(0, color=INK, lw=1)
    axes.axvspan(
        -visible, visible, color=GENERATED, alpha=0.1, lw=0,
        label=f"too small to see: under {number(visible)}",
    )  # fmt: skip
    low, high = axes.get_xlim()
    axes.axvline(margin, color=INK, lw=1.6, ls="--", label=f"gate's margin: {number(margin)}")
    reach = 1.08 * max(abs(low), abs(high), margin, visible)
    axes.set_xlim(-reach, reach)
    axes.tick_params(axis="x", colors=FADED)


def _finding(margin: float, visible: float, samples: int) -> str:
    """Return in words whether the gate can work with this many images."""
    said = f"N {samples:,} images can see a difference of {number(visible)}: "
    if visible <= margin:
        return f"{said}less than the gate's margin of {number(margin)}, as it should be"
    return f"{said}too coarse for the gate's margin of {number(margin)}, raise evaluate.samples"
