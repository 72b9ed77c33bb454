"""Gate decisions on real models and a real registry: gathered whole, believed while intact."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from flows import ledger, registry
from flows.gate.decision import Evidence, decide, record
from flows.gate.gathering import Contenders, Parts, weigh
from flows.gate.judging import (
    Judged,
    _Case,
    checks_of,
    find_record,
    judge,
    read_record,
    report_of,
    require_pass,
)
from flows.gate.records import RECORD, complete, find_decided
from flows.ledger import Entry
from flows.registry import Version
from flows.settings import Settings
from flows.tracking import open_run
from gan.bundle import open_bundle
from gan.durable import run_lock, sha256, write_json
from gan.errors import BusyError, DamagedError, GateError, PreemptedError, UsageError
from gan.metrics.meter import open_meter
from gan.paths import Layout
from gan.recipe import Recipe
from tests.flows.patterns import CLASSES, furnish, recipe_of
from tests.gan.bundles import pack_untrained

CARD = {"status": "healthy"}
REPORT = {"bundle_digest": "ab" * 32}
NAME = "patterns"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Return the recipe that is judged by."""
    return recipe_of(NAME)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace with data and an extractor."""
    layout = Layout(tmp_path_factory.mktemp("patterns"))
    furnish(layout, NAME)
    return layout


@pytest.fixture(scope="module")
def made(mlflow_settings: Settings, server_layout: Layout, furnished: Layout) -> dict[str, Version]:
    """Return three registered models: one, its equal by another digest, and unlike images."""
    run = open_run(server_layout, mlflow_settings, NAME, "r", {}, {})
    given: dict[str, dict[str, Any]] = {
        "champion": {},
        "equal": {"kimg": 1.0},
        "unlike": {"classes": [*CLASSES, "more"]},
    }
    found = {}
    for word, changes in given.items():
        folder = furnished.root / "made" / word
        pack_untrained(folder, **{"classes": CLASSES, "recipe": NAME, **changes})
        found[word] = registry.register(mlflow_settings, NAME, folder, run, {})
        registry.fetch(mlflow_settings, found[word], furnished.bundle_store)
    return found


@pytest.fixture(scope="module")
def passed(
    furnished: Layout, mlflow_settings: Settings, recipe: Recipe, made: dict[str, Version]
) -> Judged:
    """Return the decision on the equal of the champion; a gathering was killed before it."""
    for left in (".0123456789ab.partial", "0123456789ab-0123456789ab"):
        (furnished.gate(NAME) / left / "canary").mkdir(parents=True)
        (furnished.gate(NAME) / left / "canary" / "a.png").write_bytes(b"half")
    return judge(furnished, mlflow_settings, recipe, made["equal"], made["champion"])


@pytest.fixture
def layout(furnished: Layout, passed: Judged, tmp_path: Path) -> Layout:
    """Return a copy of that workspace, with the decision in it."""
    shutil.copytree(furnished.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


@pytest.fixture
def away(mlflow_settings: Settings) -> Settings:
    """Return settings that lead to no MLflow server."""
    return mlflow_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"})


def test_a_decision_is_kept_whole(
    furnished: Layout, passed: Judged, made: dict[str, Version]
) -> None:
    """Evidence, pictures, canary and page lie in one folder named by digests; nothing half does."""
    folder = passed.record.parent
    document = read_record(passed.record)
    found = document["evidence"]

    assert passed.verdict.outcome == "pass", passed.verdict.reasons
    assert passed.is_new
    assert passed.digest == sha256(passed.record)
    assert folder.name == f"{made['equal'].digest[:12]}-{passed.digest[:12]}"
    assert [path.name for path in furnished.gate(NAME).iterdir()] == [folder.name]
    assert passed.page.read_text().startswith("<!doctype html")
    assert set(document["pictures"]) == {"candidate.png", "champion.png", "real.png"}
    for name, digest in document["pictures"].items():
        assert sha256(folder / name) == digest
    assert len(found["canary"]["files"]) == found["canary"]["count"] == 16
    for name, digest in found["canary"]["files"].items():
        assert sha256(folder / "canary" / name) == digest
    assert found["problems"] == {}
    assert found["copies"] is False
    assert found["champion_canary"]["bundle_digest"] == made["champion"].digest
    assert found["paired"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert set(found["paired"]["classes"]) == set(CLASSES)
    assert document["anchor"] == made["equal"].digest
    assert find_record(furnished, NAME, passed.digest) == passed.record


def test_the_same_question_is_answered_from_the_record(
    layout: Layout, away: Settings, recipe: Recipe, passed: Judged, made: dict[str, Version]
) -> None:
    """Nothing is measured again, and no server asked; a page that is gone is written again."""
    shutil.rmtree(layout.features)
    [folder] = layout.gate(NAME).iterdir()
    (folder / "index.html").unlink()
    again = judge(layout, away, recipe, made["equal"], made["champion"])

    assert (again.verdict, again.digest) == (passed.verdict, passed.digest)
    assert not again.is_new
    assert again.page.exists()
    assert not layout.features.exists()


def test_another_question_is_open(layout: Layout, recipe: Recipe, made: dict[str, Version]) -> None:
    """Other limits, another metric, another champion, and none, are decided anew."""
    digests = (made["equal"].digest, made["champion"].digest)
    [folder] = layout.gate(NAME).iterdir()
    metric = read_record(folder / RECORD)["evidence"]["metric_id"]
    other = recipe.gate.model_copy(update={"margin": 0.5})

    assert find_decided(layout, NAME, recipe.gate, metric, digests) == folder / RECORD
    assert find_decided(layout, NAME, other, metric, digests) is None
    assert find_decided(layout, NAME, recipe.gate, "0" * 12, digests) is None
    assert find_decided(layout, NAME, recipe.gate, metric, (digests[0], None)) is None
    assert find_decided(layout, NAME, recipe.gate, metric, digests[::-1]) is None


def _edit(folder: Path) -> None:
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(text.replace('"accepted": 1', '"accepted": 2', 1))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_edit, "not those that its folder is named by"),
        (lambda folder: (folder / RECORD).write_text("{"), "Expecting property name"),
        (lambda folder: (folder / RECORD).write_text('{"format": 2}'), "no decision of format 1"),
        (lambda folder: (folder / RECORD).unlink(), "No such file"),
    ],
)
def test_a_damaged_record_is_refused(
    layout: Layout,
    recipe: Recipe,
    passed: Judged,
    made: dict[str, Version],
    damage: Callable[[Path], Any],
    told: str,
) -> None:
    """An altered, foreign or missing record is no evidence: not read, not found, not used again."""
    [folder] = layout.gate(NAME).iterdir()
    metric = read_record(folder / RECORD)["evidence"]["metric_id"]
    damage(folder)

    with pytest.raises(DamagedError, match=told):
        read_record(folder / RECORD)
    with pytest.raises(UsageError, match=f"no decision of evidence digest {passed.digest[:12]}"):
        find_record(layout, NAME, passed.digest)
    digests = (made["equal"].digest, made["champion"].digest)
    assert find_decided(layout, NAME, recipe.gate, metric, digests) is None


@pytest.mark.parametrize("digest", ["", "*", "f" * 64, "../x"])
def test_no_evidence_is_found_by_no_digest(layout: Layout, digest: str) -> None:
    """A digest that no decision has finds none, however it is spelled."""
    with pytest.raises(UsageError, match="ganmill gate patterns --version N"):
        find_record(layout, NAME, digest)


def test_a_renamed_decision_is_refused(layout: Layout) -> None:
    """Evidence about one model cannot be laid under the name of another."""
    [folder] = layout.gate(NAME).iterdir()
    other = folder.rename(folder.with_name(f"{'0' * 12}{folder.name[12:]}"))

    with pytest.raises(DamagedError, match="folder is named by"):
        read_record(other / RECORD)


def test_without_the_registry_nothing_passes_and_nothing_is_remembered(
    layout: Layout, away: Settings, recipe: Recipe, made: dict[str, Version]
) -> None:
    """MLflow away: `unknown` with the reason, kept once, and asked again the next time."""
    shutil.rmtree(layout.bundle_store)
    first = judge(layout, away, recipe, made["unlike"], made["champion"])
    second = judge(layout, away, recipe, made["unlike"], made["champion"])
    found = read_record(first.record)["evidence"]

    assert first.verdict.outcome == second.verdict.outcome == "unknown"
    assert set(found["problems"]) == {"the candidate's bundle", "the champion's bundle"}
    assert "does not answer" in first.verdict.summary
    assert "ganmill up" in first.verdict.summary
    assert (first.is_new, second.is_new) == (True, False)  # the very same was found out
    assert first.page.exists()
    with pytest.raises(GateError, match="does not answer") as refused:
        require_pass(NAME, made["unlike"], first)
    assert refused.value.exit_code == 4
    metric = open_meter(layout, recipe).metric_id()
    digests = (made["unlike"].digest, made["champion"].digest)
    assert find_decided(layout, NAME, recipe.gate, metric, digests) is None


def test_a_damaged_extractor_and_an_error_nobody_foresaw_are_unknown(
    layout: Layout,
    mlflow_settings: Settings,
    recipe: Recipe,
    made: dict[str, Version],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever breaks while evidence is gathered, the record says what; nothing passes."""
    weights = layout.extractor(NAME) / "extractor.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    bare = replace(made["equal"], digest="")
    first = judge(layout, mlflow_settings, recipe, bare, None)

    assert first.verdict.outcome == "unknown"
    problems = read_record(first.record)["evidence"]["problems"]
    assert "extractor.safetensors" in problems["the data and the extractor"]
    parts = Parts()
    with caplog.at_level(logging.ERROR):
        assert parts.find("the report", lambda: cast("dict[str, Any]", [])["metrics"]) is None
    assert parts.problems["the report"].startswith("TypeError: list indices must be")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, PreemptedError])
def test_being_stopped_is_no_evidence(stop: type[BaseException]) -> None:
    """Ctrl-C and a preemption end the gathering; they are not taken for a finding."""

    def stopped() -> None:
        raise stop

    parts = Parts()
    with pytest.raises(stop):
        parts.find("the report", stopped)
    assert parts.problems == {}


def test_unlike_images_are_never_compared(
    layout: Layout, recipe: Recipe, made: dict[str, Version]
) -> None:
    """A champion of other classes cannot be held against: unknown, with what to do."""
    ours, theirs = (open_bundle(layout.bundle_store / made[w].digest) for w in ("equal", "unlike"))
    parts = Parts()
    both = Contenders(ours.digest, theirs.digest, ours, theirs)
    found = weigh(parts, NAME, both, open_meter(layout, recipe), None, (None, None))

    assert found.paired is None
    assert "ganmill init NAME --images PATH" in str(found.problems)
    assert decide(found, recipe.gate).outcome == "unknown"


def test_a_page_that_cannot_be_written_loses_nothing(
    layout: Layout, away: Settings, recipe: Recipe, made: dict[str, Version]
) -> None:
    """The decision stands on its record."""
    [folder] = layout.gate(NAME).iterdir()
    (folder / "index.html").unlink()
    odd = replace(made["equal"], tags=cast("dict[str, str]", None))
    judged = judge(layout, away, recipe, odd, made["champion"])

    assert judged.verdict.outcome == "pass"
    assert judged.record.exists()
    assert not judged.page.exists()


def test_two_do_not_judge_at_once(
    layout: Layout, away: Settings, recipe: Recipe, made: dict[str, Version]
) -> None:
    """The second is told; a decision that stands can be read meanwhile."""
    with run_lock(layout.lock(f"gate-{NAME}"), "judging"):
        assert not judge(layout, away, recipe, made["equal"], made["champion"]).is_new
        with pytest.raises(BusyError, match="judging patterns"):
            judge(layout, away, recipe, made["unlike"], made["champion"])


@pytest.fixture
def reign(layout: Layout, recipe: Recipe, made: dict[str, Version]) -> Callable[[str], None]:
    """Return what makes `equal` champion by a decision that names a model as the best so far."""

    def crown(best: str) -> None:
        version = made["equal"]
        found = Evidence(NAME, version.digest, None, "m", None, None)
        verdict = decide(found, recipe.gate)
        document = {**record(found, recipe.gate, verdict, {}), "anchor": best}
        partial = layout.gate(NAME) / ".new"
        partial.mkdir()
        _, digest, _ = complete(partial, document)
        done = Entry(
            event="done",
            recipe=NAME,
            actor="Ada",
            reason="r",
            from_version=made["champion"].number,
            to_version=version.number,
            to_digest=version.digest,
            evidence_digest=digest,
        )
        ledger.append(layout.ledger, done)

    return crown


def test_the_best_champion_so_far_is_the_one_that_the_champions_own_decision_names(
    layout: Layout,
    mlflow_settings: Settings,
    recipe: Recipe,
    made: dict[str, Version],
    reign: Callable[[str], None],
) -> None:
    """The mark of long ago holds until it is gone, taken back or unlike; then the champion is."""
    champion = made["equal"]
    theirs = open_bundle(layout.bundle_store / champion.digest)
    case = _Case(layout, mlflow_settings, recipe, made["unlike"], champion)

    assert case._best(champion, theirs) is None  # the ledger does not know how it became champion
    reign(made["champion"].digest)
    best = case._best(champion, theirs)
    assert best is not None
    assert best.digest == made["champion"].digest
    both = Contenders(theirs.digest, theirs.digest, theirs, theirs, best)
    found = weigh(Parts(), NAME, both, open_meter(layout, recipe), None, (None, None))
    assert found.best is not None
    assert found.best.champion_digest == best.digest

    for elsewhere in (champion.digest, "f" * 64, made["unlike"].digest):
        reign(elsewhere)
        assert case._best(champion, theirs) is None
    reign(made["champion"].digest)
    back = ledger.read(layout.ledger)[-1]
    taken = replace(back, event="rollback", from_version=made["champion"].number, to_version=99)
    ledger.append(layout.ledger, replace(taken, to_digest="9" * 64))
    assert case._best(champion, theirs) is None


def test_a_report_of_now_is_read_and_another_is_measured(
    layout: Layout, away: Settings, recipe: Recipe, made: dict[str, Version]
) -> None:
    """Figures of another metric count for nothing, so the version is measured again."""
    kept = layout.version_report(NAME, made["equal"].digest) / "metrics.json"
    report = report_of(layout, away, recipe, made["equal"])
    assert report == json.loads(kept.read_text())

    write_json(kept, {**report, "metric_id": "0" * 12, "held_out": 1})
    assert report_of(layout, away, recipe, made["equal"]) == report


def test_a_sound_bundle_holds_every_check() -> None:
    """Healthy, and measured itself."""
    assert checks_of(CARD, REPORT, "ab" * 32) == {
        "training ended healthy": True,
        "metrics are of this bundle": True,
    }


@pytest.mark.parametrize(
    ("card", "report", "failed"),
    [
        ({"status": "degraded"}, {}, "training ended healthy"),
        ({}, {"bundle_digest": "cd" * 32}, "metrics are of this bundle"),
    ],
)
def test_each_fault_fails_its_check(
    card: dict[str, Any], report: dict[str, Any], failed: str
) -> None:
    """A degraded training and another model's figures are refused by name."""
    checks = checks_of({**CARD, **card}, {**REPORT, **report}, "ab" * 32)

    assert [name for name, held in checks.items() if not held] == [failed]
