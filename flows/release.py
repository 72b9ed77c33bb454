"""Moving the champion: ledger intend, alias, read back, ledger done; whole after any kill.

The alias is the only thing that production reads, the ledger the only thing that knows why. A kill
between the two leaves an open intent, which `finish` completes or undoes.
"""

from dataclasses import dataclass, replace
from typing import Literal

from flows import ledger, registry
from flows.ledger import Entry
from flows.registry import Version
from flows.settings import Settings
from gan.durable import run_lock
from gan.errors import ApprovalError, DamagedError, ServiceError, UsageError
from gan.paths import Layout

CHAMPION = "champion"


@dataclass(frozen=True)
class Promoted:
    """The champion after a promotion or a rollback, and the ledger line that closed it."""

    recipe: str
    version: int
    digest: str
    previous: int | None
    entry: Entry


def promote(  # each is a part of the record
    layout: Layout,
    settings: Settings,
    recipe: str,
    version: Version,
    *,
    evidence_digest: str,
    actor: str,
    reason: str,
    expected_champion: int | None,
) -> Promoted:
    """Make `version` the champion, if the champion is still the one that the evidence names.

    Raises:
        ApprovalError: Nobody or no reason is named, no evidence, or the champion has changed.
        BusyError: Another promotion of this recipe is under way.
        DamagedError: The ledger, or the version's digest in the registry, is not what it was.
        ServiceError: MLflow did not answer; run the same again, or `ganmill reconcile`.
    """
    if not evidence_digest:
        raise ApprovalError(f"{recipe} v{version.number}: no evidence digest; gate it first.")
    intent = _intent("intend", version, actor, reason)
    intent = replace(intent, evidence_digest=evidence_digest, from_version=expected_champion)
    with run_lock(layout.lock(f"release-{recipe}"), f"promoting {recipe}"):
        _finish(layout, settings, recipe)
        champion = registry.by_alias(settings, recipe, CHAMPION)
        found = champion.number if champion else None
        if found != expected_champion:
            raise ApprovalError(
                f"{recipe}: the evidence compares with champion {_named(expected_champion)}, but "
                f"it is {_named(found)} now. Gate v{version.number} again: ganmill retrain {recipe}"
            )
        return _move(layout, settings, intent)


def rollback(
    layout: Layout, settings: Settings, recipe: str, *, actor: str, reason: str
) -> Promoted:
    """Make the champion before the present one champion again; the ledger names it.

    Raises:
        ApprovalError: Nobody or no reason is named.
        UsageError: There is no champion, or none before it.
        BusyError, DamagedError, ServiceError: As in `promote`.
    """
    with run_lock(layout.lock(f"release-{recipe}"), f"rolling back {recipe}"):
        _finish(layout, settings, recipe)
        champion = registry.by_alias(settings, recipe, CHAMPION)
        number = _before(ledger.read(layout.ledger), recipe, champion)
        if champion is None or number is None:
            raise UsageError(f"{recipe}: there is no earlier champion to go back to.")
        version = registry.by_number(settings, recipe, number)
        intent = _intent("intend-rollback", version, actor, reason)
        return _move(layout, settings, replace(intent, from_version=champion.number))


def decline(  # each is a part of the record
    layout: Layout,
    version: Version,
    *,
    event: Literal["reject", "hold"],
    evidence_digest: str,
    actor: str,
    reason: str,
) -> Entry:
    """Record that a version was not promoted, and why; the champion stays."""
    entry = replace(_intent("intend", version, actor, reason), event=event)
    return ledger.append(layout.ledger, replace(entry, evidence_digest=evidence_digest))


def taken_back(layout: Layout, recipe: str, number: int) -> Entry | None:
    """Return the rollback that took the championship from a version, if none gave it back since."""
    for entry in reversed(ledger.read(layout.ledger)):
        if entry.recipe == recipe and entry.event in {"done", "rollback"}:
            if entry.to_version == number:
                return None
            if entry.event == "rollback" and entry.from_version == number:
                return entry
    return None


def finish(
    layout: Layout, settings: Settings, recipe: str
) -> Literal["nothing", "completed", "undone"]:
    """Close the promotion that a kill left open, if there is one; harmless at any time.

    It is completed when the champion is still the one it began from and the version is unharmed;
    otherwise it is undone, which leaves the alias as it is.

    Raises:
        BusyError, DamagedError, ServiceError: As in `promote`.
    """
    with run_lock(layout.lock(f"release-{recipe}"), f"finishing the promotion of {recipe}"):
        return _finish(layout, settings, recipe)


def _finish(
    layout: Layout, settings: Settings, recipe: str
) -> Literal["nothing", "completed", "undone"]:
    intent = ledger.open_intent(ledger.read(layout.ledger), recipe)
    if intent is None:
        return "nothing"
    champion = registry.by_alias(settings, recipe, CHAMPION)
    found = champion.number if champion else None
    if found not in {intent.from_version, intent.to_version}:
        problem = f"the champion is {_named(found)}, moved by hand"
    else:
        problem = _harm(settings, intent)
    if problem and found != intent.to_version:
        reason = f"not completed after a kill: {problem}"
        ledger.append(layout.ledger, replace(intent, event="undone", reason=reason))
        return "undone"
    _set_and_close(layout, settings, intent)
    return "completed"


def _move(layout: Layout, settings: Settings, intent: Entry) -> Promoted:
    """Do the transaction; the caller holds the lock and has checked the champion."""
    if problem := _harm(settings, intent):
        raise DamagedError(f"{intent.recipe}: {problem}. Nothing was promoted; register it again.")
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
            f"{_named(champion.number if champion else None)}. Run: ganmill reconcile"
        )
    closing: ledger.Event = "rollback" if intent.event == "intend-rollback" else "done"
    entry = ledger.append(layout.ledger, replace(intent, event=closing))
    return Promoted(intent.recipe, number, champion.digest, intent.from_version, entry)


def _intent(event: ledger.Event, version: Version, actor: str, reason: str) -> Entry:
    if not actor.strip() or not reason.strip():
        raise ApprovalError(
            f"{version.recipe} v{version.number}: a name and a reason are needed. "
            f'Say who and why: --by NAME --reason "..."'
        )
    return Entry(
        event=event,
        recipe=version.recipe,
        actor=actor.strip(),
        reason=reason.strip(),
        to_version=version.number,
        to_digest=version.digest,
        data_version=version.tags.get("data_version", ""),
        git_revision=version.tags.get("git_revision", ""),
    )


def _harm(settings: Settings, intent: Entry) -> str:
    """Return why the version of an intent cannot be champion, or ""."""
    known = {version.number: version for version in registry.versions(settings, intent.recipe)}
    version = known.get(intent.to_version or 0)
    if version is None:
        return f"v{intent.to_version} is gone from the registry"
    if version.digest != intent.to_digest:
        return f"v{intent.to_version} has another bundle digest than the ledger says"
    return ""


def _before(entries: list[Entry], recipe: str, champion: Version | None) -> int | None:
    """Return the version that was champion before the present one came, by the ledger.

    The last line that made the present one champion by promotion tells: a second rollback so goes
    further back, not forth again.
    """
    for entry in reversed(entries):
        came = entry.recipe == recipe and entry.event == "done"
        if champion and came and entry.to_version == champion.number:
            return entry.from_version
    return None


def _named(number: int | None) -> str:
    return "none" if number is None else f"v{number}"
