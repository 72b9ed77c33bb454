"""The files that go with a pack: what an app or a bot reads to publish it.

whatsapp/<pack>/contents.json + tray.png   for WhatsApp's sample app: copy the folder into
                                           `app/src/main/assets/` and its contents.json there
telegram/<pack>/set.json                   the arguments of the Bot API's `createNewStickerSet`
                                           (50 at once, then `addStickerToSet`)
discord_sticker/stickers.json              of `Create Guild Sticker`, one for each
discord_emoji/emojis.json                  of `Create Guild Emoji`, one for each
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gan.platforms.catalog import PackLimits, Platform, icon
from gan.platforms.emojis import split_emojis
from gan.platforms.packs import Member, Pack

CONTENTS, SET, STICKERS, EMOJIS = "contents.json", "set.json", "stickers.json", "emojis.json"
LISTINGS = {
    "whatsapp": CONTENTS,
    "telegram": SET,
    "discord_sticker": STICKERS,
    "discord_emoji": EMOJIS,
}
TRAY = "tray.png"
_ANY_EMOJI = "\u2728"  # sparkles, where a recipe names none for a class
_BOT_CHARS = 36  # Telegram wants `_by_<bot's name>` behind a set's name, 32 for the bot's
_NOT_NAME = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Icon:
    """A pack's own picture, made like an asset's from the asset that shows it best.

    Attributes:
        path: Where it goes in the batch's folder.
        asset: The asset that it shows: the pack's first.
        to: What it must be.
    """

    path: str
    asset: str
    to: Platform


@dataclass(frozen=True)
class Companions:
    """What goes with one pack.

    Attributes:
        texts: Bytes by path in the batch's folder.
        icons: Pictures to make.
    """

    texts: dict[str, bytes] = field(default_factory=dict)
    icons: list[Icon] = field(default_factory=list)


def companions(to: Platform, pack: Pack, *, title: str, publisher: str) -> Companions:
    """Return the files that go with a pack; none where a platform knows no packs.

    Args:
        to: The platform.
        pack: One of its packs.
        title: What people call the campaign; the pack's theme is added.
        publisher: Whose it is.
    """
    if to.pack is None:
        return Companions()
    title = f"{title} {pack.theme}".strip()
    listing = _LISTINGS[to.name](pack, to.pack, title, publisher)
    text = json.dumps(listing, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    icons = []
    if to.pack.icon is not None:
        icons = [Icon(f"{pack.folder}/{TRAY}", pack.members[0].asset, icon(to.pack.icon))]
    return Companions({f"{pack.folder}/{LISTINGS[to.name]}": text.encode()}, icons)


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units, as Java and JavaScript count it."""
    return len(text.encode("utf-16-le")) // 2


def _cut(text: str, most: int) -> str:
    """Return a text of one line, cut to a length in UTF-16 units."""
    text = " ".join(text.split())
    while units(text) > most:
        text = text[:-1]
    return text.rstrip()


def _emojis(member: Member, limits: PackLimits) -> list[str]:
    found = split_emojis(member.emoji) or [_ANY_EMOJI]
    return found[: limits.emojis_at_most]


def _whatsapp(pack: Pack, limits: PackLimits, title: str, publisher: str) -> dict[str, Any]:
    """Return `contents.json` of the sample app; it takes no key that it does not know."""
    stickers = [
        {
            "image_file": f"{member.asset}.{pack.extension}",
            "emojis": _emojis(member, limits),
            "accessibility_text": _cut(
                f"{member.class_}, a synthetic image", limits.chars["accessibility_text"]
            ),
        }
        for member in pack.members
    ]
    return {
        "sticker_packs": [
            {
                "identifier": pack.name,
                "name": _cut(title, limits.chars["name"]),
                "publisher": _cut(publisher, limits.chars["publisher"]),
                "tray_image_file": TRAY,
                "image_data_version": _version(pack),
                "avoid_cache": False,
                "animated_sticker_pack": False,
                "stickers": stickers,
            }
        ]
    }


def _telegram(pack: Pack, limits: PackLimits, title: str, _publisher: str) -> dict[str, Any]:
    """Return the arguments but the user: whoever sends them adds `_by_<bot>` to `name`."""
    most = limits.chars["name"] - _BOT_CHARS
    plain = _NOT_NAME.sub("_", pack.name)
    # Names are taken by whoever comes first in the world.
    name = f"{plain if plain[0].isalpha() else f'p_{plain}'}"[: most - 9].strip("_")
    stickers = [
        {
            "sticker": f"attach://{member.asset}.{pack.extension}",
            "format": "static",
            "emoji_list": _emojis(member, limits),
            "keywords": [_cut(member.class_, limits.chars["keywords"])],
        }
        for member in pack.members
    ]
    return {
        "name": f"{name}_{_version(pack)}",
        "title": _cut(title, limits.chars["title"]),
        "sticker_type": "regular",
        "stickers": stickers,
    }


def _discord_sticker(
    pack: Pack, limits: PackLimits, title: str, publisher: str
) -> list[dict[str, Any]]:
    return [
        {
            "file": f"{member.asset}.{pack.extension}",
            "name": _numbered(member, limits),
            "description": _cut(
                f"{title} by {publisher}: {member.class_}, a synthetic image",
                limits.chars["description"],
            ),
            "tags": ", ".join(
                [*_emojis(member, limits), _cut(member.class_.replace(",", " "), 100)]
            ),
        }
        for member in pack.members
    ]


def _discord_emoji(
    pack: Pack, limits: PackLimits, _title: str, _publisher: str
) -> list[dict[str, Any]]:
    return [
        {
            "file": f"{member.asset}.{pack.extension}",
            "name": _NOT_NAME.sub("_", _numbered(member, limits)).strip("_"),
        }
        for member in pack.members
    ]


_LISTINGS: dict[str, Callable[[Pack, PackLimits, str, str], Any]] = {
    "whatsapp": _whatsapp,
    "telegram": _telegram,
    "discord_sticker": _discord_sticker,
    "discord_emoji": _discord_emoji,
}


def _numbered(member: Member, limits: PackLimits) -> str:
    """Return a name that no other sticker has: the class, and a piece of the asset's id."""
    return f"{_cut(member.class_, limits.chars['name'] - 9)} {member.asset[:8]}"


def _version(pack: Pack) -> str:
    """Return 8 hex digits that change when the pack does."""
    return hashlib.sha256(" ".join(each.asset for each in pack.members).encode()).hexdigest()[:8]
