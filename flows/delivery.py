"""What becomes of a batch once it is there: it is told of, waits for a person, or is published."""

from typing import TYPE_CHECKING

from flows import minting
from flows.notices import Event, announce, was_told
from flows.publish import publish
from flows.registry import Version
from flows.review.review import find_review, reviewable, undecided
from flows.story import Mill, say, shown
from gan.sections import CampaignSpec

if TYPE_CHECKING:
    from flows.watch import Watched
    from gan.assets.batch import Minted

_OF_DELIVERY: tuple[Event, ...] = ("batch.delivered", "batch.waiting")


def deliver(mill: Mill, spec: CampaignSpec, version: Version, minted: "Minted") -> str:
    """Tell of a batch that may go out, and publish it where its campaign says so.

    Where the campaign asks for a review nothing leaves before a person has looked. Done again, it
    is told once, and what is published stays as it is.

    Args:
        mill: Whose batch it is.
        spec: Its campaign.
        version: What it was minted from.
        minted: The batch.

    Returns:
        The sentence that says it.

    Raises:
        DamagedError: The batch is not as it was minted; nothing is published.
        GanmillError: The sink cannot be written; the same command goes on.
    """
    waits = spec.review and bool(undecided(reviewable(minted.folder), find_review(minted.folder)))
    event: Event = "batch.waiting" if waits else "batch.delivered"
    says = _says(mill, version, minted)
    if waits:
        says += f"wait for a person to look: ganmill review {shown(minted.folder)}"
    else:
        says += f"are there: {minted.folder}"
    if not was_told(mill.layout, _OF_DELIVERY, minted.batch_id):
        announce(
            mill.layout, mill.settings, event, mill.recipe.name, says, _payload(version, minted)
        )
    if waits:
        say(f"  {says}")
    elif spec.sink is not None:
        published = publish(
            mill.layout,
            minted.folder,
            spec,
            actor=mill.settings.actor,
            marks=minting.marks(mill.layout, mill.settings),
        )
        say(f"  published: {published.line.assets} assets in {published.line.target}")
    return says


def tell_held(mill: Mill, version: Version, minted: "Minted", seen: "Watched") -> str:
    """Announce that the watch holds a batch, and return the sentence that says it."""
    says = f"{_says(mill, version, minted)}are held: {seen.says}"
    announce(
        mill.layout,
        mill.settings,
        "batch.held",
        mill.recipe.name,
        says,
        _payload(version, minted),
    )
    return says


def _says(mill: Mill, version: Version, minted: "Minted") -> str:
    return f"{minted.accepted} of {minted.wanted} assets of {mill.recipe.name} v{version.number} "


def _payload(version: Version, minted: "Minted") -> dict[str, str | int]:
    return {
        "batch": minted.batch_id,
        "folder": str(minted.folder),
        "version": version.number,
        "accepted": minted.accepted,
        "wanted": minted.wanted,
        "candidates": minted.candidates,
    }
