"""`ganmill gate`: a verdict without a promotion, and the proof that the gate can say no."""

import json

from flows import registry, release
from flows.deciding import CHALLENGER
from flows.gate import judging
from flows.gate.judging import Judged
from flows.registry import Version
from flows.settings import Settings
from flows.story import shown
from gan.errors import GateError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipe

_WORDS = {"pass": "passes", "fail": "fails", "unknown": "cannot be judged"}


def judge(
    layout: Layout, settings: Settings, recipe: str, number: int | None, *, as_json: bool
) -> None:
    """Judge a version against the champion of now and print what was found.

    Raises:
        UsageError: There is no such version, or it is the champion itself.
        GateError: The verdict is not `pass`.
    """
    loaded = load_recipe(layout.params, recipe)
    champion = release.serving(layout, settings, recipe)
    candidate = (
        registry.by_alias(settings, recipe, CHALLENGER)
        if number is None
        else registry.by_number(settings, recipe, number)
    )
    if candidate is None:
        raise UsageError(
            f"{recipe}: no challenger waits. Name a version: ganmill gate {recipe} --version N"
        )
    if champion and champion.number == candidate.number:
        raise UsageError(f"{recipe} v{candidate.number} is the champion; judge another version.")
    judged = judging.judge(layout, settings, loaded, candidate, champion)
    _show(recipe, candidate, champion, judged, as_json=as_json)
    judging.require_pass(recipe, candidate, judged)


def _show(
    recipe: str, candidate: Version, champion: Version | None, judged: Judged, *, as_json: bool
) -> None:
    verdict = judged.verdict
    if as_json:
        document = {
            "recipe": recipe,
            "candidate": candidate.number,
            "champion": champion.number if champion else None,
            "outcome": verdict.outcome,
            "reasons": verdict.reasons,
            "evidence": judged.digest,
            "record": str(judged.record),
            "page": str(judged.page),
        }
        print(json.dumps(document, indent=2))
        return
    against = f"v{champion.number}" if champion else "no champion"
    print(f"{recipe} v{candidate.number} against {against}: it {_WORDS[verdict.outcome]}")
    for reason in verdict.reasons:
        print(f"  {reason}")
    print(f"Page: {shown(judged.page)}\nEvidence: {shown(judged.record)}, SHA-256 {judged.digest}")
    if verdict.outcome == "pass":
        print(f'Let it out: ganmill promote {recipe} --version {candidate.number} --reason "..."')


def prove(layout: Layout, settings: Settings, recipe: str, *, as_json: bool) -> None:
    """Show that a worse model, a broken evaluator and a copying model do not pass.

    Raises:
        GateError: One of them had another verdict than it must have.
    """
    from flows.gate.self_test import self_test

    trials = self_test(layout, settings, load_recipe(layout.params, recipe))
    wrong = [trial for trial in trials if trial.found != trial.expected]
    if as_json:
        print(json.dumps([vars(trial) for trial in trials], indent=2))
    else:
        for trial in trials:
            mark = "ok   " if trial.found == trial.expected else "WRONG"
            print(f"  {mark} {trial.name:<22} {trial.found:<8} {trial.says}")
    if wrong:
        raise GateError(
            f"{recipe}: the gate let {wrong[0].name!r} come out as {wrong[0].found}, it must be "
            f"{wrong[0].expected}. Promote nothing before it is mended."
        )
    if not as_json:
        print(f"The gate of {recipe} can say no: {len(trials)} of {len(trials)} as expected.")
