"""Accepted assets -> the packs that they are published in, by audience or else by class.

A pack holds as many as its platform allows and no fewer than it asks for: what is too few for a
pack of its own goes into one called `mixed`.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gan.platforms.catalog import PackLimits, Platform

MIXED = "mixed"
FOLDERS = frozenset({"whatsapp", "telegram"})  # a pack is one upload there
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_MAX_NAME_CHARS = 20


@dataclass(frozen=True)
class Member:
    """One accepted asset.

    Attributes:
        asset: Its id, 16 hex digits.
        class_: Its class.
        segment: The audience that it was made for, or "".
        emoji: One or more emoji that stand for it, or "" where none was chosen.
    """

    asset: str
    class_: str
    segment: str
    emoji: str


@dataclass(frozen=True)
class Pack:
    """Files that are published together.

    Attributes:
        name: Its folder's name, as `cats-01`; "" where a platform knows no packs.
        theme: What a person calls it, as `cats 2`.
        members: What is in it, in order.
        folder: Where its files lie in the batch's folder, as `whatsapp/cats-01`.
        extension: The end of its pictures' names.
    """

    name: str
    theme: str
    members: tuple[Member, ...]
    folder: str
    extension: str

    def path(self, asset: str) -> str:
        """Return where the picture of an asset lies in the batch's folder."""
        return f"{self.folder}/{asset}.{self.extension}"


def arrange(to: Platform, members: Sequence[Member]) -> list[Pack]:
    """Return the packs of a platform; the same members in the same order give the same packs.

    Where all members together are too few for one pack there is one all the same, that
    `pack_problems` names: it keeps the batch from being published, not from being made.
    """
    if to.name not in FOLDERS or to.pack is None:
        return [Pack("", "", tuple(members), to.name, to.extension)] if members else []
    packs: list[Pack] = []
    names: dict[str, int] = {}
    for theme, group in _themes(members, to.pack).items():
        parts = _parts(group, to.pack.at_most)
        for number, part in enumerate(parts, 1):
            plain = _plain(theme)
            names[plain] = names.get(plain, 0) + 1  # two themes may have one plain name
            name = f"{plain}-{names[plain]:02d}"
            called = f"{theme} {number}" if len(parts) > 1 else theme
            packs.append(Pack(name, called, part, f"{to.name}/{name}", to.extension))
    return packs


def _themes(members: Sequence[Member], limits: PackLimits) -> dict[str, list[Member]]:
    """Group members by segment or class, those that are too few together under `MIXED`."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.segment or member.class_, []).append(member)
    large = {key: group for key, group in groups.items() if len(group) >= limits.at_least}
    rest = [member for key, group in groups.items() if key not in large for member in group]
    themes = {key: large[key] for key in sorted(large)}
    if rest and len(rest) < limits.at_least and themes:
        fewest = min(themes, key=lambda key: len(themes[key]))
        rest = [*themes.pop(fewest), *rest]
    if rest:
        themes[MIXED] = [*themes.get(MIXED, []), *rest]  # a class may have that name
    return themes


def _parts(group: list[Member], at_most: int | None) -> list[tuple[Member, ...]]:
    """Cut a group into parts of nearly one size, so that none is too small for a pack."""
    count = -(-len(group) // (at_most or len(group)))
    bounds = [len(group) * number // count for number in range(count + 1)]
    return [tuple(group[a:b]) for a, b in pairwise(bounds)]


def _plain(theme: str) -> str:
    """Return a name that every platform and file system takes: a-z, 0-9 and single hyphens."""
    letters = unicodedata.normalize("NFKD", theme.lower()).encode("ascii", "ignore").decode()
    return _NOT_PLAIN.sub("-", letters)[:_MAX_NAME_CHARS].strip("-") or "pack"
