"""What a recipe's detector says of files without marks, and what happens when it cannot."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flows.commands import verifying
from flows.provenance.looking import look
from gan.detector.training import train_detector
from gan.marking.identity import Signing
from gan.marking.watermark import PUBLIC_KEY
from gan.paths import Layout
from gan.sections import DetectorSpec
from tests.gan.bundles import pack_untrained

_COUNT = 120


@dataclass(frozen=True)
class Real:
    """Real images of two classes: soft blobs, 16 px."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    classes: list[str] = field(default_factory=lambda: ["dark", "light"])
    digest: str = "e" * 64
    resolution: int = 16
    channels: int = 3

    def __len__(self) -> int:
        return len(self.images)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with a detector that was shown a few images."""
    layout = Layout(tmp_path_factory.mktemp("work"))
    random = np.random.default_rng(1)
    small = random.integers(0, 255, (_COUNT, 4, 4, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(each).resize((16, 16))) for each in small]
    numbers = np.arange(_COUNT, dtype=np.int64)
    real = Real(np.stack(large).transpose(0, 3, 1, 2).copy(), numbers % 2, numbers)
    bundle = pack_untrained(layout.bundle("tiny"), real.classes, recipe="tiny")
    spec = DetectorSpec(kimg=0.128, models=0)
    train_detector(layout.detector("tiny"), real, [bundle], spec, 1, lambda _: None)
    return layout


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return a picture without any mark."""
    path = tmp_path / "some.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


def test_unmarked_files_get_a_probability_with_its_error_rates(
    layout: Layout, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The detector's probability comes with how often it errs, in figures and in words."""
    answer = look(layout, Signing(layout.signing), PUBLIC_KEY, picture)
    verifying.show(answer, as_json=False)
    told = capsys.readouterr().out
    (found,) = answer.synthetic

    assert answer.verdict == "no mark of ours"
    assert found.recipe == "tiny"
    assert 0 <= found.probability <= 1
    assert 0 <= found.false_positives <= 1
    assert f"{found.probability:.0%} probable that a model of tiny made it" in told
    assert f"also of {found.false_positives:.1%} [" in told
    assert "does not say that it is not synthetic" not in told


def test_damaged_detector_is_told_and_hinders_nothing(layout: Layout, picture: Path) -> None:
    """A detector with a changed byte is not asked, and the answer says why."""
    weights = layout.detector("tiny") / "detector.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    answer = look(layout, Signing(layout.signing), PUBLIC_KEY, picture)
    weights.write_bytes(whole)

    assert answer.synthetic == ()
    assert "the detector of tiny is not asked" in answer.notes[0]
