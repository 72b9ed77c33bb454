"""Who is champion, and what changes it: promotion and rollback, one at a time for each recipe.

The alias is what production reads, the ledger the only thing that knows why; `serving` gives a
version only where both agree. Where they came apart because somebody else had a hand in it, a
person's promotion or rollback mends it, nothing by itself.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal

from flows import ledger, registry, succession, transaction
from flows.ledger import Entry
from flows.registry import Version
from flows.settings import Settings
from flows.transaction import CHAMPION, Finished, Promoted, change, named
from gan.durable import run_lock
from gan.errors import ApprovalError, DamagedError, UsageError
from gan.paths import Layout

__all__ = [
    "CHAMPION",
    "Promoted",
    "decline",
    "finish",
    "hold",
    "promote",
    "refused",
    "resume",
    "rollback",
    "serving",
    "turn",
]
_SETTLE_SECONDS = 2.0
_TURN_SECONDS = 60.0  # a move takes one, or as long as MLflow is waited for


def serving(layout: Layout, settings: Settings, recipe: str) -> Version | None:
    """Return the version that production may use: champion by its alias and by the ledger.

    A promotion under way in another process is waited for, 2 s at most. None says that there is no
    champion by either.

    Raises:
        DamagedError: The two disagree; the message says what happened and what mends it.
        ServiceError: MLflow did not answer.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        entries = ledger.read(layout.ledger)
        champion = registry.by_alias(settings, recipe, CHAMPION)
        last = succession.last_move(entries, recipe)
        if champion is None and last is None:
            return None
        if champion and last and succession.is_meant(champion, last):
            return champion
        begun = ledger.open_intent(entries, recipe)
        is_moving = begun is not None or ledger.read(layout.ledger) != entries
        if not is_moving or time.monotonic() > deadline:
            there = {version.number for version in registry.versions(settings, recipe)}
            problem = succession.disagreement(entries, recipe, champion, there)
            raise DamagedError(f"{recipe}: {problem}")
        time.sleep(0.1)


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
    """Make `version` the champion, if the alias is still where the evidence says it is.

    It may be where the alias points already: so the ledger takes up a champion set by hand.

    Raises:
        ApprovalError: Nobody or no reason is named, no evidence, or the champion has changed.
        BusyError: Another promotion of this recipe is under way.
        DamagedError: The ledger, or the version's digest in the registry, is not what it was.
        ServiceError: MLflow did not answer; run the same again, or `ganmill reconcile`.
    """
    if not evidence_digest:
        raise ApprovalError(f"{recipe} v{version.number}: no evidence digest; gate it first.")
    intent = _about(version, "intend", actor, reason)
    intent = replace(intent, evidence_digest=evidence_digest, from_version=expected_champion)
    with turn(layout, recipe, "promoting"):
        transaction.finish(layout, settings, recipe)
        champion = registry.by_alias(settings, recipe, CHAMPION)
        found = champion.number if champion else None
        if found != expected_champion:
            raise ApprovalError(
                f"{recipe}: the evidence compares with champion {named(expected_champion)}, but "
                f"it is {named(found)} now. Gate v{version.number} again: ganmill retrain {recipe}"
            )
        return transaction.move(layout, settings, intent)


def rollback(
    layout: Layout, settings: Settings, recipe: str, *, actor: str, reason: str
) -> Promoted:
    """Make the champion before the present one champion again; the ledger names it.

    Versions that are gone, altered or taken back are passed over. It works also when the champion
    was deleted; and where the alias was moved by hand, the ledger's champion is the one before.

    Raises:
        ApprovalError: Nobody or no reason is named.
        UsageError: There is no champion, or none before it.
        BusyError, DamagedError, ServiceError: As in `promote`.
    """
    with turn(layout, recipe, "rolling back"):
        transaction.finish(layout, settings, recipe)
        entries = ledger.read(layout.ledger)
        champion = registry.by_alias(settings, recipe, CHAMPION)
        line = succession.champions(entries, recipe)
        present = champion.number if champion else line[-1].to_version if line else None
        known = {version.number: version for version in registry.versions(settings, recipe)}
        skipped: dict[int, str] = {}
        for entry in reversed(line):
            number = entry.to_version or 0
            if number in {present, *skipped}:
                continue
            problem = _unfit(known.get(number), entry, entries)
            if problem := problem or _damage(layout, settings, known[number]):
                skipped[number] = f"v{number} {problem}"
                continue
            intent = _about(known[number], "intend-rollback", actor, reason)
            if skipped:
                told = f"{intent.reason} (passed over: {'; '.join(skipped.values())})"
                intent = replace(intent, reason=told)
            intent = replace(intent, from_version=present, evidence_digest=entry.evidence_digest)
            return replace(
                transaction.move(layout, settings, intent), skipped=tuple(skipped.values())
            )
    passed = f" Passed over: {'; '.join(skipped.values())}." if skipped else ""
    raise UsageError(f"{recipe}: there is no earlier champion to go back to.{passed}")


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
    entry = replace(_about(version, event, actor, reason), evidence_digest=evidence_digest)
    return ledger.append(layout.ledger, entry)


def refused(layout: Layout, recipe: str, number: int) -> Entry | None:
    """Return the rollback or the person's `reject` that speaks against a version, or None."""
    return succession.refused(ledger.read(layout.ledger), recipe, number)


def hold(layout: Layout, recipe: str, actor: str, reason: str) -> Entry:
    """Stop the minting of a recipe's assets until `resume`; the champion stays what it is.

    Raises:
        ApprovalError: Nobody or no reason is named.
        UsageError: It is on hold already.
    """
    return _switch(layout, recipe, "hold-production", actor, reason)


def resume(layout: Layout, recipe: str, actor: str, reason: str) -> Entry:
    """Let a recipe's assets be minted again.

    Raises:
        ApprovalError: Nobody or no reason is named.
        UsageError: It is not on hold.
    """
    return _switch(layout, recipe, "resume-production", actor, reason)


def finish(layout: Layout, settings: Settings, recipe: str) -> Finished:
    """Close the promotion that a kill left open, if there is one; harmless at any time.

    It is completed when the champion is still the one it began from and the version is unharmed;
    otherwise it is undone, which leaves the alias as it is. A version that lacks its copy of the
    last line's digest is given it.

    Raises:
        BusyError, DamagedError, ServiceError: As in `promote`.
    """
    with turn(layout, recipe, "finishing the promotion of"):
        return transaction.finish(layout, settings, recipe)


def turn(layout: Layout, recipe: str, doing: str) -> AbstractContextManager[None]:
    """Wait for another process that moves the champion, and let none until the end."""
    lock = layout.lock(f"release-{recipe}")
    return run_lock(lock, f"{doing} {recipe}", patience_seconds=_TURN_SECONDS)


def _switch(
    layout: Layout,
    recipe: str,
    event: Literal["hold-production", "resume-production"],
    actor: str,
    reason: str,
) -> Entry:
    """Add a line that stops or starts production, unless it is so already."""
    line = _signed(recipe, Entry(event, recipe, actor, reason))
    lock = layout.lock(f"production-{recipe}")
    with run_lock(lock, f"{event} of {recipe}", patience_seconds=_TURN_SECONDS):
        held = ledger.production_hold(ledger.read(layout.ledger), recipe)
        if held and event == "hold-production":
            raise UsageError(
                f"{recipe} is on hold already, by {held.actor} ({held.reason}). "
                f'Let it go on: ganmill resume {recipe} --reason "..."'
            )
        if not held and event == "resume-production":
            raise UsageError(f"{recipe} is not on hold; there is nothing to resume.")
        return ledger.append(layout.ledger, line)


def _about(version: Version, event: ledger.Event, actor: str, reason: str) -> Entry:
    entry = Entry(
        event=event,
        recipe=version.recipe,
        actor=actor,
        reason=reason,
        to_version=version.number,
        to_digest=version.digest,
        data_version=version.tags.get("data_version", ""),
        git_revision=version.tags.get("git_revision", ""),
    )
    return _signed(f"{version.recipe} v{version.number}", entry)


def _signed(what: str, entry: Entry) -> Entry:
    """Return an entry with its name and reason trimmed; it must have both."""
    actor, reason = entry.actor.strip(), entry.reason.strip()
    if not actor or not reason:
        raise ApprovalError(
            f'{what}: a name and a reason are needed. Say who and why: --by NAME --reason "..."'
        )
    return replace(entry, actor=actor, reason=reason)


def _damage(layout: Layout, settings: Settings, version: Version) -> str:
    """Return why there is nothing to mint from, or ""."""
    try:
        registry.fetch(settings, version, layout.bundle_store)
    except DamagedError as error:
        return f"cannot be minted from: {error}"
    return ""


def _unfit(version: Version | None, entry: Entry, entries: list[Entry]) -> str:
    """Return why a former champion cannot be champion again, or ""."""
    against = succession.refused(entries, entry.recipe, entry.to_version or 0)
    taken_back = f"was taken back by {against.actor}" if against else ""
    return change(version, entry) or taken_back
