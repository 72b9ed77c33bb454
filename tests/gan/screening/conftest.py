"""Images that a bundle was trained on, its extractor, and the screens that look by both."""

import pytest

from gan.bundle import Bundle
from gan.image.dataset import open_dataset
from gan.metrics.domain import train_extractor
from gan.screening.looking import Screens
from gan.screening.references import References
from gan.screening.screens import open_screens
from gan.sections import CampaignSpec
from tests.gan.bundles import pack_untrained
from tests.gan.screening.patterns import CLASSES, Images, Labels, drawn, write_prepared


@pytest.fixture(scope="session")
def trained_on() -> tuple[Images, Labels]:
    """Return 700 images, of which 64 are held out of trainings."""
    return drawn(700, seed=1)


@pytest.fixture(scope="session")
def references(
    trained_on: tuple[Images, Labels], tmp_path_factory: pytest.TempPathFactory
) -> References:
    """Return those images as prepared data, an extractor that knows them, and an empty store."""
    root = tmp_path_factory.mktemp("references")
    write_prepared(root / "data", *trained_on)
    train_extractor(open_dataset(root / "data"), root / "extractor", seed=1, images_shown=4800)
    return References(root / "extractor", root / "data", root / "store")


@pytest.fixture(scope="session")
def bundle(references: References, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained bundle that says to be trained on those images."""
    assert references.training is not None
    digest = open_dataset(references.training).digest
    return pack_untrained(tmp_path_factory.mktemp("bundle"), CLASSES, data_digest=digest)


@pytest.fixture(scope="session")
def spec() -> CampaignSpec:
    """Return a campaign that asks for classes and copies, not the critic of an untrained bundle."""
    return CampaignSpec.model_validate(
        {"rejection": 0, "screens": {"off_class": 0.05, "copies": 0.02}}
    )


@pytest.fixture(scope="session")
def screens(bundle: Bundle, spec: CampaignSpec, references: References) -> Screens:
    """Return its screens."""
    return open_screens(bundle, spec, references)
