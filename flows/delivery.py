"""What is said of a batch once it is there: delivered, or held by the watch."""

from typing import TYPE_CHECKING

from flows.notices import Event, announce
from flows.registry import Version
from flows.story import Mill

if TYPE_CHECKING:
    from flows.watch import Watched
    from gan.assets.batch import Minted


def tell(mill: Mill, version: Version, minted: "Minted", seen: "Watched | None") -> str:
    """Announce a batch, and return the sentence that says it.

    Args:
        mill: Whose batch it is.
        version: What it was minted from.
        minted: The batch.
        seen: What the watch makes of it; None: it is of an earlier champion, and not watched.
    """
    held = seen is not None and seen.then != "delivered"
    payload: dict[str, str | int] = {
        "batch": minted.batch_id,
        "folder": str(minted.folder),
        "version": version.number,
        "accepted": minted.accepted,
        "count": minted.count,
    }
    name = mill.recipe.name
    says = f"{minted.accepted} of {minted.count} assets of {name} v{version.number} "
    says += f"are held: {seen.says}" if seen and held else f"are there: {minted.folder}"
    event: Event = "batch.held" if held else "batch.delivered"
    announce(mill.layout, mill.settings, event, name, says, payload)
    return says
