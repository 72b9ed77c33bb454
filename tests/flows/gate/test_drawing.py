"""The pictures of a gate decision, drawn by real networks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.gate.drawing import draw, rows_of
from gan.bundle import Bundle
from gan.durable import sha256
from gan.image.dataset import Dataset
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import load_extractor
from gan.metrics.meter import Meter
from gan.metrics.store import FeatureStore
from gan.sections import EvaluateSpec
from tests.gan.bundles import pack_untrained

NAMES = ["bars", "</b>\n猫", "dots"]
GREYS = [40, 120, 200]  # what the real images of each class are
SIDE_PX, SHOWN = 16, 8


@pytest.fixture(scope="module")
def make_meter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Meter]:
    """Return what makes a meter on plain images of the classes with the given numbers of images."""

    def make(names: list[str], counts: list[int], channels: int = 3) -> Meter:
        labels = np.repeat(np.arange(len(names)), counts).astype(np.int64)
        images = np.empty((len(labels), channels, SIDE_PX, SIDE_PX), np.uint8)
        images[:] = np.array(GREYS, np.uint8)[labels][:, None, None, None]
        images[:, :, 0, 0] = np.arange(len(labels))[:, None]  # no two alike
        folder = tmp_path_factory.mktemp("meter")
        groups = np.arange(len(labels))
        data = Dataset(images, labels, groups, names, "a" * 64, SIDE_PX, channels)
        train_extractor(data, folder / "extractor", seed=1, images_shown=256)
        store = FeatureStore(folder / "features", lambda _: None)
        extractor = load_extractor(folder / "extractor")
        return Meter(data, extractor, EvaluateSpec(samples=200, seed=3), store, lambda _: None)

    return make


def _bundle(folder: Path, names: list[str], seed: int, channels: int = 3) -> Bundle:
    return pack_untrained(folder, names, seed=seed, resolution=SIDE_PX, channels=channels)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Return two unlike bundles of the same classes."""
    home = tmp_path_factory.mktemp("bundles")
    return _bundle(home / "a", NAMES, 1), _bundle(home / "b", NAMES, 2)


def test_each_picture_has_a_row_a_class_and_says_so(
    two: tuple[Bundle, Bundle], make_meter: Callable[..., Meter], tmp_path: Path
) -> None:
    """Both models on the same latents and real images of the same classes; names are kept whole."""
    meter = make_meter(NAMES, [20, 3, 20])
    found = draw(*two, meter, tmp_path)

    assert found == {name: sha256(tmp_path / name) for name in sorted(found)}
    assert sorted(found) == ["candidate.png", "champion.png", "real.png"]
    rows = {name: rows_of(tmp_path / name) for name in found}
    assert [list(each) for each in rows.values()] == [NAMES] * 3
    width = SHOWN * 66 - 2  # 16 px, four times as large, 2 px apart
    assert {each.size for every in rows.values() for each in every.values()} == {(width, 64)}
    for name, grey in zip(NAMES, GREYS, strict=True):
        middle = [rows["real.png"][name].getpixel((66 * n + 32, 32)) for n in range(SHOWN)]
        there = 3 if name == NAMES[1] else SHOWN  # a class with fewer images has empty places
        assert middle == [(grey, grey, grey, 255)] * there + [(0, 0, 0, 0)] * (SHOWN - there)


def test_the_same_model_in_both_roles_is_the_same_picture(
    two: tuple[Bundle, Bundle], make_meter: Callable[..., Meter], tmp_path: Path
) -> None:
    """Latents and bytes do not depend on role, folder or moment; another model is another file."""
    meter = make_meter(NAMES, [20, 20, 20])
    twice = [draw(two[0], two[0], meter, tmp_path / name) for name in "ab"]
    other = draw(*two, meter, tmp_path / "c")

    assert twice[0] == twice[1]
    assert twice[0]["candidate.png"] == twice[0]["champion.png"] == other["candidate.png"]
    assert other["champion.png"] != other["candidate.png"]


def test_without_a_champion_like_it_there_is_no_picture_of_one(
    two: tuple[Bundle, Bundle], make_meter: Callable[..., Meter], tmp_path: Path
) -> None:
    """At a cold start, and where the champion draws other classes, its picture is left out."""
    meter = make_meter(NAMES, [20, 20, 20])
    other = _bundle(tmp_path / "other", ["bars", "rings", "dots"], 3)

    for place, champion in enumerate((None, other)):
        found = draw(two[0], champion, meter, tmp_path / str(place))
        assert sorted(found) == ["candidate.png", "real.png"]


def test_one_class_has_rows_of_other_latents(
    make_meter: Callable[..., Meter], tmp_path: Path
) -> None:
    """Of one class, and of transparent images, eight numbered rows are shown."""
    bundle = _bundle(tmp_path / "one", ["it"], 1, channels=4)
    draw(bundle, None, make_meter(["it"], [40], channels=4), tmp_path)

    made, real = (rows_of(tmp_path / name) for name in ("candidate.png", "real.png"))
    assert list(made) == list(real) == [f"it, row {n}" for n in range(1, 9)]
    assert len({each.tobytes() for each in made.values()}) == 8
    assert real["it, row 8"].getbbox() is None  # 40 images are five rows


def test_a_picture_that_says_nothing_of_rows_is_refused(tmp_path: Path) -> None:
    """A page never shows rows of a file that was not drawn for it."""
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")

    with pytest.raises(ValueError, match="does not say which rows"):
        rows_of(tmp_path / "x.png")
