"""A detector from its training to its answers: real files, real models, untrained as they are."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gan.bundle import Bundle
from gan.detector import DetectorCard, open_detector, train_detector
from gan.detector.cards import CARD, EXAMPLES, WEIGHTS
from gan.detector.models import open_makers
from gan.detector.opening import open_examples
from gan.durable import SUMS, sha256, write_sums
from gan.errors import DamagedError, SourceError, UsageError
from gan.image.dataset import Dataset
from gan.sections import DetectorSpec
from tests.gan.bundles import pack_untrained

Draw = Callable[..., Dataset]
SHORT = DetectorSpec(kimg=0.256)


def _quiet(_: str) -> None:
    """Say nothing."""


def _hwc(items: np.ndarray) -> Sequence[np.ndarray]:
    return list(items.transpose(0, 2, 3, 1))


def test_it_tells_the_models_from_real_images(
    trained: tuple[Path, DetectorCard], bundles: list[Bundle], sprites: Draw
) -> None:
    """New images of either model are called synthetic, real ones are not, at any size."""
    detector = open_detector(trained[0])
    real = sprites(60)
    made = [open_makers([each], real)[0].draw(real.labels[:30], 7, "new") for each in bundles]
    large = [each.repeat(9, axis=0).repeat(9, axis=1) for each in _hwc(made[0])]
    of_real = detector.probability(_hwc(real.images))

    assert np.mean(of_real >= detector.card.threshold) < 0.2
    for pictures in (*map(_hwc, made), large):
        assert np.mean(detector.probability(pictures) >= detector.card.threshold) > 0.8
    assert detector.card.surest >= of_real.max() >= of_real.min() >= 1 - detector.card.surest


def test_the_card_tells_every_figure_with_its_number_and_interval(
    trained: tuple[Path, DetectorCard], bundles: list[Bundle]
) -> None:
    """Real images of no training, champion and older model, after JPEG, unseen models, odds."""
    card = trained[1]
    rates = [
        rate
        for each in card.conditions
        for rate in (each.real, each.champion, each.older)
        if rate is not None
    ]

    assert [each.name for each in card.conditions] == [
        "as made",
        "delivered",
        "delivered, JPEG q75",
        "screenshot",
        "own size, JPEG q75",
    ]
    assert len(rates) == 15
    for rate in (*rates, card.calibration_error, card.spectrum_auc):
        assert rate.low <= rate.value <= rate.high
    assert all(rate.low < rate.high for rate in rates)
    assert {each.real.n for each in card.conditions} == {card.real["measured"]} == {64}
    assert card.real["learnt"] + card.real["calibration"] + card.real["measured"] == 700
    assert [each.digest for each in card.models] == [each.digest for each in bundles]
    assert {each.digest for each in card.unseen} == {each.digest for each in bundles}
    assert any("64 real images alone" in note for note in card.notes)
    assert card.conditions[1].champion.value > 0.8
    assert card.conditions[1].real.value < 0.2
    assert card.threshold >= 0.5


def test_examples_are_the_pictures_that_the_card_speaks_of(
    trained: tuple[Path, DetectorCard],
) -> None:
    """There is a picture for each example, of real images and of each group of models."""
    folder, card = trained
    pictures = open_examples(folder, card)

    assert pictures.shape == (len(card.examples), 3, 16, 16)
    assert {each.kind for each in card.examples} == {"real", "synthetic"}
    assert all((each.digest == "") == (each.kind == "real") for each in card.examples)


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, bundles: list[Bundle], sprites: Draw
) -> tuple[Path, DetectorCard]:
    """Return a detector of one model, made from too few images to hold any out."""
    folder = tmp_path_factory.mktemp("small")
    return folder, train_detector(folder, sprites(120), bundles[:1], SHORT, 3, _quiet)


def test_the_same_training_gives_the_same_bytes(
    tmp_path: Path, small: tuple[Path, DetectorCard], bundles: list[Bundle], sprites: Draw
) -> None:
    """Weights, examples and card do not depend on when or where; what was there is replaced."""
    (tmp_path / "index.html").write_text("an earlier page")
    train_detector(tmp_path, sprites(120), bundles[:1], SHORT, 3, _quiet)

    for name in (WEIGHTS, EXAMPLES, CARD, SUMS):
        assert sha256(small[0] / name) == sha256(tmp_path / name)
    assert not (tmp_path / "index.html").exists()


def test_few_images_and_one_model_are_said_to_be_so(small: tuple[Path, DetectorCard]) -> None:
    """Nothing is held out of 120 images, and no other model is asked: the card does not hide it."""
    card = small[1]

    assert card.unseen == []
    assert all(each.older is None for each in card.conditions)
    assert any("Few real images (120)" in note for note in card.notes)
    assert any("one model alone" in note for note in card.notes)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_recipes_have_a_detector_too(
    tmp_path: Path, sprites: Draw, channels: int
) -> None:
    """Transparent images are seen over white, grey ones as grey; any picture may be asked about."""
    model = pack_untrained(tmp_path / "model", ["circles"], channels=channels)
    train_detector(tmp_path / "d", sprites(120, channels), [model], SHORT, 1, _quiet)
    random = np.random.default_rng(1)
    sizes = ((16, 16, 3), (40, 30, 4), (8, 8, 3), (300, 21, 3))
    pictures = [random.integers(0, 256, size, np.uint8) for size in sizes]
    detector = open_detector(tmp_path / "d")
    together = detector.probability(pictures)

    assert detector.card.channels == (1 if channels == 1 else 3)
    alone = np.concatenate([detector.probability([each]) for each in pictures])
    assert together == pytest.approx(alone, abs=1e-5)
    assert detector.probability([]).shape == (0,)


def test_what_cannot_be_trained_is_refused_in_a_line(
    tmp_path: Path, bundles: list[Bundle], sprites: Draw
) -> None:
    """No model, a model of another size, no length, too few images, or all of one group."""
    real, other = sprites(120), pack_untrained(tmp_path / "32", ["circles"], resolution=32)
    together = Dataset(real.images, real.labels, real.labels * 0, real.classes, real.digest, 16, 3)
    for given, models, spec, error, words in (
        (real, [], SHORT, UsageError, "no model to tell"),
        (real, [other], SHORT, UsageError, "makes 32 px images"),
        (real, bundles, DetectorSpec(kimg=0), UsageError, "detector.kimg is 0"),
        (sprites(99), bundles, SHORT, SourceError, "at least 100"),
        (together, bundles, SHORT, SourceError, "belong together"),
    ):
        with pytest.raises(error, match=words):
            train_detector(tmp_path / "none", given, models, spec, 1, _quiet)
    assert not (tmp_path / "none").exists()


def test_a_damaged_detector_is_never_asked(
    tmp_path: Path, trained: tuple[Path, DetectorCard]
) -> None:
    """A changed bit, a card of other shapes, and a folder without its list are told apart."""
    with pytest.raises(DamagedError, match="no detector here"):
        open_detector(tmp_path)
    bent = tmp_path / "bent"
    shutil.copytree(trained[0], bent)
    (bent / WEIGHTS).write_bytes((bent / WEIGHTS).read_bytes()[:-1] + b"\1")
    with pytest.raises(DamagedError, match="SHA-256"):
        open_detector(bent)
    for old, new, words in (
        ('"width": 16', '"width": 24', "does not fit its card"),
        ('"width": 24', '"width": "w"', "width"),
    ):
        (bent / CARD).write_text((bent / CARD).read_text().replace(old, new))
        write_sums(bent)
        with pytest.raises(DamagedError, match=words):
            open_detector(bent)
