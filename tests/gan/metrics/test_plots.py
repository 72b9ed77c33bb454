"""Curves, maps and calibrations: drawn from any figures, the same bytes each time."""

import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gan.metrics.calibration_plot import write_calibration
from gan.metrics.feature_map import write_map
from gan.metrics.plots import write_curve

HOSTILE = "$\\frac{1}$\n_x\u202e猫" + "y" * 300
Rows = list[dict[str, Any]]


def opened(payload: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG of sane size that holds no date and no program's name."""
    with Image.open(io.BytesIO(payload)) as picture:
        assert picture.format == "PNG"
        assert not {"Software", "Creation Time", "date"} & set(picture.info)
        pixels = np.array(picture.convert("RGB"))
    assert all(300 < side < 3000 for side in pixels.shape[:2])
    assert (pixels < 100).any()
    return pixels


def curve(folder: Path, rows: Rows, packed_kimg: float | None = None) -> bytes:
    """Return the bytes of a curve."""
    path = write_curve(folder / "curve.png", "tiny 1234", rows, packed_kimg=packed_kimg)
    assert path is not None
    return path.read_bytes()


def measured(*distances: float, **more: float) -> Rows:
    """Return rows of measurements at 10, 20, 30 ... kimg."""
    return [{"kimg": 10.0 * n + 10, "fd": d, **more} for n, d in enumerate(distances)]


@pytest.mark.parametrize(
    "rows",
    [
        measured(8, 4, 2),
        measured(3),
        measured(3, 3, 3),
        measured(1, 2, 9),
        measured(5000, 40, 0.3),
        measured(2, 0, 1),
        measured(8, 4, 2, samples=1000.0, coverage=0.5, diversity=1.3, worst_coverage=0.0),
    ],
)
def test_any_course_is_drawn(tmp_path: Path, rows: Rows) -> None:
    """Falling, rising, constant, over decades, zero, one point: a picture, twice the same bytes."""
    payload = curve(tmp_path, rows)

    opened(payload)
    assert payload == curve(tmp_path, rows)


def test_a_curve_passes_over_what_is_no_figure(tmp_path: Path) -> None:
    """Rows without a distance and distances that are not finite change nothing."""
    rows = measured(8, 4, 2)
    broken: Rows = [{"kimg": 5.0, "loss_d": 1.0}, {"kimg": 40.0, "fd": math.nan}, {"fd": 1.0}]

    assert curve(tmp_path, rows) == curve(tmp_path, [*rows, *broken])


def test_a_training_that_was_never_measured_has_no_curve(tmp_path: Path) -> None:
    """Nothing is written: a picture without a figure would say nothing."""
    rows: Rows = [{"kimg": 5.0, "loss_d": 1.0}, {"kimg": 9.0, "fd": math.inf}]

    assert write_curve(tmp_path / "c.png", "t", rows) is None
    assert not list(tmp_path.iterdir())


def test_events_and_what_was_packed_are_marked(tmp_path: Path) -> None:
    """A roll-back, an early end and the packed weights are seen; other events are not."""
    rows = measured(8, 4, 2, 3)
    event = {"nimg": 30000, "guard": HOSTILE, "message": "x"}

    bare = curve(tmp_path, rows)

    assert bare == curve(tmp_path, [*rows, {**event, "event": "gamma"}])
    for name in ("rollback", "stop"):
        assert bare != curve(tmp_path, [*rows, {**event, "event": name}])
    assert len({bare, *(curve(tmp_path, rows, kimg) for kimg in (30.0, 33.0))}) == 3


def test_what_a_rollback_undid_is_not_the_best(tmp_path: Path) -> None:
    """A distance that a roll-back went back over is drawn apart: its weights are gone."""
    rows = [{"kimg": k, "fd": d, "attempt": 0} for k, d in ((10.0, 8.0), (20.0, 6.0), (30.0, 0.1))]
    later = [{"kimg": k, "fd": d, "attempt": 1} for k, d in ((20.0, 6.0), (30.0, 5.0))]

    with_it = curve(tmp_path, [*rows, *later], 30.0)

    assert with_it != curve(tmp_path, [*rows[:2], *later], 30.0)
    assert with_it != curve(tmp_path, [*rows, *[{**row, "attempt": 0} for row in later]], 30.0)


def cloud(count: int, dims: int, classes: int, seed: int) -> tuple[Any, Any]:
    """Return features of classes at unlike places, and the labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    features = random.standard_normal((count, dims), dtype=np.float32)
    features[:, 0] += 4 * labels
    return features, labels


def test_10000_points_are_drawn_within_3_seconds(tmp_path: Path) -> None:
    """10,000 images of each set at 128 dimensions; the drawing of a map delays no evaluation."""
    names = [f"class {n}" for n in range(12)]
    real, made = cloud(10_000, 128, 12, 0), cloud(10_000, 128, 12, 1)
    write_map(tmp_path / "0.png", "t", cloud(9, 4, 2, 0), cloud(9, 4, 2, 0), names)  # imports

    began = time.process_time()
    write_map(tmp_path / "1.png", "t", real, made, names)
    seconds = time.process_time() - began

    opened((tmp_path / "1.png").read_bytes())
    assert seconds < 3


@pytest.mark.parametrize("classes", [1, 12, 30])
def test_a_map_of_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    """Twice the same bytes; hostile names, and classes that occur in one set only, do no harm."""
    names = [f"{HOSTILE} {n}" for n in range(classes)]
    real, (features, labels) = cloud(150, 16, classes, 0), cloud(120, 16, classes, 1)
    some = labels != 0 if classes > 1 else labels == 0
    made = features[some], labels[some]

    paths = [write_map(tmp_path / f"{n}.png", HOSTILE, real, made, names) for n in (1, 2)]

    opened(paths[0].read_bytes())
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("shape", [(1, 8), (2, 1), (150, 3)])
def test_a_map_of_few_or_of_equal_images(tmp_path: Path, shape: tuple[int, int]) -> None:
    """One image of each, one dimension, or features that are all alike: a map nevertheless."""
    alike = np.ones(shape, np.float32), np.zeros(shape[0], np.int64)

    path = write_map(tmp_path / "1.png", "t", alike, cloud(*shape, 1, 0), ["all"])
    same = write_map(tmp_path / "2.png", "t", alike, alike, ["all"])

    assert opened(path.read_bytes()).size == opened(same.read_bytes()).size
    assert path.read_bytes() != same.read_bytes()


def test_a_map_refuses_what_cannot_be_drawn(tmp_path: Path) -> None:
    """No image, or a feature that is not finite, is named and nothing is written."""
    fine, none = cloud(5, 4, 1, 0), cloud(0, 4, 1, 0)
    broken = fine[0].copy(), fine[1]
    broken[0][2, 1] = np.nan

    with pytest.raises(ValueError, match="no images"):
        write_map(tmp_path / "1.png", "t", fine, none, ["all"])
    with pytest.raises(ValueError, match="not finite"):
        write_map(tmp_path / "1.png", "t", broken, fine, ["all"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "visible"), [(1, 0.1), (20, 0.5), (500, 0.1)])
def test_a_calibration_of_any_number_of_comparisons(
    tmp_path: Path, count: int, visible: float
) -> None:
    """One comparison or hundreds, false alarms among them: twice the same bytes."""
    values = np.random.default_rng(0).normal(0, 0.1, count)
    found = [(v, v - 0.15, v + 0.15) for v in values.tolist()]

    payloads = [
        write_calibration(
            tmp_path / f"{n}.png", HOSTILE, found, margin=0.3, visible=visible, samples=1000
        ).read_bytes()
        for n in (1, 2)
    ]

    opened(payloads[0])
    assert payloads[0] == payloads[1]


@pytest.mark.parametrize("found", [[], [(0.0, math.nan, 1.0)]])
def test_a_calibration_refuses_what_is_no_figure(
    tmp_path: Path, found: list[tuple[float, float, float]]
) -> None:
    """No comparison, or an interval that is not finite, is no calibration."""
    with pytest.raises(ValueError, match="finite"):
        write_calibration(tmp_path / "c.png", "t", found, margin=0.3, visible=0.1, samples=10)


def test_a_users_own_plot_settings_do_not_count(tmp_path: Path) -> None:
    """A matplotlibrc with other fonts and colours changes no byte, and ours are not left behind."""
    import matplotlib as mpl

    rows = measured(8, 4, 2)
    plain = curve(tmp_path, rows)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20}):
        assert plain == curve(tmp_path, rows)
        assert mpl.rcParams["font.size"] == 30
