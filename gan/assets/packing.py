"""What a batch tells its packs: their members, and what they and their listings are called."""

from collections.abc import Iterable

from gan.assets.records import Row
from gan.platforms import Companions, Member, Pack, Platform, companions
from gan.sections import DEFAULT_CAMPAIGN, CampaignSpec

_PUBLISHER = "ganmill"


def members(rows: Iterable[Row], spec: CampaignSpec) -> list[Member]:
    """Return assets as a pack knows them, in order."""
    emoji = spec.emoji
    return [Member(row.asset, row.class_, row.segment, emoji.get(row.class_, "")) for row in rows]


def beside(to: Platform, pack: Pack, recipe: str, campaign: str) -> Companions:
    """Return what goes with a pack of a campaign."""
    title = recipe if campaign == DEFAULT_CAMPAIGN else f"{recipe} {campaign}"
    return companions(to, pack, title=title, publisher=_PUBLISHER)
