"""Slots of cron lines: as Prefect counts them, each once, whatever the clocks do."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from flows.schedules import slots
from flows.schedules.slots import Timing
from gan.recipe import Recipe
from gan.sections.cron import check_cron

HOUR = timedelta(hours=1)
# Around each change of the clocks of 2026: the zone, and the moment, UTC.
CHANGES = {
    "Berlin, spring": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Berlin, autumn": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "New York, spring": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "New York, autumn": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Lord Howe, autumn": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Lord Howe, spring": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
}
each_change = pytest.mark.parametrize(("zone", "change"), list(CHANGES.values()), ids=list(CHANGES))


def timing(line: str, zone: str = "UTC", **more: object) -> Timing:
    """Return the timing of a retraining by a cron line."""
    return slots.timings(recipe({"retrain": {"cron": line, **more}, "timezone": zone}))[0]


def recipe(schedule: dict[str, Any]) -> Recipe:
    """Return a recipe with a schedule, and a campaign."""
    assets: dict[str, Any] = {"campaigns": {"chat": {}}}
    data = {"source": "files", "path": "x"}
    return Recipe.model_validate(
        {"name": "cats", "data": data, "assets": assets, "schedule": schedule}
    )


def prefect(line: str, zone: str, start: datetime, until: datetime) -> list[datetime]:
    """Return the dates that Prefect's own scheduler would make runs for."""
    schedule = CronSchedule(cron=line, timezone=zone)
    found = asyncio.run(schedule.get_dates(n=1000, start=start, end=until))
    return [date.astimezone(UTC) for date in found]  # as moments: Python compares clocks else


def test_what_a_recipe_has_on_the_clock() -> None:
    """Each entry has a name for people, its deployment, its key, and its zone."""
    found = slots.timings(
        recipe(
            {
                "drift": {"cron": "@hourly", "timezone": "Asia/Tokyo"},
                "campaigns": {"chat": "@daily"},
                "generate": "@weekly",
                "timezone": "Europe/Berlin",
            }
        )
    )

    assert [(each.label, each.deployment, each.says, each.timezone) for each in found] == [
        ("generate", "generate/cats", "cats: schedule.generate", "Europe/Berlin"),
        ("generate:chat", "generate/cats:chat", "cats: schedule.campaigns.chat", "Europe/Berlin"),
        ("drift", "drift/cats", "cats: schedule.drift", "Asia/Tokyo"),
    ]


def _field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low - 1, high + 2).map(str)
    word = st.sampled_from(names) if names else number
    one = number | word
    part = st.one_of(
        st.just("*"),
        one,
        st.tuples(one, one).map("-".join),
        st.tuples(st.just("*") | one, number).map("/".join),
        st.tuples(one, one, number).map(lambda each: f"{each[0]}-{each[1]}/{each[2]}"),
    )
    return st.just("*") | st.lists(part, min_size=1, max_size=3).map(",".join)


LINES = st.tuples(
    _field(0, 59),
    _field(0, 23),
    _field(1, 31),
    _field(1, 12, ("jan", "FEB", "Dec")),
    _field(0, 7, ("sun", "MON", "Fri", "sat")),
).map(" ".join) | st.sampled_from(["@hourly", "@daily", "@weekly", "@monthly", "@yearly"])


@settings(max_examples=80, deadline=None)
@given(line=LINES)
def test_what_a_recipe_may_say_prefect_takes(line: str) -> None:
    """A cron line that `params.yaml` takes is one for Prefect, and it is due some day."""
    try:
        check_cron(line)
    except ValueError:
        assume(False)  # noqa: FBT003  # stricter is allowed
    schedule = CronSchedule(cron=line, timezone="UTC")

    assert asyncio.run(schedule.get_dates(n=1, start=datetime(2026, 1, 1, tzinfo=UTC)))


@settings(max_examples=150, deadline=None)
@given(text=st.lists(st.text("0123456789*/-,l#?@mon", max_size=6), max_size=6).map(" ".join))
def test_whatever_is_typed_is_a_line_for_prefect_or_refused(text: str) -> None:
    """Nothing but a ValueError comes of a slip, and nothing passes that Prefect would refuse."""
    try:
        check_cron(text)
    except ValueError:
        return
    CronSchedule(cron=text, timezone="UTC")


@each_change
@pytest.mark.parametrize("line", ["0 6 * * *", "30 2 * * *", "0 0 * * *"])
def test_a_day_has_its_slot_once(line: str, zone: str, change: datetime) -> None:
    """Also on the days with 23 and 25 hours, and where 02:30 is left out or comes twice."""
    day = change.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, fold=0)
    since = (day - timedelta(days=2)).astimezone(UTC) - timedelta(seconds=1)
    found = slots.between(timing(line, zone), since, since + timedelta(days=5, hours=-2))

    days = [slots.key(slot, zone)[:10] for slot in found]
    assert days == [f"{day + timedelta(days=n):%Y-%m-%d}" for n in range(-2, 3)]
    assert len({slots.key(slot, zone) for slot in found}) == 5


@each_change
@pytest.mark.parametrize("line", ["0 * * * *", "*/10 * * * *", "15,45 1-3 * * *", "30 2 * * *"])
def test_slots_are_what_prefect_makes_runs_for(line: str, zone: str, change: datetime) -> None:
    """Looked at from long before, Prefect has the very same moments, and no minute twice."""
    since, until = change - 9 * HOUR, change + 9 * HOUR
    found = slots.between(timing(line, zone), since, until)

    theirs = prefect(line, zone, since - 24 * HOUR, until)
    assert found == [date for date in theirs if date > since]
    names = [slots.key(slot, zone) for slot in found]
    assert len(set(names)) == len(names)


@each_change
@settings(max_examples=15, deadline=None)
@given(
    line=st.sampled_from(["0 * * * *", "*/7 * * * *", "30 2 * * *", "59 1 * * *", "0 2,3 * * *"]),
    minutes=st.integers(-300, 300),
)
def test_wherever_prefect_begins_no_slot_is_new(
    line: str, minutes: int, zone: str, change: datetime
) -> None:
    """Prefect, started amid a change of clocks, gives the same slots, or those again that were.

    So the name of a slot is enough to know a run of the same occasion.
    """
    start = change + timedelta(minutes=minutes)
    known = slots.between(timing(line, zone), change - 12 * HOUR, change + 12 * HOUR)
    names = {slots.key(slot, zone) for slot in known}
    theirs = prefect(line, zone, start, change + 6 * HOUR)

    assert {slots.key(date, zone) for date in theirs} <= names
    ahead = [slot for slot in known if start < slot <= change + 6 * HOUR]
    assert [date for date in theirs if date > start] == ahead


def test_the_hour_that_autumn_repeats_has_the_same_slots() -> None:
    """A run at 02:30 and one an hour later, when clocks show 02:30 again, are of one slot."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)

    assert slots.key(first, "Europe/Berlin") == "2026-10-25T02-30"
    assert slots.key(first + HOUR, "Europe/Berlin") == "2026-10-25T02-30"
    assert slots.key(first + HOUR, "UTC") == "2026-10-25T01-30"


def test_slots_come_for_ever() -> None:
    """The next ones of a rare line are found, also inside a running loop."""

    async def inside() -> list[datetime]:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return list(islice(slots.coming(timing("0 0 29 2 *"), start), 3))

    assert [slot.year for slot in asyncio.run(inside())] == [2028, 2032, 2036]
    minutes = timing("* * * * *")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert len(slots.between(minutes, start, start + 48 * HOUR)) == 48 * 60


DUE = datetime(2026, 5, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("missed", "late", "says"),
    [
        ("skip", timedelta(minutes=4), ""),
        ("skip", timedelta(minutes=6), "that is 6 min ago (missed: skip)"),
        ("skip", 20 * HOUR, "that is 1200 min ago (missed: skip)"),
        ("latest", timedelta(minutes=6), ""),
        ("latest", 23 * HOUR, ""),
        ("latest", 24 * HOUR, "2026-05-02 03:00 UTC is due as well (missed: latest)"),
        ("latest", 50 * HOUR, "that is more than 30 h ago (stale_hours)"),
        ("all", 24 * HOUR, ""),
        ("all", 30 * HOUR, ""),
        ("all", 31 * HOUR, "that is more than 30 h ago (stale_hours)"),
    ],
)
def test_a_late_run_is_wanted_or_not(missed: str, late: timedelta, says: str) -> None:
    """`skip` minds minutes, `latest` the next slot, `all` nothing; all mind `stale_hours`."""
    daily = timing("0 3 * * *", missed=missed, stale_hours=30)
    found = slots.overdue(daily, DUE, DUE + late)

    if not says:
        assert found == ""
        return
    assert found == f"due at 2026-05-01 03:00 UTC; {says}, cats: schedule.retrain"


@settings(max_examples=12, deadline=None)
@given(
    missed=st.sampled_from(["skip", "latest", "all"]),
    line=st.sampled_from(["0 3 * * *", "*/10 * * * *", "*/4 10-11 * * *"]),
    stale_hours=st.integers(1, 40),
    hours=st.integers(0, 50),
)
def test_of_all_that_is_late_the_newest_is_done(
    missed: str, line: str, stale_hours: int, hours: int
) -> None:
    """Of an absence, `latest` does the last slot, `all` each that is not stale; none `skip`.

    A run that begins within five minutes was not missed.
    """
    this = timing(line, missed=missed, stale_hours=stale_hours)
    now = DUE + hours * HOUR + timedelta(minutes=7)
    late = slots.between(this, DUE - timedelta(minutes=1), now)
    done = [slot for slot in late if not slots.overdue(this, slot, now)]
    fresh = [slot for slot in late if now - slot <= stale_hours * HOUR]

    assert (
        done
        == {
            "skip": [slot for slot in fresh if now - slot <= slots.LATE],
            "latest": [slot for slot in fresh if slot == fresh[-1] or now - slot <= slots.LATE],
            "all": fresh,
        }[missed]
    )
