"""Batches that are killed without warning, again and again: each ends as if it never happened."""

import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from gan.assets.manifest import MANIFEST, begun, read_batch, read_rows, verify
from gan.sections import CampaignSpec
from tests.faults.conftest import Server, tree
from tests.faults.works import OPEN, WORKS, ask_for_batch

# Two platforms, one with a listing beside its files; some candidates are outliers, so there are
# several rounds.
_SPEC = CampaignSpec(
    count=6,
    budget=3,
    rejection=0.2,
    screens=OPEN.model_copy(update={"near_distance": 2}),
    platforms=["png", "discord_emoji"],
    size_px=32,
)


def _begin(folder: Path) -> Path:
    folder.mkdir()
    WORKS["batch"].begin(folder)
    ask_for_batch(folder, _SPEC)
    return folder


def _said(folder: Path) -> str:
    return Path(f"{folder}.said").read_text()


@dataclass(frozen=True)
class Calm:
    """A batch that nobody disturbed, and the seconds of the processor that it took."""

    files: dict[str, str]
    seconds: float


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for all batches: they share a signer."""
    return tmp_path_factory.mktemp("batches")


@pytest.fixture(scope="module")
def calm(server: Server, root: Path) -> Calm:
    """Return what an undisturbed batch is like."""
    for name in ("first", "calm"):  # the first finds out what the critic likes, and keeps it
        folder = _begin(root / name)
        ended = server.run("batch", folder)
        assert ended.status == 0, _said(folder)
    (batch,) = (folder / "batches").iterdir()
    card = read_batch(batch)
    assert card.candidates > card.accepted > 4  # otherwise there is little to go wrong
    return Calm(tree(folder), ended.seconds)


def _killed(folder: Path, calm: Calm, server: Server, moments: random.Random) -> int:
    """Mint a batch, each time with a kill on the way, until it is done; return the kills."""
    kills = 0
    while True:
        ended = server.run("batch", folder, kill_after=moments.uniform(0, 1.3 * calm.seconds))
        if ended.status == 0:
            return kills
        assert ended.status == -signal.SIGKILL, _said(folder)
        kills += 1


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("wanted", [2, pytest.param(500, marks=pytest.mark.faults)])
def test_killed_at_any_moment_every_batch_ends_with_the_same_bytes(
    root: Path, calm: Calm, server: Server, wanted: int
) -> None:
    """After SIGKILL at random moments, the same call ends with the files of an undisturbed batch.

    No asset is there twice, none is missing, nothing of a killed writer stays, and all is signed.
    """
    moments = random.Random(wanted)  # noqa: S311  # moments, not secrets
    kills = batches = tried = 0
    while batches < wanted:
        folder = _begin(root / f"{wanted}-{tried}")
        here = _killed(folder, calm, server, moments)
        kills += here
        batches += here > 0  # one that was not killed is no proof
        tried += 1

        (batch,) = (folder / "batches").iterdir()
        assert tree(folder) == calm.files, f"after {kills} kills, batch {batches}"
        assert verify(batch) == []
        assert begun(folder / "batches") == []
        ids = [row.asset for row in read_rows(batch / MANIFEST)]
        assert len(set(ids)) == len(ids)
        shutil.rmtree(folder)
    print(f"{kills} kills in {batches} batches")
