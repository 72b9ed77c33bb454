"""A person's word on a version that passed the gate: asked for, given once, and checked afresh.

The word is about the evidence that the person saw. Whatever changed since then (champion, version,
gate, the record itself) makes it void, and the gate is asked again. Nothing waits in a process:
what waits is a line of the ledger.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from flows import ledger, notices, registry, release
from flows.gate import judging
from flows.gate.judging import Judged
from flows.ledger import Entry
from flows.registry import Version
from flows.release import Promoted
from flows.settings import Settings
from flows.succession import MACHINE
from gan.durable import run_lock
from gan.errors import ApprovalError, BusyError, DamagedError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe

Decision = Literal["approve", "reject", "hold"]
LEAST_REASON = 10  # characters: more than "ok" and "looks fine"
_LEAST_DIGEST = 8  # of a digest typed by hand
_WAIT_SECONDS = 20.0


def ask(  # each is a part of the record
    layout: Layout,
    settings: Settings,
    recipe: Recipe,
    candidate: Version,
    champion: Version | None,
    judged: Judged,
) -> Entry:
    """Ask for a person's word, and tell who listens; asked already about this evidence, it stays.

    Raises:
        GateError: The gate did not say `pass`.
        BusyError, DamagedError: As of the ledger.
    """
    judging.require_pass(recipe.name, candidate, judged)
    with _turn(layout, recipe.name):
        entries = ledger.read(layout.ledger)
        known = ledger.waiting(entries, recipe.name)
        if known and known.evidence_digest == judged.digest:
            return known
        entry = Entry(
            event="ask",
            recipe=recipe.name,
            actor=MACHINE,
            reason=f"passed the gate: {judged.verdict.deciding}",
            from_version=champion.number if champion else None,
            to_version=candidate.number,
            to_digest=candidate.digest,
            evidence_digest=judged.digest,
            data_version=candidate.tags.get("data_version", ""),
            git_revision=candidate.tags.get("git_revision", ""),
        )
        asked = ledger.append(layout.ledger, entry)
    says = (
        f"v{candidate.number} passed the gate and waits for a person until {_until(asked, recipe)}"
    )
    payload: dict[str, str | int] = {
        "version": candidate.number,
        "digest": candidate.digest,
        "evidence": judged.digest,
    }
    notices.announce(layout, settings, "model.waiting", recipe.name, says, payload)
    return asked


def decide(
    layout: Layout,
    settings: Settings,
    recipe: Recipe,
    *,
    decision: Decision,
    actor: str,
    reason: str,
    evidence_digest: str | None,
) -> Promoted | Entry:
    """Take a person's word on the version that waits; the first one counts.

    Everything is read afresh. A yes to what is no longer as it was becomes a `hold` of the ledger.

    Args:
        layout: The workspace.
        settings: Where MLflow is.
        recipe: As it is now.
        decision: `approve` promotes; `reject` also keeps a retraining from asking again; `hold`
            leaves it to the next retraining.
        actor: Who.
        reason: Why, in at least 10 characters.
        evidence_digest: Of what they looked at, or its first 8 characters at least; None: of
            whatever waits.

    Returns:
        What became champion, or the line of the `reject` or `hold`.

    Raises:
        ApprovalError: No name or reason, somebody was quicker, it took too long, or something
            changed; the message says what, and what to do.
        UsageError: Nothing was ever asked.
        BusyError, DamagedError, ServiceError: As in `release.promote`; the request still waits.
    """
    actor, reason = actor.strip(), reason.strip()
    if not actor or len(reason) < LEAST_REASON:
        raise ApprovalError(
            f"{recipe.name}: a name and a reason of at least {LEAST_REASON} characters are needed, "
            f'found {actor!r} and {reason!r}. Say who and why: --by NAME --reason "..."'
        )
    with _turn(layout, recipe.name):
        release.finish(layout, settings, recipe.name)
        asked = _asked(ledger.read(layout.ledger), recipe.name, evidence_digest)
        if _lapsed(layout, recipe, asked, datetime.now(UTC)):
            raise ApprovalError(
                f"{recipe.name} v{asked.to_version}: nobody answered until "
                f"{_until(asked, recipe)}, so it is on hold. Ask again: ganmill retrain "
                f"{recipe.name}"
            )
        if decision != "approve":
            word = replace(asked, event=decision, actor=actor, reason=reason)
            return ledger.append(layout.ledger, word)
        known = {each.number: each for each in registry.versions(settings, recipe.name)}
        version = known.get(asked.to_version or 0)
        champion = release.serving(layout, settings, recipe.name)
        problem = _change(layout, recipe, asked, version, champion)
        if problem or version is None:
            said = f"{actor} approved what is no longer as it was: {problem}"
            ledger.append(layout.ledger, replace(asked, event="hold", actor=MACHINE, reason=said))
            raise ApprovalError(
                f"{recipe.name} v{asked.to_version} is not promoted: {problem} since it passed the "
                f"gate. It is on hold; ask again: ganmill retrain {recipe.name}"
            )
        return release.promote(
            layout,
            settings,
            recipe.name,
            version,
            evidence_digest=asked.evidence_digest,
            actor=actor,
            reason=reason,
            expected_champion=champion.number if champion else None,
        )


def lapse(layout: Layout, recipe: Recipe, now: datetime) -> Entry | None:
    """Put a request on hold that nobody answered within the recipe's `gate.approval_hours`.

    Args:
        layout: The workspace.
        recipe: Its recipe.
        now: With a time zone.

    Returns:
        The line of the hold, None when nothing waits for too long.
    """
    with _turn(layout, recipe.name):
        asked = ledger.waiting(ledger.read(layout.ledger), recipe.name)
        return _lapsed(layout, recipe, asked, now) if asked else None


def _asked(entries: list[Entry], recipe: str, digest: str | None) -> Entry:
    """Return the request that waits, if it is about the given evidence.

    Raises:
        ApprovalError: It was answered, or another one waits.
        UsageError: There is none.
    """
    asked = ledger.waiting(entries, recipe)
    if digest is not None and len(digest) < _LEAST_DIGEST:
        raise UsageError(
            f"{recipe}: evidence digest {digest!r} is too short; give at least its first "
            f"{_LEAST_DIGEST} characters."
        )
    if asked and (digest is None or asked.evidence_digest.startswith(digest)):
        return asked
    matching = [
        entry
        for entry in entries
        if entry.recipe == recipe
        and entry.event == "ask"
        and (digest is None or entry.evidence_digest.startswith(digest))
    ]
    if matching:
        raise ApprovalError(f"{recipe} v{matching[-1].to_version}: {_end(entries, matching[-1])}")
    if asked:
        raise ApprovalError(
            f"{recipe}: evidence {(digest or '')[:12]} is not what waits; v{asked.to_version} "
            f"does, with evidence {asked.evidence_digest[:12]}. Look at that, then decide."
        )
    raise UsageError(f"{recipe}: nothing waits for a decision. See: ganmill ledger {recipe}")


def _end(entries: list[Entry], asked: Entry) -> str:
    """Return what ended a request that waits no more."""
    for entry in entries[asked.seq :]:
        if entry.recipe != asked.recipe:
            continue
        is_own = entry.to_version == asked.to_version
        if entry.event == "done" or (is_own and entry.event in {"reject", "hold"}):
            did = {"done": f"v{entry.to_version} promoted", "reject": "rejected", "hold": "on hold"}
            return (
                f"already decided by {entry.actor} at {entry.time_utc[:16]}: {did[entry.event]} "
                f"({entry.reason}). See: ganmill ledger {asked.recipe}"
            )
        if entry.event == "ask":
            return (
                f"v{entry.to_version} waits in its place since {entry.time_utc[:16]}, with "
                f"evidence {entry.evidence_digest[:12]}. Look at that, then decide."
            )
    return f"it waits no more. Ask again: ganmill retrain {asked.recipe}"


def _change(
    layout: Layout,
    recipe: Recipe,
    asked: Entry,
    version: Version | None,
    champion: Version | None,
) -> str:
    """Return what is no longer as the gate saw it, or ""."""
    try:
        record = judging.find_record(layout, recipe.name, asked.evidence_digest)
        document: dict[str, Any] = judging.read_record(record)
        seen, gate, outcome = document["evidence"], document["gate"], document["verdict"]["outcome"]
        judged, against = seen["candidate_digest"], seen["champion_digest"]
    except (UsageError, DamagedError, KeyError, TypeError) as error:
        return f"its evidence cannot be read ({error})"
    before = f"bundle {against[:12]}" if against else "none"
    now = f"v{champion.number}" if champion else "none"
    problems = {
        f"the gate's record says {outcome}": outcome != "pass",
        "it is gone from the registry": version is None,
        "its bundle is another": {judged, version.digest if version else judged}
        != {asked.to_digest},
        f"the champion changed from {before} to {now}": against
        != (champion.digest if champion else None),
        "the recipe's gate changed": gate != recipe.gate.limits,
    }
    return next((problem for problem, is_so in problems.items() if is_so), "")


def _lapsed(layout: Layout, recipe: Recipe, asked: Entry, now: datetime) -> Entry | None:
    """Put a request on hold if it is too old; the caller has the turn."""
    if now <= _deadline(asked, recipe):
        return None
    reason = f"nobody answered within {recipe.gate.approval_hours:g} h"
    late = replace(asked, event="hold", actor=MACHINE, reason=reason)
    return ledger.append(layout.ledger, late)


def _deadline(asked: Entry, recipe: Recipe) -> datetime:
    return datetime.fromisoformat(asked.time_utc) + timedelta(hours=recipe.gate.approval_hours)


def _until(asked: Entry, recipe: Recipe) -> str:
    return f"{_deadline(asked, recipe):%Y-%m-%d %H:%M} UTC"


@contextmanager
def _turn(layout: Layout, recipe: str) -> Iterator[None]:
    """Hold the lock on a recipe's decisions; another one under way is waited for.

    Raises:
        BusyError: It is still under way after 20 s.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                lock = run_lock(layout.lock(f"approval-{recipe}"), f"deciding on {recipe}")
                stack.enter_context(lock)
                break
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
