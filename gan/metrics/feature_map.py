"""Where real and generated images lie: their features in the plane of most variance, `map.png`.

The plane is that of the first two principal components of both sets together, found by subspace
iteration (Halko 2011, algorithm 4.4) from a fixed start: at 2,048 dimensions a tenth of the time
of all eigenvectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gan.metrics.plots import DPI, figure, save
from gan.metrics.sheet import FADED, GENERATED, INK, PAPER, REAL, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAP = "map.png"
_POINTS_AT_MOST = 4000  # of each set
_COLOURED, _LABELLED = 12, 24  # classes up to which they have colours, and names
_OUTLIERS = 0.002  # of the points may lie outside the frame, at each side of each axis
_CELLS = 128
_HELD = (0.5, 0.9)  # shares of the points that the lines of the third panel hold
_ENOUGH = 100  # points of each set, for a density to mean anything
_ITERATIONS, _OVERSAMPLED = 5, 8
# Tol's muted palette and three more: told apart by colour-blind people, mostly; names stand by.
_CLASS_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77",
    "#cc6677", "#882255", "#aa4499", "#ee7733", "#888888", "#222222",
)  # fmt: skip

Points = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class _Side:
    """One of the two sets, in the plane."""

    name: str
    colour: str
    points: Points  # [n, 2]
    labels: Labels  # [n]

    def centroids(self) -> dict[int, Points]:
        """Return the mean point [2] of each class that occurs."""
        return {
            int(number): self.points[self.labels == number].mean(axis=0)
            for number in np.unique(self.labels)
        }


def write_map(
    path: Path,
    title: str,
    real: tuple[NDArray[np.float32], Labels],
    made: tuple[NDArray[np.float32], Labels],
    classes: Sequence[str],
) -> Path:
    """Write real and generated images as points: each set alone, then both.

    Args:
        path: The PNG file.
        title: Which model this is.
        real: Features [N, D] and class numbers [N]; at most 4,000 evenly chosen are drawn.
        made: Of the generated images, likewise [M, D] and [M].
        classes: The names of all classes; up to 12 have a colour each, up to 24 a name in the map.

    Returns:
        The path.

    Raises:
        ValueError: A set is empty, or a feature is not finite.
    """
    (of_real, real_labels), (of_made, made_labels) = _thinned(*real), _thinned(*made)
    pooled = np.concatenate([of_real, of_made])
    points, shares = _plane(pooled)
    sides = (
        _Side("real", REAL, points[: len(of_real)], real_labels),
        _Side("generated", GENERATED, points[len(of_real) :], made_labels),
    )
    frame = _frame(points)
    outside = int((np.abs(points - frame[0]) > frame[1]).any(axis=1).sum())
    caption = (
        f"{len(of_real):,} real and {len(of_made):,} generated images by their features. The plane "
        f"holds {_percent(sum(shares))} of the variance: what differs outside it is not seen here. "
        f"Right: lines hold 50 % and 90 % of each set. {outside:,} points lie outside the frame."
    )
    enough = min(len(side.points) for side in sides) >= _ENOUGH
    densities = [_density(side.points, frame) for side in sides] if enough else []
    heading = f"{_finding(sides, densities, classes)}\n{title}"
    with figure(15.2, 6.6, heading, caption) as (drawn, box):
        panels = drawn.subplots(1, 3, sharex=True, sharey=True, gridspec_kw={**box, "wspace": 0.06})
        centre, reach = frame
        panels[0].set_xlim(centre[0] - reach, centre[0] + reach)
        panels[0].set_ylim(centre[1] - reach, centre[1] + reach)
        for axes in panels:
            axes.set_xlabel(f"first principal component ({_percent(shares[0])} of the variance)")
            axes.grid(visible=False)
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
        panels[0].set_ylabel(f"second principal component ({_percent(shares[1])})")
        for axes, side in zip(panels, sides, strict=False):
            _draw_points(axes, side, classes)
            _draw_names(axes, side, classes)
        if densities:
            _draw_densities(panels[2], sides, densities, frame)
        else:
            for side in sides:
                _dots(panels[2], side.points, side.colour, side.name)
        _draw_shifts(panels[2], sides, classes)
        panels[2].set_title("both", loc="left", fontsize=11, color=INK)
        panels[2].legend(
            loc="lower right", bbox_to_anchor=(1.02, 0.985), ncols=3, fontsize=8.5,
            handlelength=1.2, columnspacing=1,
        )  # fmt: skip
        return save(path, drawn)


def _thinned(features: NDArray[np.float32], labels: Labels) -> tuple[NDArray[np.float32], Labels]:
    """Return at most 4,000 evenly chosen features and their labels."""
    count = min(len(features), _POINTS_AT_MOST)
    if count == 0:
        raise ValueError("a map of no images is not possible")
    chosen = np.arange(count) * len(features) // count
    found = np.asarray(features[chosen], dtype=np.float32)
    if not np.isfinite(found).all():
        raise ValueError("a map of features that are not finite is not possible")
    return found, np.asarray(labels)[chosen]


def _plane(features: NDArray[np.float32]) -> tuple[Points, tuple[float, float]]:
    """Return [n, 2] coordinates in the plane of most variance, and each axis' share of it."""
    centred = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    dims = features.shape[1]
    start = np.random.default_rng(0).standard_normal((dims, min(_OVERSAMPLED, dims)))
    basis = start.astype(np.float32)
    for _ in range(_ITERATIONS):
        basis, _upper = np.linalg.qr(centred.T @ (centred @ basis))
    inside = (centred @ basis).astype(np.float64)  # [n, k]
    _, _, turn = np.linalg.svd(inside, full_matrices=False)
    points = np.zeros((len(features), 2))
    found = inside @ turn[:2].T
    points[:, : found.shape[1]] = found
    # An axis has no sign of its own: its farthest point is put on the right, or above.
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = float(np.square(centred).sum(dtype=np.float64))
    first, second = (points**2).sum(axis=0) / total if total > 0 else (0.0, 0.0)
    return points, (float(first), float(second))


def _frame(points: Points) -> tuple[Points, float]:
    """Return the centre [2] and half the side of a square around nearly all points."""
    low, high = np.quantile(points, [_OUTLIERS, 1 - _OUTLIERS], axis=0)
    reach = float((high - low).max()) / 2
    return (low + high) / 2, 1.2 * reach if reach > 0 else 1.0


def _density(points: Points, frame: tuple[Points, float]) -> Points:
    """Return the points' share in each cell, smoothed by Scott's rule, [rows y, columns x]."""
    centre, reach = frame
    edges = [np.linspace(c - reach, c + reach, _CELLS + 1) for c in centre]
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=(edges[1], edges[0]))
    cell = 2 * reach / _CELLS
    places = np.arange(_CELLS)
    smooth = []
    for spread in points.std(axis=0):
        width = max(0.6, spread * len(points) ** (-1 / 6) / cell)
        kernel = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
        smooth.append(kernel / kernel.sum(axis=0))
    found: Points = smooth[1] @ counts @ smooth[0].T
    share: Points = found / found.sum()
    return share


def _finding(sides: Sequence[_Side], densities: Sequence[Points], classes: Sequence[str]) -> str:
    """Return in words how the sets lie to each other."""
    if not densities:
        return "Real and generated images in the plane of most variance"
    overlap = float(np.minimum(*densities).sum())
    said = f"Real and generated images overlap by {_percent(overlap)} in the plane of most variance"
    farthest = _farthest(sides)
    return said if farthest is None else f"{said}; farthest off: {readable(classes[farthest])}"


def _farthest(sides: Sequence[_Side]) -> int | None:
    """Return the class whose centroids are farthest apart; None where there is no choice."""
    real, made = (side.centroids() for side in sides)
    gaps = {n: float(np.linalg.norm(real[n] - made[n])) for n in real if n in made}
    return max(gaps, key=lambda n: (gaps[n], -n)) if len(gaps) > 1 else None


def _draw_points(axes: "Axes", side: _Side, classes: Sequence[str]) -> None:
    axes.set_title(side.name, loc="left", fontsize=11, fontweight="bold", color=side.colour)
    if not 1 < len(classes) <= _COLOURED:
        _dots(axes, side.points, side.colour)
        return
    order = np.random.default_rng(0).permutation(len(side.points))  # no class lies over others
    _dots(axes, side.points[order], np.array(_CLASS_COLOURS)[side.labels[order]].tolist())


def _dots(axes: "Axes", points: Points, colour: str | list[str], label: str = "") -> None:
    size = float(np.clip(4e4 / len(points), 5, 40))
    x, y = points.T
    axes.scatter(x, y, s=size, c=colour, alpha=0.55, linewidths=0, label=label)


def _draw_densities(
    axes: "Axes", sides: Sequence[_Side], densities: Sequence[Points], frame: tuple[Points, float]
) -> None:
    """Draw the areas that hold half and nine tenths of the real images, and the lines of both."""
    centre, reach = frame
    steps = (np.arange(_CELLS) + 0.5) * 2 * reach / _CELLS - reach
    x, y = centre[0] + steps, centre[1] + steps
    for side, density in zip(sides, densities, strict=True):
        falling = np.sort(density.ravel())[::-1]
        held = np.cumsum(falling)
        levels = sorted({float(falling[np.searchsorted(held, share)]) for share in _HELD})
        if side.name == "real":
            areas = [*levels, float(falling[0]) * 1.01]
            axes.contourf(x, y, density, areas, colors=["#cfe2f3", "#9cc3e6"][-len(levels) :])
        thick = (1.2, 2.2)[-len(levels) :]
        axes.contour(x, y, density, levels, colors=side.colour, linewidths=thick)
        axes.plot([], [], color=side.colour, lw=2.2, label=side.name)


def _draw_shifts(axes: "Axes", sides: Sequence[_Side], classes: Sequence[str]) -> None:
    """Draw how far each class lies off, from its real centroid to its generated one."""
    if not 1 < len(classes) <= _LABELLED:
        return
    real, made = (side.centroids() for side in sides)
    for n in sorted(set(real) & set(made)):
        axes.plot(*np.stack([real[n], made[n]]).T, color=INK, lw=1.3, zorder=5)
        axes.plot(*made[n], "o", ms=4, color=GENERATED, mec=INK, mew=0.8, zorder=6)
    label = "class centres: real to generated"
    axes.plot([], [], "o-", color=INK, mfc=GENERATED, ms=4, lw=1.3, label=label)
    farthest = _farthest(sides)
    if farthest is not None:
        _place(axes, [(readable(classes[farthest]), made[farthest])])


def _draw_names(axes: "Axes", side: _Side, classes: Sequence[str]) -> None:
    if not 1 < len(classes) <= _LABELLED:
        return
    centroids = side.centroids()
    coloured = len(classes) <= _COLOURED
    for number, point in centroids.items():
        ink = _CLASS_COLOURS[number] if coloured else INK
        axes.plot(*point, "o", ms=6, color=ink, mec=PAPER, mew=1.2, zorder=5)
    _place(axes, [(readable(classes[number]), point) for number, point in centroids.items()])


def _place(axes: "Axes", names: Sequence[tuple[str, Points]]) -> None:
    """Write names beside their points, each where it lies over no other as far as there is room."""
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    canvas: Any = axes.figure.canvas
    renderer = canvas.get_renderer()
    dots = axes.transData.transform(np.array([point for _, point in names]))
    taken: list[Any] = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in dots]
    for name, point in sorted(names, key=lambda pair: (-pair[1][1], pair[0])):
        shown = name if len(name) <= 22 else f"{name[:10]}…{name[-11:]}"
        text = axes.annotate(
            shown, (float(point[0]), float(point[1])), xytext=(0, 0), textcoords="offset points",
            fontsize=9, ha="center", va="center", zorder=7,
            path_effects=[withStroke(linewidth=3, foreground=PAPER)],
            arrowprops={"arrowstyle": "-", "color": FADED, "lw": 0.7, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
        wide = Text.get_window_extent(text, renderer).width * 72 / DPI
        for offset in _around(wide / 2 + 6):
            text.set_position(offset)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # without the leader, which may cross
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def _around(beside: float) -> Iterator[tuple[float, float]]:
    """Yield places about a point, in typographic points, the nearest first."""
    for far in range(12, 84, 12):
        yield from ((0, far), (0, -far), (beside, far - 12), (-beside, far - 12))
        yield from ((beside, 12 - far), (-beside, 12 - far))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
