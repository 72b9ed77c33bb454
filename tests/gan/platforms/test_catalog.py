"""The limits: complete, dated, and read not too long ago."""

import datetime as dt
import pickle

import pytest

from gan.errors import UsageError
from gan.platforms.catalog import icon, platform, platforms

HALF_A_YEAR = dt.timedelta(days=180)


def test_limits_were_read_within_half_a_year() -> None:
    """Limits that nobody read at their sources for 180 days fail this test: read them again."""
    old = {
        name: each.checked_on
        for name, each in platforms().items()
        if dt.datetime.now(dt.UTC).date() - each.checked_on > HALF_A_YEAR
    }

    assert old == {}


def test_every_limit_of_an_outside_platform_names_an_address() -> None:
    """Whoever doubts a limit finds where it was read."""
    ours = {"png", "thumbnail"}
    outside = {name: each for name, each in platforms().items() if name not in ours}

    assert set(outside) == {
        *("whatsapp", "telegram", "discord_sticker", "discord_emoji"),
        *("x", "instagram", "instagram_portrait", "linkedin"),
    }
    assert all(
        source.startswith("https://") for each in outside.values() for source in each.sources
    )


def test_a_platform_nobody_knows_is_refused_with_those_that_are() -> None:
    """A misspelt platform is one line that names the key and what may stand there."""
    with pytest.raises(UsageError, match=r"assets\.platforms: 'whatsap' .*whatsapp, telegram"):
        platform("whatsap", 256)


def test_plain_png_has_the_asked_size_and_others_their_own() -> None:
    """`size_px` is about the platform `png` alone."""
    assert (platform("png", 640).width_px, platform("png", 640).height_px) == (640, 640)
    assert (platform("linkedin", 640).width_px, platform("linkedin", 640).height_px) == (1200, 627)


def test_platforms_travel_to_workers() -> None:
    """A platform is the same after it went to another process."""
    for each in [*platforms().values(), icon("whatsapp_tray")]:
        assert each == pickle.loads(pickle.dumps(each))  # noqa: S301  # our own, just made
