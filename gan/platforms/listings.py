"""What an app or a bot reads beside the pictures -> what is wrong with it, and what it lists.

The shapes are those that the platforms publish; WhatsApp's sample app stops at an unknown key.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gan.durable import read_json
from gan.errors import DamagedError
from gan.platforms.catalog import PackLimits, Platform
from gan.platforms.companions import TRAY, units
from gan.platforms.emojis import split_emojis

_IDENTIFIER = re.compile(r"[\w\-.,'\s]+", re.ASCII)
_SET_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")
_EMOJI_NAME = re.compile(r"\w{2,}", re.ASCII)
_MAX_KEYWORDS = 20
_ATTACHED = "attach://"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _WhatsappSticker(_Shape):
    image_file: str
    emojis: list[str]
    accessibility_text: str = ""


class _WhatsappPack(_Shape):
    identifier: str
    name: str
    publisher: str
    tray_image_file: str
    image_data_version: str
    avoid_cache: bool
    animated_sticker_pack: bool
    stickers: list[_WhatsappSticker]


class _Whatsapp(_Shape):
    sticker_packs: list[_WhatsappPack]


class _TelegramSticker(_Shape):
    sticker: str
    format: str
    emoji_list: list[str]
    keywords: list[str] = []


class _Telegram(_Shape):
    name: str
    title: str
    sticker_type: str
    stickers: list[_TelegramSticker]


class _DiscordSticker(_Shape):
    file: str
    name: str
    description: str
    tags: str


class _DiscordEmoji(_Shape):
    file: str
    name: str


def check_listing(path: Path, to: Platform, pack: str) -> tuple[list[str], list[str]]:
    """Return (the names of the pictures that a listing names, what is wrong with it).

    Args:
        path: The listing.
        to: The platform, one that has packs.
        pack: Name of the pack's folder.
    """
    shape, check = _CHECKS[to.name]
    assert to.pack is not None
    try:
        listing = TypeAdapter(shape).validate_python(read_json(path))
    except DamagedError:
        return [], ["is missing or no JSON"]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return [], [f"{place}: {first['msg'].lower()}"]
    return check(listing, to.pack, pack)


def _whatsapp(listing: _Whatsapp, limits: PackLimits, pack: str) -> tuple[list[str], list[str]]:
    if len(listing.sticker_packs) != 1:
        return [], [f"has {len(listing.sticker_packs)} packs; one is expected"]
    one = listing.sticker_packs[0]
    found = _long(limits, identifier=one.identifier, name=one.name, publisher=one.publisher)
    if one.identifier != pack:
        found.append(f"identifier is {one.identifier!r}, but the folder is {pack!r}")
    if not _IDENTIFIER.fullmatch(one.identifier) or ".." in one.identifier:
        found.append(f"identifier {one.identifier!r} has letters that WhatsApp does not take")
    if one.tray_image_file != TRAY:
        found.append(f"tray_image_file is {one.tray_image_file!r}; it must be {TRAY!r}")
    if one.animated_sticker_pack or not one.image_data_version:
        found.append("must be a pack that is not animated, with an image_data_version")
    for each in one.stickers:
        found += _emojis(each.image_file, each.emojis, limits)
        if units(each.accessibility_text) > limits.chars["accessibility_text"]:
            found.append(f"{each.image_file}: accessibility_text is too long")
    return [each.image_file for each in one.stickers], found


def _telegram(listing: _Telegram, limits: PackLimits, _pack: str) -> tuple[list[str], list[str]]:
    found = _long(limits, title=listing.title, name=listing.name)
    if not _SET_NAME.fullmatch(listing.name):
        found.append(
            f"name is {listing.name!r}; it must begin with a letter and be A-Z a-z 0-9 and single _"
        )
    if listing.sticker_type != "regular":
        found.append(f"sticker_type is {listing.sticker_type!r}; it must be 'regular'")
    for each in listing.stickers:
        found += _emojis(each.sticker, each.emoji_list, limits)
        if each.format != "static" or not each.sticker.startswith(_ATTACHED):
            found.append(f"{each.sticker}: must be static and begin with {_ATTACHED}")
        words = sum(units(word) for word in each.keywords)
        if len(each.keywords) > _MAX_KEYWORDS or words > limits.chars["keywords"]:
            found.append(f"{each.sticker}: {len(each.keywords)} keywords of {words} letters")
    return [each.sticker.removeprefix(_ATTACHED) for each in listing.stickers], found


def _discord_sticker(
    listing: list[_DiscordSticker], limits: PackLimits, _pack: str
) -> tuple[list[str], list[str]]:
    found = []
    for each in listing:
        long = _long(limits, least=2, name=each.name, description=each.description)
        long += _long(limits, tags=each.tags)
        found += [f"{each.file}: {line}" for line in long]
    return [each.file for each in listing], found


def _discord_emoji(
    listing: list[_DiscordEmoji], limits: PackLimits, _pack: str
) -> tuple[list[str], list[str]]:
    found = []
    for each in listing:
        found += [f"{each.file}: {line}" for line in _long(limits, name=each.name)]
        if not _EMOJI_NAME.fullmatch(each.name):
            found.append(
                f"{each.file}: name is {each.name!r}; it must be 2 or more of A-Z a-z 0-9 _"
            )
    return [each.file for each in listing], found


_CHECKS: dict[str, tuple[Any, Callable[[Any, PackLimits, str], tuple[list[str], list[str]]]]] = {
    "whatsapp": (_Whatsapp, _whatsapp),
    "telegram": (_Telegram, _telegram),
    "discord_sticker": (list[_DiscordSticker], _discord_sticker),
    "discord_emoji": (list[_DiscordEmoji], _discord_emoji),
}


def _long(limits: PackLimits, *, least: int = 1, **texts: str) -> list[str]:
    """Say which texts are shorter or longer than they may be."""
    return [
        f"{key} has {units(text)} letters; {least} to {limits.chars[key]} are taken"
        for key, text in texts.items()
        if not least <= units(text) <= limits.chars[key]
    ]


def _emojis(name: str, emojis: list[str], limits: PackLimits) -> list[str]:
    """Say whether a picture has too many or too few emoji, or something else among them."""
    if not limits.emojis_at_least <= len(emojis) <= limits.emojis_at_most:
        bounds = f"{limits.emojis_at_least} to {limits.emojis_at_most}"
        return [f"{name}: {len(emojis)} emoji; {bounds} are taken"]
    return [
        f"{name}: {emoji!r} is not one emoji"
        for emoji in emojis
        if len(split_emojis(emoji) or []) != 1
    ]
