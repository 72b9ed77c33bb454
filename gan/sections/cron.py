"""Cron lines and time zones, checked when `params.yaml` is read.

A line has five fields, or is a word as `@daily`. This is stricter than the reader that follows the
lines later, and never laxer: what can only be a slip is refused, as a step of 90 minutes, a range
that ends before it begins, the 30th of February.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import available_timezones

_WORDS = frozenset(
    {"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # of the months, at their longest
_NO_PLACE = frozenset({"Factory", "localtime"})  # of each machine, not of a place
_PART = re.compile(r"(?:\*|([0-9]+|[a-z]+)(?:-([0-9]+|[a-z]+))?)(?:/([0-9]+))?", re.ASCII)


@dataclass(frozen=True)
class _Field:
    """One of the five: its name, its first and last number, and names for numbers."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    def numbers(self, text: str) -> set[int]:
        """Return the numbers that a field as `1-5`, `*/10`, `mon,fri` stands for.

        Raises:
            ValueError: It stands for none, or for fewer than it seems to.
        """
        return {number for part in text.split(",") for number in self._part(part)}

    def _part(self, text: str) -> range:
        match = _PART.fullmatch(text)
        if match is None:
            raise ValueError(f"{self.name} {text!r} is none of 5, 1-5, */5, 1-9/2, a,b")
        first, last, step = match.groups()
        low = self.low if first is None else self._number(first)
        high = self.high if first is None or step else low
        if last is not None:
            high = self._number(last)
            if low >= high:
                raise ValueError(f"{self.name} {text!r} ends before it begins; write two ranges")
        if step and not 1 <= int(step) <= high - low:
            raise ValueError(f"{self.name} {text!r} steps beyond its end at once")
        return range(low, high + 1, int(step or 1))

    def _number(self, text: str) -> int:
        number = self.names.get(text, -1) if text.isalpha() else int(text)
        if not (self.low <= number <= self.high or self.names.get(str(number))):
            raise ValueError(f"{self.name} {text!r} is not {self.low} to {self.high}")
        return number


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    # Sunday is 0, and 7 as well.
    _Field("weekday", 0, 6, {**{name: n for n, name in enumerate(_DAYS)}, "7": 7}),
)


def check_cron(line: str) -> str:
    """Return a cron line as it is.

    Raises:
        ValueError: It is none, or it names a date that never comes.
    """
    text = line.lower()
    if text in _WORDS:
        return line
    parts = text.split()
    if len(parts) != len(_FIELDS) or not line.isascii():
        raise ValueError(
            "a cron line as '30 6 * * MON-FRI' (minute hour day month weekday), or @hourly, "
            "@daily, @weekly, @monthly, @yearly"
        )
    try:
        found = [each.numbers(part) for each, part in zip(_FIELDS, parts, strict=True)]
    except ValueError as error:
        raise ValueError(f"a cron line: minute hour day month weekday, but {error}") from None
    _require_date(found[2], found[3], anyway=parts[4] != "*")
    return line


def _require_date(days: set[int], months: set[int], *, anyway: bool) -> None:
    """Refuse a day that none of the months has; where a weekday is given too, that one counts."""
    if not anyway and min(days) > max(_LENGTHS[month - 1] for month in months):
        raise ValueError(f"a date that comes: no such month has a day {min(days)}")


def check_zone(name: str) -> str:
    """Return the IANA name of a time zone as it is.

    Raises:
        ValueError: There is no such zone.
    """
    if name != "UTC" and (name in _NO_PLACE or name not in available_timezones()):
        raise ValueError(f"an IANA time zone as Europe/Berlin{_nearest(name)}")
    return name


def _nearest(name: str) -> str:
    known = {zone.lower(): zone for zone in available_timezones()}
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f" (did you mean {known[close[0]]}?)" if close else ""
