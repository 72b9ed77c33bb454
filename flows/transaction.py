"""The promotion transaction: ledger intend, alias, read back, ledger done; whole after any kill.

A kill in between leaves an open intent, which `finish` completes or undoes. The callers in
`release.py` hold the recipe's lock.
"""

import logging
from dataclasses import dataclass, replace
from typing import Literal

from flows import ledger, registry, succession
from flows.ledger import Entry
from flows.registry import Version
from flows.settings import Settings
from gan.errors import DamagedError, ServiceError
from gan.paths import Layout

CHAMPION = "champion"
Finished = Literal["nothing", "completed", "undone"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promoted:
    """The champion after a promotion or a rollback, and the ledger line that closed it.

    `skipped` says of each version that a rollback passed over why.
    """

    recipe: str
    version: int
    digest: str
    previous: int | None
    entry: Entry
    skipped: tuple[str, ...] = ()


def finish(layout: Layout, settings: Settings, recipe: str) -> Finished:
    """Close the intent that a kill left open, or see to the copy of the last line's digest.

    Raises:
        DamagedError, ServiceError: As in `move`.
    """
    entries = ledger.read(layout.ledger)
    intent = ledger.open_intent(entries, recipe)
    if intent is None:
        _mend_copy(settings, entries, recipe)
        return "nothing"
    champion = registry.by_alias(settings, recipe, CHAMPION)
    found = champion.number if champion else None
    # A rollback from a champion that was deleted begins without an alias.
    is_lost = found is None and intent.event == "intend-rollback"
    if is_lost or found in {intent.from_version, intent.to_version}:
        problem = _harm(settings, intent)
    else:
        problem = f"the champion is {named(found)}, moved by hand"
    if problem and found != intent.to_version:
        reason = f"not completed after a kill: {problem}"
        ledger.append(layout.ledger, replace(intent, event="undone", reason=reason))
        return "undone"
    _set_and_close(layout, settings, intent)
    return "completed"


def move(layout: Layout, settings: Settings, intent: Entry) -> Promoted:
    """Do the transaction; the caller has checked the champion.

    Raises:
        DamagedError: The version or one of its files is not what the intent says, or the ledger's
            chain does not hold.
        ServiceError: MLflow did not answer; `finish` does the rest.
    """
    if problem := _harm(settings, intent):
        raise DamagedError(f"{intent.recipe}: {problem}. Nothing was promoted; register it again.")
    # Its files, and by digest: what was judged is what is let out.
    version = registry.by_number(settings, intent.recipe, intent.to_version or 0)
    registry.fetch(settings, version, layout.bundle_store)
    ledger.append(layout.ledger, intent)
    return _set_and_close(layout, settings, intent)


def _set_and_close(layout: Layout, settings: Settings, intent: Entry) -> Promoted:
    number = intent.to_version
    if number is None:
        raise DamagedError(f"{layout.ledger}: entry {intent.seq} names no version to promote.")
    registry.set_alias(settings, intent.recipe, CHAMPION, number)
    champion = registry.by_alias(settings, intent.recipe, CHAMPION)
    if champion is None or champion.number != number:
        raise ServiceError(
            f"{intent.recipe}: {settings.mlflow_url} took v{number} as champion but shows "
            f"{named(champion.number if champion else None)}. Run: ganmill reconcile"
        )
    closing: ledger.Event = "rollback" if intent.event == "intend-rollback" else "done"
    entry = ledger.append(layout.ledger, replace(intent, event=closing))
    _copy(settings, champion, entry)
    return Promoted(intent.recipe, number, champion.digest, intent.from_version, entry)


def _copy(settings: Settings, version: Version, entry: Entry) -> None:
    """Keep the digest of a closing line with its version, so that a cut-off ledger is found.

    The promotion stands by then: where MLflow cannot take it, the next `finish` does it.
    """
    tags = {
        "evidence_digest": entry.evidence_digest,
        "promoted_by": entry.actor,
        "promoted_at": entry.time_utc,
        succession.LEDGER_DIGEST: entry.digest,  # last: where it is, the others are
    }
    try:
        registry.tag_version(settings, version, tags)
    except ServiceError as error:
        _log.warning("%s v%d: its tags come later: %s", version.recipe, version.number, error)


def _mend_copy(settings: Settings, entries: list[Entry], recipe: str) -> None:
    last = succession.last_move(entries, recipe)
    if last is None:
        return
    try:
        known = registry.versions(settings, recipe)
    except ServiceError as error:
        _log.warning("%s: the tags of its champion were not looked at: %s", recipe, error)
        return
    for version in known:
        copy = version.tags.get(succession.LEDGER_DIGEST)
        if succession.is_meant(version, last) and copy != last.digest:
            _copy(settings, version, last)


def _harm(settings: Settings, intent: Entry) -> str:
    """Return why the version of an intent cannot be champion, or ""."""
    known = {version.number: version for version in registry.versions(settings, intent.recipe)}
    problem = change(known.get(intent.to_version or 0), intent)
    return f"v{intent.to_version} {problem}" if problem else ""


def change(version: Version | None, entry: Entry) -> str:
    """Return what became of the version of a line, or ""."""
    if version is None:
        return "is gone from the registry"
    if version.digest != entry.to_digest:
        return "has another bundle digest than the ledger says"
    return ""


def named(number: int | None) -> str:
    """Return how messages call a version."""
    return "none" if number is None else f"v{number}"
