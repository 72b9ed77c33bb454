"""The platforms that assets are made for, each with its limits, as `limits.json` has them."""

import datetime as dt
import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gan.errors import UsageError

_EXTENSIONS = {"PNG": "png", "WEBP": "webp", "JPEG": "jpg"}
_MEDIA = {"PNG": "image/png", "WEBP": "image/webp", "JPEG": "image/jpeg"}


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PackLimits(_Entry):
    """What a platform asks of files that are published together.

    Attributes:
        at_least: Files in a pack.
        at_most: Files in a pack; None where the platform sets no limit.
        emojis_at_least: Emoji that each file is listed with.
        emojis_at_most: The most of those.
        chars: The longest text of each kind, in UTF-16 units (never fewer than characters).
        icon: The platform of the pack's own picture, or None.
    """

    at_least: int
    at_most: int | None
    emojis_at_least: int
    emojis_at_most: int
    chars: dict[str, int]
    icon: str | None


class Platform(_Entry):
    """What one platform takes.

    Attributes:
        name: What a recipe calls it; the folder of its files.
        title: What a person calls it.
        format: Pillow's name of the format.
        width_px: Exact width.
        height_px: Exact height.
        alpha: Whether a picture may be transparent; if not it is laid over the background.
        is_sticker: Whether it is shown on backgrounds of any colour: a picture without alpha then
            gets rounded corners.
        max_bytes: The largest file, or None.
        pack: What it asks of a pack; None where each file stands for itself.
        sources: Where the limits were read.
        checked_on: When.
    """

    name: str
    title: str
    format: Literal["PNG", "WEBP", "JPEG"]
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)
    alpha: bool
    is_sticker: bool
    max_bytes: int | None
    pack: PackLimits | None
    sources: list[str] = Field(min_length=1)
    checked_on: dt.date

    @property
    def extension(self) -> str:
        """End of its files' names, without the dot."""
        return _EXTENSIONS[self.format]

    @property
    def media(self) -> str:
        """Media type of its files, as `image/png`."""
        return _MEDIA[self.format]


def platforms() -> dict[str, Platform]:
    """Return every platform that a recipe may ask for, by name; `png` at 256 px."""
    return {name: platform(name, 256) for name in _limits()["platforms"]}


def platform(name: str, size_px: int) -> Platform:
    """Return one platform.

    Args:
        name: A key of `limits.json`.
        size_px: Side of the pictures of `png`; the others have their own.

    Raises:
        UsageError: There is none of that name.
    """
    entries = _limits()["platforms"]
    if name not in entries:
        raise UsageError(
            f"assets.platforms: {name!r} is not known; it must be one of {', '.join(entries)}."
        )
    return _platform(name, entries[name], size_px)


def icon(name: str) -> Platform:
    """Return what a pack's own picture must be, by the name in `PackLimits.icon`."""
    return _platform(name, _limits()["icons"][name], 0)


def _platform(name: str, entry: dict[str, Any], size_px: int) -> Platform:
    filled = {
        **entry,
        "name": name,
        "width_px": entry["width_px"] or size_px,
        "height_px": entry["height_px"] or size_px,
        "checked_on": TypeAdapter(dt.date).validate_python(entry["checked_on"]),
    }
    return Platform.model_validate(filled)


@cache
def _limits() -> dict[str, Any]:
    text = files("gan.platforms").joinpath("limits.json").read_text("utf-8")
    limits: dict[str, Any] = json.loads(text)
    return limits
