"""What a check found: one line for people, and the command that mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "bad", "unknown"]
_WORST: tuple[State, ...] = ("bad", "unknown", "warn", "ok")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Of the thing, one or two words.
        state: `ok`; `warn`: works, and may hurt one day; `bad`: does not work; `unknown`: nobody
            could tell.
        says: What was found, a sentence without its full stop.
        mend: What to do about it, a command where there is one; "" where nothing is to be done.
    """

    name: str
    state: State
    says: str
    mend: str = ""


def ok(name: str, says: str) -> Finding:
    """Return that a thing is as it should be."""
    return Finding(name, "ok", says)


def warn(name: str, says: str, mend: str) -> Finding:
    """Return that a thing works and may hurt one day."""
    return Finding(name, "warn", says, mend)


def bad(name: str, says: str, mend: str) -> Finding:
    """Return that a thing does not work."""
    return Finding(name, "bad", says, mend)


def unknown(name: str, says: str, mend: str = "") -> Finding:
    """Return that nobody could tell."""
    return Finding(name, "unknown", says, mend)


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state among findings, `ok` of none; what nobody could tell is near bad."""
    found = {each.state for each in findings}
    return next((state for state in _WORST if state in found), "ok")


def few(names: Iterable[str], most: int = 4) -> str:
    """Return some names as a list for people that names a few of them and counts the rest."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
