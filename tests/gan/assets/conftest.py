"""A bundle to mint from, and what it is minted with."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.assets.batch import Marks, mint
from gan.assets.request import Request
from gan.bundle import Bundle, open_bundle
from gan.marking.identity import Signing
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec
from tests.gan.bundles import pack_untrained

CLASSES = ["cats", "hearts & co", "stars"]
OPEN = ScreensSpec(off_class=0, near_distance=0, past=0, copies=0)
# What an untrained generator makes looks all alike, so nothing but blankness is asked of it.
SPEC = CampaignSpec(count=5, size_px=32, rejection=0, screens=OPEN)
LINEAGE = {"model_version": "3", "mlflow_run": "r1", "flow_run": "f1", "data_version": "v1"}


def _pack(folder: Path, seed: int, classes: list[str] = CLASSES, channels: int = 3) -> Bundle:
    return pack_untrained(folder, classes, seed=seed, channels=channels, recipe="stickers")


def asking(count: int, slot: str = "slot", **changes: Any) -> Request:
    """Return a request with sane defaults; `changes` are of its campaign."""
    spec = SPEC.model_copy(update={"count": count, **changes})
    return Request("stickers", spec, slot, lineage=LINEAGE)


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (folder, seed, classes, channels)."""
    return _pack


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained 16 px bundle of three classes."""
    return _pack(tmp_path_factory.mktemp("bundle"), seed=1)


@pytest.fixture(scope="session")
def shipped() -> Bundle:
    """Return the bundle that comes with the code: real pictures of 32 px."""
    return open_bundle(Path(__file__).parents[3] / "gan" / "shipped" / "stickers")


@pytest.fixture(scope="session")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Marks:
    """Return marks of a local identity."""
    return Marks(Signing(tmp_path_factory.mktemp("signing")))


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    """Return references without data: nothing is held against training images."""
    return References(None, None, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def _five(
    bundle: Bundle, marks: Marks, references: References, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return mint(bundle, asking(5), tmp_path_factory.mktemp("five"), marks, references).folder


@pytest.fixture
def batch(_five: Path, tmp_path: Path) -> Path:
    """Return a complete batch of five assets, to spoil."""
    return Path(shutil.copytree(_five, tmp_path / "batches" / _five.name))
