"""The `approve` flow: a form in Prefect for the person who may let a version out.

The run is suspended while it waits: no process, no slot of the scheduler. An answered form starts
it again from the top, and what it says is checked afresh by `approval.decide`, as from a terminal.
"""

from typing import Any

from prefect import State, flow
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed, Failed
from pydantic import Field

from flows import approval, deciding, notices, registry
from flows.approval import LEAST_REASON, Decision
from flows.asking import FLOW, close_waiting, start
from flows.gate.judging import find_record, read_record
from flows.gate.records import PAGE
from flows.ledger import Entry
from flows.papers.folder import GATE_PAGE
from flows.release import Promoted
from flows.settings import Settings, load_settings, workspace
from flows.story import say
from gan.errors import GanmillError
from gan.paths import Layout
from gan.recipe import load_recipe

__all__ = ["Word", "approve", "close_waiting", "settle", "start"]


class Word(RunInput):
    """What the form asks for."""

    decision: Decision = Field(
        default="hold", description="approve makes it champion; reject keeps it from coming back"
    )
    approver: str = Field(min_length=2, description="Who decides; it stands in the ledger")
    reason: str = Field(min_length=LEAST_REASON, description="Why; it stands in the ledger")
    evidence_digest: str = Field(description="What was looked at; leave it as it is")


@flow(name=FLOW, flow_run_name="approve-{recipe}", validate_parameters=False)
def approve(recipe: str, evidence: str) -> State[Any]:
    """Wait for a person's word on the version that this evidence let pass, and act on it.

    Nobody answering in time ends the run; the request is then put on hold by `reconcile`.

    Args:
        recipe: Its name.
        evidence: The digest of the evidence, in full.
    """
    layout, settings = workspace(), load_settings()
    hours = load_recipe(layout.params, recipe).gate.approval_hours
    word = suspend_flow_run(
        wait_for_input=Word.with_initial_data(
            description=_describe(layout, settings, recipe, evidence), evidence_digest=evidence
        ),
        timeout=max(1, round(3600 * hours)),
        key="word",
    )
    try:
        done = approval.decide(
            layout,
            settings,
            load_recipe(layout.params, recipe),
            decision=word.decision,
            actor=word.approver,
            reason=word.reason,
            evidence_digest=word.evidence_digest,
        )
        settle(layout, settings, done)
    except GanmillError as error:
        say(f"  {error}")
        return Failed(message=str(error))
    said = f"{recipe}: {word.decision} by {word.approver}; {word.reason}"
    return Completed(message=said)


def settle(layout: Layout, settings: Settings, done: Promoted | Entry) -> None:
    """Tell everybody what a person decided; a promotion starts a batch from the new champion.

    Raises:
        ServiceError: MLflow did not answer; the decision itself stands.
    """
    if isinstance(done, Promoted):
        deciding.tell_promotion(layout, settings, done)
    elif done.event == "reject":
        registry.drop_alias(settings, done.recipe, deciding.CHALLENGER, done.to_version or 0)
        says = f"v{done.to_version} was rejected by {done.actor}: {done.reason}"
        payload: dict[str, str | int] = {
            "version": done.to_version or 0,
            "evidence": done.evidence_digest,
            "by": done.actor,
        }
        notices.announce(layout, settings, "model.rejected", done.recipe, says, payload)


def _describe(layout: Layout, settings: Settings, recipe: str, digest: str) -> str:
    """Return what stands above the form: the verdict's sentences, and where all of it is shown."""
    try:
        record = find_record(layout, recipe, digest)
        document = read_record(record)
        known = registry.versions(settings, recipe)
    except GanmillError as error:
        return f"The evidence cannot be shown: {error}"
    candidate = document["evidence"]["candidate_digest"]
    against = document["evidence"]["champion_digest"]
    numbers = {version.digest: f"[v{version.number}]({version.url})" for version in known}
    runs = {version.digest: version.tags.get("mlflow_run_url", "") for version in known}
    champion = numbers.get(against, "a champion that is gone") if against else "no champion"
    base, _, view = runs.get(candidate, "").partition("?")
    page = record.with_name(PAGE).relative_to(layout.root)
    verdict, number = document["verdict"], numbers.get(candidate, candidate[:12])
    address = f"{base}/artifacts/release/{GATE_PAGE}?{view}"
    lines = [
        f"**{recipe}** {number} against {champion}: {verdict['outcome']}.",
        "",
        f"**[Look at both, side by side]({address})**; in the workspace: `{page}`",
        "",
        *(f"- {reason}" for reason in verdict["reasons"]),
    ]
    return "\n".join(lines)
