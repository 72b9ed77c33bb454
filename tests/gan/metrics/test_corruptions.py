"""Each way for a set of images to be wrong moves the metric that is there to catch it."""

from collections.abc import Callable

import pytest

from gan.image.dataset import Dataset
from gan.metrics.domain import train_extractor
from gan.metrics.extractors import load_extractor
from gan.metrics.intervals import Interval
from gan.metrics.meter import Meter
from tests.gan.metrics.corruptions import figures, wrong_in_known_ways

Figures = dict[str, dict[str, Interval]]


@pytest.fixture(scope="module")
def found(draw: Callable[..., Dataset], tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """Return what each set scores, on 1,600 images of three classes."""
    from gan.metrics.store import FeatureStore
    from gan.sections import EvaluateSpec

    data = draw(1600, ["bars", "checks", "dots"])
    folder = tmp_path_factory.mktemp("corruptions")
    train_extractor(data, folder / "extractor", 1, images_shown=12_800)
    store = FeatureStore(folder / "features", lambda _: None)
    spec = EvaluateSpec(samples=600, seed=3)
    meter = Meter(data, load_extractor(folder / "extractor"), spec, store, lambda _: None)
    wrong = wrong_in_known_ways(meter, 600, blur_px=3.0)
    return {name: figures(meter, wrong, name) for name in wrong.sets}


def test_real_images_pass_for_what_they_are(found: Figures) -> None:
    """A perfect generator is near zero within its interval, covers all, and copies nothing."""
    real = found["real"]

    assert real["kd_domain"].low <= 0 <= real["kd_domain"].high
    assert real["fd_domain"].value < 0.05 * found["noise"]["fd_domain"].value
    assert real["coverage"].value > 0.8
    assert real["memorisation"].low < 0.5


@pytest.mark.parametrize("wrong", ["noise", "blurred", "one class"])
def test_what_looks_wrong_is_farther_away(found: Figures, wrong: str) -> None:
    """Both distances rise beyond doubt."""
    for metric in ("fd_domain", "kd_domain"):
        assert found[wrong][metric].low > found["real"][metric].high


def test_noise_and_blur_cost_precision(found: Figures) -> None:
    """What is not like any real image is not within the neighbourhoods of the real ones."""
    for wrong in ("noise", "blurred"):
        assert found[wrong]["precision"].high < found["real"]["precision"].low


def test_one_class_costs_what_was_not_made(found: Figures) -> None:
    """Each image is like a real one; recall, coverage, accuracy and the other classes are not."""
    single, real = found["one class"], found["real"]

    assert single["precision"].value > 0.9
    assert single["recall"].high < real["recall"].low
    assert single["coverage"].high < real["coverage"].low
    assert single["class_coverage"].high < real["class_coverage"].low
    assert single["class_accuracy"].high < 0.5
    assert single["fd_domain_worst_class"].value > 5 * real["fd_domain_worst_class"].value


def test_copies_are_caught_by_memorisation_alone(found: Figures) -> None:
    """Copied training images look perfect to every distance."""
    copied, real = found["copied"], found["real"]

    assert copied["fd_domain"].value < 2 * real["fd_domain"].value
    assert copied["memorisation"].low > 0.55
    assert copied["copied_share"].low > 0.5


def test_wrong_classes_are_caught_by_class(found: Figures) -> None:
    """The set is perfect, each image in another class: only what looks at classes can know."""
    wrong, real = found["wrong classes"], found["real"]

    assert wrong["fd_domain"].value == pytest.approx(real["fd_domain"].value)
    assert wrong["class_accuracy"].high < real["class_accuracy"].low
    assert wrong["fd_domain_worst_class"].value > 5 * real["fd_domain_worst_class"].value


def test_blur_is_not_taken_for_copying(found: Figures) -> None:
    """Smooth images are near to everything; that is not memorisation."""
    assert found["blurred"]["memorisation"].low < 0.55
    assert found["noise"]["memorisation"].low < 0.55
