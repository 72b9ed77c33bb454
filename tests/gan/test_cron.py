"""Cron lines and time zones in `params.yaml`: what is refused is one line that names the key."""

from pathlib import Path

import pytest

from gan.errors import RecipeError
from gan.recipe import load_recipe
from gan.sections import ScheduleSpec
from gan.sections.cron import check_cron

RECIPE = """\
recipes:
  cats:
    data: {{source: files, path: images}}
    assets: {{campaigns: {{chat: {{}}}}}}
    schedule: {schedule}
"""
KEY = "params.yaml: recipes.cats.schedule"


def _schedule(folder: Path, text: str) -> ScheduleSpec:
    path = folder / "params.yaml"
    path.write_text(RECIPE.format(schedule=text))
    return load_recipe(path, "cats").schedule


def test_a_bare_line_is_an_entry_with_defaults(tmp_path: Path) -> None:
    """`retrain: "0 3 * * *"` and `retrain: {cron: "0 3 * * *"}` say the same."""
    short = _schedule(tmp_path, '{retrain: "0 3 * * *", campaigns: {chat: "@daily"}}')
    long = _schedule(
        tmp_path,
        '{retrain: {cron: "0 3 * * *", missed: latest, stale_hours: 24},'
        ' campaigns: {chat: {cron: "@daily"}}, timezone: UTC, on: [drift, model.promoted]}',
    )

    assert short == long
    assert ScheduleSpec() == _schedule(tmp_path, "{}")


def test_an_entry_has_its_own_zone_or_that_of_all(tmp_path: Path) -> None:
    """`timezone` beside the entries is for those that name none."""
    found = _schedule(
        tmp_path,
        '{retrain: "@daily", drift: {cron: "@daily", timezone: Asia/Tokyo},'
        " timezone: Europe/Berlin}",
    )

    assert found.retrain
    assert found.drift
    assert found.timezone_of(found.retrain) == "Europe/Berlin"
    assert found.timezone_of(found.drift) == "Asia/Tokyo"


@pytest.mark.parametrize(
    "line",
    [
        "0 3 * * *",
        "*/15 9-17 1,15 JAN-MAR,dec MON-fri",
        "0 0 * * 7",
        "0 0 * * 5-7",
        "5/20 0-22/2 */2 * 1-5",
        "0 0 29 2 *",
        "0 0 31 2 MON",
        "@Hourly",
        "@midnight",
        "@annually",
    ],
)
def test_the_usual_forms_are_taken(line: str) -> None:
    """Numbers, names, ranges, steps, lists, and words; upper or lower case."""
    assert check_cron(line) == line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("61 3 * * *", "minute '61' is not 0 to 59"),
        ("0 24 * * *", "hour '24' is not 0 to 23"),
        ("0 0 0 * *", "day '0' is not 1 to 31"),
        ("0 0 * 13 *", "month '13' is not 1 to 12"),
        ("0 0 * * 8", "weekday '8' is not 0 to 6"),
        ("0 0 * MON *", "month 'mon' is not 1 to 12"),
        ("*/90 * * * *", "minute '*/90' steps beyond its end at once"),
        ("59/5 * * * *", "minute '59/5' steps beyond its end at once"),
        ("0 0 * * 7/2", "weekday '7/2' steps beyond its end at once"),
        ("*/0 * * * *", "minute '*/0' steps"),
        ("0 22-2 * * *", "hour '22-2' ends before it begins; write two ranges"),
        ("5-5 * * * *", "minute '5-5' ends before it begins"),
        ("*-5 * * * *", "minute '*-5' is none of 5, 1-5, */5, 1-9/2, a,b"),
        ("0 0 * * 1,", "weekday '' is none of"),
        ("0 0 L * *", "day 'l' is not 1 to 31"),
        ("R * * * *", "minute 'r' is not 0 to 59"),
        ("0 0 30 2 *", "it must be: a date that comes: no such month has a day 30"),
        ("0 0 31 4,6 *", "no such month has a day 31"),
        ("0 0 * * * *", "it must be: a cron line as '30 6 * * MON-FRI'"),
        ("@dayly", "@hourly, @daily, @weekly, @monthly, @yearly"),
        ("\u0663 * * * *", "it must be: a cron line"),
        ("", "is ''; it must be: a cron line"),
    ],
)
def test_a_slip_is_told_with_its_field(tmp_path: Path, line: str, says: str) -> None:
    """A line that is wrong, or can only be a slip, is refused as the file is read."""
    for text, key in (
        (f'{{retrain: "{line}"}}', "retrain"),
        (f'{{drift: {{cron: "{line}"}}}}', "drift.cron"),
        (f'{{campaigns: {{chat: "{line}"}}}}', "campaigns.chat"),
    ):
        with pytest.raises(RecipeError) as caught:
            _schedule(tmp_path, text)
        message = str(caught.value)
        assert message.startswith(f"{KEY}.{key} is {line!r}; it must be: a ")
        assert says in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{timezone: Europe/Berln}", ".timezone is 'Europe/Berln'; it must be: an IANA time zone"),
        ("{timezone: europe/berlin}", "(did you mean Europe/Berlin?)"),
        ("{timezone: localtime}", ".timezone is 'localtime'; it must be: an IANA time zone"),
        ("{timezone: ../etc/passwd}", ".timezone is '../etc/passwd'; it must be: an IANA"),
        ("{timezone: ''}", ".timezone is ''; it must be: an IANA time zone"),
        ('{drift: {cron: "@daily", timezone: Mars}}', ".drift.timezone is 'Mars'; it must be"),
        ('{drift: {cron: "@daily", missed: no}}', "missed is 'no'; it must be: 'skip', 'latest'"),
        ('{drift: {cron: "@daily", stale_hours: 0}}', "stale_hours is 0; it must be: greater"),
        ("{drift: {crn: x}}", "unknown key recipes.cats.schedule.drift.crn. Did you mean cron?"),
        ("{drift: {timezone: UTC}}", "recipes.cats.schedule.drift.cron is missing"),
        ("{drift: 3}", ".drift is 3; it must be: a cron line, or {cron, timezone, missed, stale"),
        ("{drift: true}", ".drift is True; it must be: a cron line, or {cron, timezone"),
        ("{on: drift}", ".on is 'drift'; it must be: a valid list"),
        ("{on: [data]}", "it must be: 'data.accepted', 'drift' or 'model.promoted'"),
        ('{campaigns: {chap: "@daily"}}', "schedule.campaigns: assets.campaigns has no 'chap'"),
        ('{retrian: "@daily"}', "unknown key recipes.cats.schedule.retrian. Did you mean retrain?"),
    ],
)
def test_a_wrong_key_or_zone_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    """The same holds for everything else in `schedule`."""
    with pytest.raises(RecipeError) as caught:
        _schedule(tmp_path, text)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
