"""A workspace with one minted batch of real pictures."""

from pathlib import Path
from typing import NamedTuple

import pytest

from flows.provenance.looking import Witness
from gan.assets.batch import Marks, mint
from gan.assets.manifest import Row, read_rows
from gan.assets.request import Request
from gan.bundle import open_bundle
from gan.marking.identity import Signing
from gan.marking.watermark import PUBLIC_KEY
from gan.paths import Layout
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec

SHIPPED = Path(__file__).parents[3] / "gan" / "shipped" / "stickers"


class Workspace(NamedTuple):
    """Where everything is."""

    layout: Layout
    signing: Signing
    batch: Path
    row: Row

    def file(self, platform: str) -> Path:
        """Return the first asset's file for a platform."""
        return self.batch / next(f.path for f in self.row.files if f.platform == platform)

    def witness(self, key: bytes = PUBLIC_KEY, *, thorough: bool = False) -> Witness:
        """Return what looks at files in this workspace."""
        return Witness(self.layout, self.signing, key, thorough=thorough)


def mint_workspace(root: Path, *, watermark_key: Path | None = None, count: int = 3) -> Workspace:
    """Mint a batch of the shipped bundle into a new workspace."""
    layout = Layout(root)
    spec = CampaignSpec(
        count=count,
        platforms=["png", "whatsapp", "linkedin"],
        size_px=256,
        rejection=0,
        screens=ScreensSpec(off_class=0, near_distance=0, past=0, copies=0),
    )
    lineage = {"model_version": "3", "data_version": "c" * 64}
    signing = Signing(layout.signing)
    minted = mint(
        open_bundle(SHIPPED),
        Request("stickers", spec, "slot", lineage=lineage),
        layout.batches("stickers"),
        Marks(signing, watermark_key),
        References(None, None, layout.features),
        progress=lambda _: None,
    )
    return Workspace(layout, signing, minted.folder, read_rows(minted.folder / "manifest.jsonl")[0])


@pytest.fixture(scope="session")
def minted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with a batch of three assets; tests leave it as it is."""
    return mint_workspace(tmp_path_factory.mktemp("minted"))
