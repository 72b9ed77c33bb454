"""When a schedule is due, and whether a run that starts late is still wanted. No I/O.

A slot is a time at which a cron line is due, as Prefect itself counts (its `CronSchedule`), named
by the minute that a clock in its time zone shows then. So the hour that autumn repeats has its
slots once, and a time of day that spring leaves out is due once, too, beside the gap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from gan.sections import DEFAULT_CAMPAIGN, CronSpec

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from prefect.types import DateTime

    from gan.recipe import Recipe

LATE = timedelta(minutes=5)  # who begins within that was not missed, whatever `missed` says
# Prefect counts by the clock's reading; about a change of clocks that is up to 2 h off.
_AROUND_A_CHANGE = timedelta(hours=3)
_FIRST_LOOK, _MOST = timedelta(hours=4), 1000  # Prefect gives no more at once


@dataclass(frozen=True)
class Timing:
    """What a recipe says about the runs of one of its deployments.

    Attributes:
        recipe: The recipe's name.
        flow: Which flow runs.
        campaign: For which campaign, of `generate`.
        entry: Its cron line, and what becomes of missed runs.
        timezone: The IANA name of the zone whose clock counts.
    """

    recipe: str
    flow: str
    campaign: str
    entry: CronSpec
    timezone: str

    @property
    def label(self) -> str:
        """What people call it, within the recipe: `retrain`, `generate`, `generate:chat`."""
        named = self.campaign != DEFAULT_CAMPAIGN
        return f"{self.flow}:{self.campaign}" if named else self.flow

    @property
    def deployment(self) -> str:
        """The deployment's name in Prefect: `retrain/stickers`, `generate/stickers:chat`."""
        _, *campaign = self.label.split(":")
        return f"{self.flow}/{':'.join([self.recipe, *campaign])}"

    @property
    def says(self) -> str:
        """Where it is said, for people."""
        place = self.flow if self.label == self.flow else f"campaigns.{self.campaign}"
        return f"{self.recipe}: schedule.{place}"


# What reconciles is no recipe's; of those that were missed, one is enough.
RECONCILING = Timing(
    "ganmill", "reconcile", DEFAULT_CAMPAIGN, CronSpec(cron="*/10 * * * *"), timezone="UTC"
)


def timings(recipe: "Recipe") -> list[Timing]:
    """Return what a recipe has a cron line for, in the order of `ganmill schedule`."""
    when = recipe.schedule
    places: list[tuple[str, str, CronSpec | None]] = [
        ("retrain", DEFAULT_CAMPAIGN, when.retrain),
        ("generate", DEFAULT_CAMPAIGN, when.generate),
        *(("generate", campaign, entry) for campaign, entry in when.campaigns.items()),
        ("drift", DEFAULT_CAMPAIGN, when.drift),
    ]
    return [
        Timing(recipe.name, flow, campaign, entry, when.timezone_of(entry))
        for flow, campaign, entry in places
        if entry
    ]


def timing_of(recipe: "Recipe", flow: str, campaign: str = DEFAULT_CAMPAIGN) -> Timing | None:
    """Return the timing of one flow, and campaign; None where the recipe has no line for it."""
    found = [each for each in timings(recipe) if (each.flow, each.campaign) == (flow, campaign)]
    return found[0] if found else None


def key(moment: datetime, timezone: str) -> str:
    """Return the name of the slot at a moment: what the zone's clock shows, `2026-10-25T02-30`."""
    return f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%dT%H-%M}"


def coming(timing: Timing, after: datetime) -> Iterator[datetime]:
    """Yield the slots after a moment, for ever, each once.

    In UTC: Python compares times of one zone by the clock's reading, wrongly in a repeated hour.
    """
    from prefect.server.schemas.schedules import CronSchedule

    schedule = CronSchedule(cron=timing.entry.cron, timezone=timing.timezone)
    last = after.astimezone(UTC)
    start, ahead = last - _AROUND_A_CHANGE, _FIRST_LOOK
    while True:
        dates = schedule.get_dates(n=_MOST, start=start, end=start + ahead)
        found = [datetime.fromtimestamp(date.timestamp(), UTC) for date in _returned(dates)]
        for slot in found:
            if slot > last:
                last = slot
                yield slot
        if len(found) < _MOST:
            start, ahead = start + ahead - _AROUND_A_CHANGE, 2 * ahead
        else:
            start = last - _AROUND_A_CHANGE


def between(timing: Timing, after: datetime, until: datetime) -> list[datetime]:
    """Return the slots after one moment and up to another, in order."""
    return list(takewhile(lambda slot: slot <= until, coming(timing, after)))


def overdue(timing: Timing, due: datetime, now: datetime) -> str:
    """Return why a run is no longer wanted at its start; empty if it is.

    Args:
        timing: What the recipe says now.
        due: The slot that the run is for.
        now: The present moment.
    """
    late, entry = now - due, timing.entry
    if late > timedelta(hours=entry.stale_hours):
        because = f"that is more than {entry.stale_hours:g} h ago (stale_hours)"
    elif late <= LATE or entry.missed == "all":
        return ""
    elif entry.missed == "skip":
        because = f"that is {late.total_seconds() / 60:.0f} min ago (missed: skip)"
    elif (later := next(coming(timing, due))) <= now:
        because = f"{shown(later, timing.timezone)} is due as well (missed: latest)"
    else:
        return ""
    return f"due at {shown(due, timing.timezone)}; {because}, {timing.says}"


def shown(moment: datetime, timezone: str) -> str:
    """Return a moment as people read it, with the zone that it is told in."""
    return f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M} {timezone}"


def _returned(coroutine: "Coroutine[Any, Any, list[DateTime]]") -> "list[DateTime]":
    """Return what a coroutine returns that waits for nothing; there may be a loop already."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("list[DateTime]", done.value)
    raise RuntimeError("Prefect's CronSchedule waits for something; it never did")
