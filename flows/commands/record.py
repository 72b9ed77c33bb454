"""`ganmill ledger`: the record of promotions on a terminal, checked, and as git tags."""

import json
import sys
from dataclasses import asdict

from flows import ledger, registry, tags
from flows.ledger import Entry
from flows.settings import Settings
from gan.errors import DamagedError, ServiceError
from gan.paths import Layout

_LEDGER_DIGEST = "ledger_digest"
_DID = {
    "intend": "begins to promote",
    "done": "promoted",
    "undone": "gave up promoting",
    "intend-rollback": "begins to roll back to",
    "rollback": "rolled back to",
    "ask": "asks about",
    "reject": "rejected",
    "hold": "put off",
    "hold-production": "stopped production",
    "resume-production": "resumed production",
}


def show(layout: Layout, settings: Settings, recipe: str | None, *, as_json: bool) -> None:
    """Print the ledger's lines and whether the chain holds.

    Raises:
        DamagedError: A line was altered, removed or inserted, or the newest ones were cut off.
    """
    entries = ledger.read(layout.ledger)
    shown = [entry for entry in entries if recipe in {None, entry.recipe}]
    known, unasked = _kept_elsewhere(layout, settings, entries)
    if as_json:
        print(json.dumps([asdict(entry) for entry in shown], indent=2))
    else:
        _lines(shown)
    if lost := ledger.missing_end(entries, known):
        raise DamagedError(
            f"{layout.ledger}: {len(lost)} lines are gone that versions or tags still name, say "
            f"{lost[0][:12]}... Put back a copy of the ledger that has them."
        )
    if not as_json:
        last = f", the last is {entries[-1].digest[:12]}" if entries else ""
        print(f"The chain holds: {len(entries)} lines{last}. {_checked(known, unasked)}")


def export(layout: Layout, recipe: str | None) -> None:
    """Write each promotion and rollback as a git tag, and print which.

    Raises:
        UsageError: The workspace is no git repository.
    """
    entries = [e for e in ledger.read(layout.ledger) if recipe in {None, e.recipe}]
    for line in tags.export(layout, entries):
        print(line)
    print("Send them with: git push --tags    See them with: git tag -n1")


def _lines(entries: list[Entry]) -> None:
    """Print a line for each thing that was done; what was begun and ended is one thing."""
    shown = [
        e for e, after in zip(entries, [*entries[1:], None], strict=True) if _is_news(e, after)
    ]
    told = [
        (f"{e.seq}", e.time_utc[:16].replace("T", " "), e.recipe, e.actor, _did(e)) for e in shown
    ]
    widths = [max(map(len, column)) for column in zip(*told, strict=True)] if told else []
    for entry, columns in zip(shown, told, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(columns, widths, strict=True)]
        print("  ".join([*cells, entry.reason]))


def _is_news(entry: Entry, after: Entry | None) -> bool:
    """Return whether a line is more than the beginning of what the next one ends."""
    is_begun = entry.event in {"intend", "intend-rollback"}
    return not (is_begun and after and after.to_version == entry.to_version)


def _did(entry: Entry) -> str:
    did = _DID[entry.event]
    if entry.to_version is not None:
        did += f" v{entry.to_version}"
        did += f" (was v{entry.from_version})" if entry.from_version else ""
    return did


def _kept_elsewhere(
    layout: Layout, settings: Settings, entries: list[Entry]
) -> tuple[set[str], str]:
    """Return digests of ledger lines that versions and git tags have, and why some are unasked."""
    found = set(tags.digests(layout))
    try:
        for recipe in {entry.recipe for entry in entries}:
            for version in registry.versions(settings, recipe):
                found |= {version.tags.get(_LEDGER_DIGEST, "")} - {""}
    except ServiceError as error:
        print(error, file=sys.stderr)
        return found, "MLflow was not asked"
    return found, ""


def _checked(known: set[str], unasked: str) -> str:
    elsewhere = f"{len(known)} copies of digests in MLflow and git agree"
    return f"{elsewhere}{f'; {unasked}' if unasked else ''}."
