"""A gate decision, and what follows from it whatever it is.

The evidence is written, a refusal goes to the ledger, and the version's release folder is made and
sent to MLflow, also on rejection. What a pass leads to is for the callers.
"""

import logging

from flows import approval, asking, ledger, notices, registry, release, succession, tracking
from flows.gate import judging
from flows.gate.judging import Judged
from flows.papers.folder import write_release
from flows.registry import Version
from flows.release import Promoted
from flows.settings import Settings
from gan.durable import verify_sums
from gan.paths import Layout
from gan.recipe import Recipe
from gan.sections import GateSpec

CHALLENGER = "challenger"
_RELEASE = "release"
_SEALED = "release_digest"
_log = logging.getLogger(__name__)


def decide(
    layout: Layout, settings: Settings, recipe: Recipe, candidate: Version, champion: Version | None
) -> Judged:
    """Judge a version against the champion of the moment, and keep all that was found.

    Raises:
        ServiceError: It passed, and MLflow could not take what goes with the version; the same
            call again completes. A refusal stands without MLflow.
    """
    judged = judging.judge(layout, settings, recipe, candidate, champion)
    outcome, says = judged.verdict.outcome, judged.verdict.summary
    if judged.is_new and outcome != "pass":
        release.decline(
            layout,
            candidate,
            event="reject" if outcome == "fail" else "hold",
            evidence_digest=judged.digest,
            actor="ganmill",
            reason=says,
        )
        payload: dict[str, str | int] = {
            "version": candidate.number,
            "evidence": judged.digest,
            "outcome": outcome,
        }
        notices.announce(layout, settings, "model.rejected", recipe.name, says, payload)
    try:
        _keep(layout, settings, recipe, candidate, judged)
    except Exception as error:  # what is wrong with it may be why it was refused
        if outcome == "pass":
            raise
        _log.warning("%s v%d: its papers are not whole: %s", recipe.name, candidate.number, error)
    return judged


def needs_person(gate: GateSpec, champion: Version | None) -> bool:
    """Return whether a pass is not enough: by the recipe, a person lets a version out."""
    return gate.approval == "person" or (champion is None and gate.cold_start == "person")


def ask(
    layout: Layout,
    settings: Settings,
    recipe: Recipe,
    candidate: Version,
    champion: Version | None,
    judged: Judged,
) -> str:
    """Ask for a person's word on a version that passed; return how to give it."""
    entry = approval.ask(layout, settings, recipe, candidate, champion, judged)
    asking.start(settings, recipe.name, entry.evidence_digest)
    return (
        f"v{candidate.number} passed and waits for a person until {recipe.gate.approval_hours:g} h "
        f'are over: ganmill approve {recipe.name} --reason "..."'
    )


def standing(layout: Layout, settings: Settings, recipe: str) -> tuple[Version | None, int | None]:
    """Return the champion to compare with, and the number that the alias points to.

    Where somebody moved the alias by hand, the champion is the ledger's, if it is still there: a
    model that came in by the back door is compared with the one that it replaced.

    Raises:
        DamagedError: The ledger's chain does not hold.
        ServiceError: MLflow did not answer.
    """
    alias = registry.by_alias(settings, recipe, release.CHAMPION)
    last = succession.last_move(ledger.read(layout.ledger), recipe)
    known = registry.versions(settings, recipe) if last else []
    champion = next((each for each in known if last and succession.is_meant(each, last)), None)
    return champion, alias.number if alias else None


def promote(
    layout: Layout,
    settings: Settings,
    version: Version,
    alias: int | None,
    judged: Judged,
    *,
    actor: str,
    reason: str,
    wants_batch: bool = True,
) -> Promoted:
    """Make a version that passed the champion, and tell everybody who waits for it.

    Args:
        layout: The workspace.
        settings: Where the servers are.
        version: What passed.
        alias: The number that the champion's alias had when it was judged; None: there was none.
        judged: The verdict.
        actor: Who promotes.
        reason: Why.
        wants_batch: Whether a batch is to be started from it; False: the caller mints.

    Raises:
        ApprovalError, BusyError, DamagedError, ServiceError: As in `release.promote`.
    """
    done = release.promote(
        layout,
        settings,
        version.recipe,
        version,
        evidence_digest=judged.digest,
        actor=actor,
        reason=reason,
        expected_champion=alias,
    )
    tell_promotion(layout, settings, done, wants_batch=wants_batch)
    return done


def tell_promotion(
    layout: Layout, settings: Settings, done: Promoted, *, wants_batch: bool = True
) -> None:
    """Announce a promotion, which starts a batch from the new champion; it is challenger no more.

    Raises:
        ServiceError: MLflow did not answer; the promotion itself stands.
    """
    says = f"v{done.version} is champion: {done.entry.reason}"
    payload: dict[str, str | int] = {
        "version": done.version,
        "digest": done.digest,
        "by": done.entry.actor,
    }
    notices.announce(
        layout, settings, "model.promoted", done.recipe, says, payload, wants_batch=wants_batch
    )
    registry.drop_alias(settings, done.recipe, CHALLENGER, done.version)


def _keep(
    layout: Layout, settings: Settings, recipe: Recipe, version: Version, judged: Judged
) -> None:
    """Write the version's release folder and send it to its run, if it is not there as it is."""
    folder = write_release(layout, settings, recipe, version, judged)
    seal = verify_sums(folder)
    if version.tags.get(_SEALED) == seal:
        return
    run = tracking.run_of(settings, version.run_id)
    tracking.log_folder(run, folder, _RELEASE)
    outcome = judged.verdict.outcome
    tags = {_SEALED: seal, "gate": outcome, "evidence_digest": judged.digest}
    registry.tag_version(settings, version, tags)
