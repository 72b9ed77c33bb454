"""One set of packs with every mark on each file, for the tests that look at packs."""

import shutil
from pathlib import Path

import pytest

from gan.marking.identity import Identity, Signing, open_identity
from gan.platforms import Member
from tests.gan.platforms.making import Images, fill, stickers

WITH_PACKS = ("whatsapp", "telegram", "discord_sticker", "discord_emoji")


@pytest.fixture(scope="session")
def who(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return an identity that signs."""
    return open_identity(Signing(tmp_path_factory.mktemp("signing")))


@pytest.fixture(scope="session")
def images() -> Images:
    """Return seven stickers of the shipped bundle, uint8 [7, 3, 32, 32]."""
    return stickers(7)[0]


@pytest.fixture(scope="session")
def members() -> list[Member]:
    """Return what is known of them: four cats, three stars."""
    kinds = ["cats"] * 4 + ["stars"] * 3
    emoji = {"cats": "\U0001f431", "stars": ""}
    return [
        Member(f"{number + 1:016x}", kind, "", emoji[kind]) for number, kind in enumerate(kinds)
    ]


@pytest.fixture(scope="session")
def _packs(
    tmp_path_factory: pytest.TempPathFactory,
    images: Images,
    members: list[Member],
    who: Identity,
) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    fill(folder, images, members, WITH_PACKS, who)
    return folder


@pytest.fixture
def packs(tmp_path: Path, _packs: Path) -> Path:
    """Return a batch's folder with the packs of four platforms, to do with as one likes."""
    return Path(shutil.copytree(_packs, tmp_path / "batch"))
