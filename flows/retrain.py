"""The `retrain` flow: walk the stage graph of `dvc.yaml`, register, gate, promote, mint.

    refresh | ingest validate prepare | record | extractor drift | adopt | train evaluate push |
    register gate promote | generate detector

Each of the first kind is a DVC stage, so an unchanged one costs nothing and `dvc repro` by hand
shares its work. `adopt` registers the bundle shipped with the code when there is no champion yet.
Where the recipe wants a person to let a version out, `promote` asks, and nothing waits.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows import deciding, ledger, notices, registry, release, versions
from flows.adopt import adopt, refusal
from flows.artifacts import show_gate, show_links, show_metrics, show_steps
from flows.deciding import CHALLENGER
from flows.detector.step import step as bring_detector
from flows.drift import checking
from flows.gate import judging
from flows.generate import mint_batch
from flows.orphans import close_orphans
from flows.pins import read_pin, renew_pin
from flows.registry import Version
from flows.schedules import due
from flows.schedules.slots import timing_of
from flows.settings import load_settings, workspace
from flows.steps import bring_in, push, run
from flows.story import Mill, Step, Story, lineage, say, shown
from flows.training import follow_training, register_bundle
from gan.durable import read_json, run_lock
from gan.recipe import load_recipe
from gan.training.identity import set_aside


@dataclass(frozen=True)
class Retrained:
    """What a flow run left behind.

    Attributes:
        recipe: Its recipe.
        steps: How each step went, in order.
        champion: The champion at the end; None while the first one waits for a person.
        report: The champion's `metrics.json`, measured on the present data; empty without one.
        batch: The folder of the batch; None without a champion, or on hold.
        waiting: The number of the version that waits for a person's word.
        flow_run_url: The run's page.
    """

    recipe: str
    steps: list[Step]
    champion: Version | None
    report: dict[str, Any]
    batch: Path | None
    waiting: int | None
    flow_run_url: str


@flow(name="retrain", flow_run_name="retrain-{recipe}", validate_parameters=False)
def retrain(
    recipe: str,
    force: bool = False,  # noqa: FBT001  # a form in Prefect's UI
    fresh: bool = False,  # noqa: FBT001
) -> Retrained | State[None]:
    """Bring a recipe's champion up to date: check the data, train, measure, gate, promote, mint.

    Args:
        recipe: Its name.
        force: Train although nothing changed.
        fresh: Leave a stopped training of other data or parameters as it is and start anew; else
            it is refused, so that no work is dropped unnoticed.

    Raises:
        ContractError: The images do not meet the data contract.
        GateError: The new model is not shown to be good enough; the champion stays, and nothing
            is minted.
        PreemptedError: Stopped by a signal; the same call resumes.
        BusyError: The same recipe is being retrained by another process.
    """
    layout, settings = workspace(), load_settings()
    loaded = load_recipe(layout.params, recipe)
    if passed_over := due.instead(layout, timing_of(loaded, "retrain")):
        return passed_over
    mill = Mill(layout, settings, loaded, lineage(settings))
    story = Story(recipe)
    read_pin(layout, recipe)
    with run_lock(layout.lock(f"retrain-{recipe}"), f"retrain {recipe}"), _steps_shown(story):
        close_orphans("retrain", recipe)
        bring_in(mill, story)
        run(story, "extractor", lambda: _stage(mill, "extractor"))
        run(story, "drift", lambda: checking.step(mill))
        if run(story, "adopt", lambda: adopt(mill)):
            return _outcome(mill, story, None)
        run(story, "train", lambda: _train(mill, force=force, fresh=fresh))
        run(story, "evaluate", lambda: _stage(mill, "evaluate"))
        run(story, "push", lambda: push(mill))
        run(story, "register", lambda: _register(mill))
        run(story, "gate", lambda: _gate(mill))
        run(story, "promote", lambda: _promote(mill))
        batch = run(story, "generate", lambda: _generate(mill))
        run(story, "detector", lambda: bring_detector(mill))
        return _outcome(mill, story, batch)


@contextmanager
def _steps_shown(story: Story) -> Iterator[None]:
    """Show the steps on the run's page at the end, above all when it ends early."""
    try:
        yield
    finally:
        show_steps(story)


def _stage(mill: Mill, stage: str) -> tuple[str, str, None]:
    """Reproduce one DVC stage, and show what people look at first."""
    done = versions.reproduce(mill.layout, stage, mill.recipe.name)
    if stage == "evaluate":
        show_metrics(mill)
    return done.state, "; ".join(done.because), None


def _train(mill: Mill, *, force: bool, fresh: bool) -> tuple[str, str, None]:
    """Train if DVC says so, from the champion of the moment."""
    if fresh and (left := set_aside(mill.layout, mill.recipe)):
        say(f"  a stopped training of other data or parameters is left in {shown(left)}")
    champion = release.serving(mill.layout, mill.settings, mill.recipe.name)
    reasons = renew_pin(mill.layout, mill.settings, mill.recipe, champion, force=force)
    if not reasons:
        return "unchanged", "", None
    done = follow_training(mill, force=force)
    start = (
        read_pin(mill.layout, mill.recipe.name) if mill.recipe.train.start == "champion" else None
    )
    note = f"from {start[:12] if start else 'scratch'}; {'; '.join(reasons)}"
    payload = {"state": done.state, "start": start or "scratch"}
    _announce(mill, "model.trained", f"a training ended: {note}", payload)
    return done.state, note, None


def _register(mill: Mill) -> tuple[str, str, None]:
    """Register the bundle as challenger, with its report in MLflow."""
    version, is_new = register_bundle(mill)
    champion = release.serving(mill.layout, mill.settings, mill.recipe.name)
    if is_new and (champion is None or champion.number != version.number):
        registry.set_alias(mill.settings, mill.recipe.name, CHALLENGER, version.number)
    return (
        ("registered" if is_new else "unchanged"),
        f"v{version.number} {version.digest[:12]}",
        None,
    )


def _gate(mill: Mill) -> tuple[str, str, None]:
    """Judge the trained bundle against the champion of the moment; only `pass` comes back.

    Raises:
        GateError: The verdict is `fail` or `unknown`; it is in the ledger, the champion stays.
    """
    name, settings = mill.recipe.name, mill.settings
    release.finish(mill.layout, settings, name)
    candidate, champion = _candidate(mill), release.serving(mill.layout, settings, name)
    if standing := _standing(mill, candidate, champion):
        return *standing, None
    judged = deciding.decide(mill.layout, settings, mill.recipe, candidate, champion)
    show_gate(mill, candidate, judged)
    judging.require_pass(name, candidate, judged)
    return "passed", f"{judged.verdict.deciding} {shown(judged.page)}", None


def _promote(mill: Mill) -> tuple[str, str, None]:
    """Move the champion to the candidate that passed, or ask for the person who may."""
    name, settings, layout = mill.recipe.name, mill.settings, mill.layout
    candidate, champion = _candidate(mill), release.serving(layout, settings, name)
    if standing := _standing(mill, candidate, champion):
        return *standing, None
    judged = judging.judge(layout, settings, mill.recipe, candidate, champion)
    judging.require_pass(name, candidate, judged)
    if deciding.needs_person(mill.recipe.gate, champion):
        asked = deciding.ask(layout, settings, mill.recipe, candidate, champion, judged)
        return "waiting", asked, None
    reason = f"passed the gate: {judged.verdict.deciding}"
    alias = champion.number if champion else None
    done = deciding.promote(
        layout,
        settings,
        candidate,
        alias,
        judged,
        actor="ganmill",
        reason=reason,
        wants_batch=False,  # the next step mints it
    )
    before = f"v{done.previous}" if done.previous else "none"
    return "promoted", f"v{done.version} is champion, before it {before}", None


def _standing(mill: Mill, candidate: Version, champion: Version | None) -> tuple[str, str] | None:
    """Return why there is nothing to decide: it is champion, or a person took it back."""
    if champion and champion.digest == candidate.digest:
        return "unchanged", f"v{champion.number} is champion"
    said = refusal(mill, candidate)
    return ("held", said) if said else None


def _announce(
    mill: Mill, event: notices.Event, says: str, payload: Mapping[str, str | int]
) -> None:
    notices.announce(mill.layout, mill.settings, event, mill.recipe.name, says, payload)


def _generate(mill: Mill) -> tuple[str, str, Path | None]:
    """Mint the day's batch from the champion, if there is one and production is not on hold."""
    name = mill.recipe.name
    if hold := ledger.production_hold(ledger.read(mill.layout.ledger), name):
        note = f"on hold since {hold.time_utc[:16]} by {hold.actor} ({hold.reason})"
        return "held", f'{note}; ganmill resume {name} --reason "..."', None
    if release.serving(mill.layout, mill.settings, name) is None:
        return "skipped", "no champion to mint from yet", None
    minted, version = mint_batch(mill)
    state = "unchanged" if minted.already else "minted"
    note = f"{minted.accepted} of {minted.wanted} assets from v{version.number}"
    return state, f"{note}: {shown(minted.folder)}", minted.folder


def _candidate(mill: Mill) -> Version:
    digest = read_json(mill.layout.evaluation(mill.recipe.name) / "metrics.json")["bundle_digest"]
    known = registry.versions(mill.settings, mill.recipe.name)
    return next(version for version in known if version.digest == digest)


def _outcome(mill: Mill, story: Story, batch: Path | None) -> Retrained:
    name = mill.recipe.name
    champion = release.serving(mill.layout, mill.settings, name)
    report = (
        judging.report_of(mill.layout, mill.settings, mill.recipe, champion) if champion else {}
    )
    show_links(mill, champion, batch, registry.comparison_url(mill.settings, name))
    asked = ledger.waiting(ledger.read(mill.layout.ledger), name)
    waiting = asked.to_version if asked else None
    url = mill.lineage.flow_run_url
    return Retrained(name, story.steps, champion, report, batch, waiting, url)
