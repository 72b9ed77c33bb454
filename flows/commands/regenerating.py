"""Make an asset again: find its row in any batch, and the model that made it."""

from pathlib import Path
from typing import TYPE_CHECKING

from flows import minting, registry
from flows.provenance.index import build_index
from flows.settings import Settings
from gan.bundle import Bundle, open_bundle
from gan.errors import UsageError
from gan.marking.identity import read_known
from gan.paths import Layout

if TYPE_CHECKING:
    from gan.assets.regenerate import Regenerated


def regenerate(layout: Layout, settings: Settings, asset: str, out: Path) -> "Regenerated":
    """Write an asset's files below `out`, and compare them with those of its batch.

    Args:
        layout: The workspace whose batches are known.
        settings: Where MLflow is, and the keys.
        asset: Its id.
        out: A folder.

    Raises:
        UsageError: No batch here has such an asset, or its model is gone.
        DamagedError: The bundle or the batch is not as it was written.
        ServiceError: MLflow must be asked for the model, and did not answer.
    """
    from gan.assets.manifest import read_batch
    from gan.assets.regenerate import regenerate as make_again

    signs = minting.marks(layout, settings)
    index = build_index(layout, read_known(signs.signing))
    row = index.row(asset)
    if row is None:
        why = f" ({'; '.join(index.notes)})" if index.notes else ""
        raise UsageError(
            f"{asset}: no batch in {layout.root / 'assets'} has such an asset{why}. An id is 16 "
            "hex digits; of a file ask: ganmill verify FILE"
        )
    folder = index.assets[asset].folder
    bundle = _bundle(layout, settings, row.recipe, row.bundle_digest)
    return make_again(bundle, row, read_batch(folder), signs, out, batch=folder)


def _bundle(layout: Layout, settings: Settings, recipe: str, digest: str) -> Bundle:
    """Return a bundle by its digest: one that is here, else the one that is registered."""
    here = layout.bundle_store / digest
    if here.is_dir():
        return open_bundle(here)
    known = registry.versions(settings, recipe)
    version = next((each for each in known if each.digest == digest), None)
    if version is None:
        raise UsageError(
            f"{recipe}: bundle {digest[:12]} is gone from the registry, so its assets cannot be "
            "made again."
        )
    return open_bundle(registry.fetch(settings, version, layout.bundle_store))
