"""The append-only, hash-chained record of promotions: who moved the champion, when, and why.

One JSON object a line. Each entry carries its own SHA-256 and that of the entry before it, so an
altered, removed or inserted line is found. What a chain alone cannot show is that its newest
entries were cut off: for that, copies of digests are kept elsewhere (`missing_end`).
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from gan.durable import drop_partials, run_lock, write_atomically
from gan.errors import DamagedError

Event = Literal[
    "intend", "done", "undone", "intend-rollback", "rollback", "ask", "reject", "hold",
    "hold-production", "resume-production",
]  # fmt: skip
BEGINNING = "0" * 64
_WAIT_SECONDS = 20.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    `intend` opens a promotion and `intend-rollback` a rollback; `done`, `rollback` or `undone`
    closes it. `ask` waits for a person's word on a version that passed; a promotion of it, `reject`
    or `hold` is that word. `reject` and `hold` of the gate stand alone. Production holds between
    `hold-production` and `resume-production`. Versions are registry numbers; None says that there
    was no champion. `previous` and `digest` are set by `append`.
    """

    event: Event
    recipe: str
    actor: str
    reason: str
    from_version: int | None = None
    to_version: int | None = None
    to_digest: str = ""
    evidence_digest: str = ""
    data_version: str = ""
    git_revision: str = ""
    seq: int = 0
    time_utc: str = ""
    previous: str = BEGINNING
    digest: str = ""


def append(path: Path, entry: Entry) -> Entry:
    """Add `entry` with its number, time and digests; it is on the disk when this returns.

    Raises:
        BusyError: Another process kept the ledger for 20 s.
        DamagedError: The chain so far does not hold; nothing is added to it.
        GanmillError: The file cannot be written; it is as it was.
    """
    lock = path.with_suffix(".lock")
    with run_lock(lock, f"ledger {path}", patience_seconds=_WAIT_SECONDS):
        return _append(path, entry)


def read(path: Path) -> list[Entry]:
    """Return every entry, oldest first, with the chain checked; no file means no entries.

    A last line that a crash cut short was never acknowledged: it is left out, and said so.

    Raises:
        DamagedError: A line is altered, missing, or out of order; the message names it.
    """
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    entries: list[Entry] = []
    for line in lines:
        entries.append(_checked(path, line, entries))
    if rest:
        if _is_torn(rest):
            _log.warning("%s: its last line was cut short by a crash and is left out.", path)
        else:
            entries.append(_checked(path, rest, entries))
    return entries


def missing_end(entries: list[Entry], known: Iterable[str]) -> list[str]:
    """Return the digests kept elsewhere that the chain does not have: then its end was cut off.

    Args:
        entries: The ledger, whose chain holds.
        known: Digests of its lines, as versions in MLflow and git tags keep them.
    """
    there = {entry.digest for entry in entries}
    return sorted(set(known) - there)


def open_intent(entries: list[Entry], recipe: str) -> Entry | None:
    """Return the promotion or rollback of a recipe that was begun and never closed, or None."""
    moves = {"intend", "done", "undone", "intend-rollback", "rollback"}
    for entry in reversed(entries):
        if entry.recipe == recipe and entry.event in moves:
            return entry if entry.event.startswith("intend") else None
    return None


def waiting(entries: list[Entry], recipe: str) -> Entry | None:
    """Return the request for a person's word on a version that nobody has answered, or None.

    Only the newest request of a recipe waits; one about another version takes its place. It is
    answered by a `reject` or `hold` of its version, or by any promotion of the recipe.
    """
    answered: set[int | None] = set()
    for entry in reversed(entries):
        if entry.recipe != recipe:
            continue
        if entry.event in {"intend", "done"}:
            return None
        if entry.event in {"reject", "hold"}:
            answered.add(entry.to_version)
        if entry.event == "ask":
            return None if entry.to_version in answered else entry
    return None


def production_hold(entries: list[Entry], recipe: str) -> Entry | None:
    """Return the line that put a recipe's production on hold, if nothing resumed it since."""
    for entry in reversed(entries):
        if entry.recipe == recipe and entry.event in {"hold-production", "resume-production"}:
            return entry if entry.event == "hold-production" else None
    return None


def _append(path: Path, entry: Entry) -> Entry:
    drop_partials(path.parent, path.name)
    entries = read(path)
    numbered = replace(
        entry,
        seq=len(entries) + 1,
        time_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
        previous=entries[-1].digest if entries else BEGINNING,
    )
    sealed = replace(numbered, digest=_digest(numbered))
    lines = [_line(known) for known in (*entries, sealed)]
    # The whole file is written anew: atomic, so that no reader and no kill sees half a line.
    write_atomically(path, b"".join(line + b"\n" for line in lines))
    return sealed


def _line(entry: Entry) -> bytes:
    return json.dumps(asdict(entry), sort_keys=True, separators=(",", ":")).encode()


def _digest(entry: Entry) -> str:
    return hashlib.sha256(_line(replace(entry, digest=""))).hexdigest()


def _checked(path: Path, line: bytes, before: list[Entry]) -> Entry:
    number = len(before) + 1
    previous = before[-1].digest if before else BEGINNING
    entry = _parsed(line)
    if entry is None or _line(entry) != line or _digest(entry) != entry.digest:
        raise _damaged(path, number, "was altered")
    if entry.seq != number or entry.previous != previous:
        raise _damaged(path, number, f"does not follow line {number - 1}")
    return entry


def _parsed(line: bytes) -> Entry | None:
    try:
        value: Any = json.loads(line)
    except ValueError:
        return None
    names = {field.name for field in fields(Entry)}
    if not isinstance(value, dict) or set(value) != names or value["event"] not in get_args(Event):
        return None
    return Entry(**value)


def _is_torn(rest: bytes) -> bool:
    """Tell the beginning of a line, as a crash leaves it, from a line with something after it."""
    try:
        json.JSONDecoder().raw_decode(rest.decode("ascii", errors="replace"))
    except ValueError:
        return True
    return False


def _damaged(path: Path, number: int, what: str) -> DamagedError:
    return DamagedError(
        f"{path}: line {number} {what}. Nothing is promoted on a damaged ledger; "
        f"put back a copy whose chain holds."
    )
