"""A text of emoji -> the emoji in it, as people count them: a family of four is one."""

import re
from collections.abc import Mapping

from gan.errors import RecipeError

_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_KEYCAP = "[0-9#*]\ufe0f?\u20e3"
# What may stand first: signs and symbols of the older blocks, and the planes of emoji.
_FIRST = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf"
    "\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001faff]"
)
# Then a skin tone or the sign for "in colour", and the tags of a region's flag.
_ONE = f"{_FIRST}(?:\ufe0f|[\U0001f3fb-\U0001f3ff])?(?:[\U000e0020-\U000e007e]+\U000e007f)?"
_EMOJI = re.compile(f"{_FLAG}|{_KEYCAP}|{_ONE}(?:\u200d{_ONE})*")


def split_emojis(text: str) -> list[str] | None:
    """Return the emoji that a text is made of, or None if something else is in it.

    The pattern is that of Unicode's UTS 51, section 1.4.9, without a list of every emoji; white
    space between them is left out.
    """
    rest = "".join(text.split())
    found = _EMOJI.findall(rest)
    return found if "".join(found) == rest else None


def require_emojis(by_class: Mapping[str, str]) -> None:
    """Make sure that what a recipe names for each class is emoji.

    Raises:
        RecipeError: Something else is among them.
    """
    for name, text in by_class.items():
        if not split_emojis(text):
            raise RecipeError(
                f"assets.emoji.{name}: {text!r} is not emoji alone. Write one to three, as "
                f"{name}: \U0001f600"
            )
