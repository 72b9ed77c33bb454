"""Pictures and packs exactly as each platform takes them, and proof from the files that they are.

limits.json    pixels, bytes, packs and texts of each platform, dated, with sources
catalog.py     those limits as `Platform`
drawing.py     a generated image -> the platform's picture
encoding.py    a picture -> the best file within the limit
checking.py    a file's bytes -> what is wrong with it, read without our encoder
packs.py       accepted assets -> packs; companions.py: the files that go with a pack
pack_checks.py a batch folder -> what is wrong with its packs
"""

from gan.platforms.catalog import Platform, platform, platforms
from gan.platforms.checking import check, problems
from gan.platforms.companions import Companions, Icon, companions
from gan.platforms.drawing import render
from gan.platforms.emojis import require_emojis
from gan.platforms.encoding import encode
from gan.platforms.pack_checks import pack_problems
from gan.platforms.packs import Member, Pack, arrange

__all__ = [
    "Companions",
    "Icon",
    "Member",
    "Pack",
    "Platform",
    "arrange",
    "check",
    "companions",
    "encode",
    "pack_problems",
    "platform",
    "platforms",
    "problems",
    "render",
    "require_emojis",
]
