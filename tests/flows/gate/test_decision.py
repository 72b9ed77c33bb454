"""The gate passes only whole, like, good evidence; each planted fault proves it can say no."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.gate.decision import (
    Canary,
    Evidence,
    Interval,
    Paired,
    Relative,
    anchor,
    decide,
    interval,
    record,
    verdict_of,
)
from gan.sections import GateSpec

GATE = GateSpec(max_fd_share=0.3, margin=0.1)
SAME = Interval(0.0, -0.01, 0.01)
NAN = Interval(math.nan, math.nan, math.nan)
PAIRED = Paired(
    candidate_digest="new",
    champion_digest="old",
    candidate_metric_id="m1",
    champion_metric_id="m1",
    champion_fd=10.0,
    difference=Interval(-1.0, -2.0, 0.5),
    recall=Relative(0.5, SAME),
    coverage=Relative(0.4, SAME),
    classes={"cats": Relative(0.3, SAME), "dogs": Relative(0.2, SAME)},
)
OURS = Canary("new", 0.01, 500.0, 16, 16, {"a.png": "f" * 64})
THEIRS = replace(OURS, bundle_digest="old")
GOOD = Evidence(
    recipe="stickers",
    candidate_digest="new",
    champion_digest="old",
    metric_id="m1",
    fd_share=Interval(0.1, 0.08, 0.12),
    paired=PAIRED,
    checks={"loads": True},
    copies=False,
    canary=OURS,
    champion_canary=THEIRS,
)
COLD = replace(GOOD, champion_digest=None, paired=None, champion_canary=None)
BEST = replace(PAIRED, champion_digest="best")
ANCHORED = replace(GOOD, best=BEST)


def _paired(**changes: Any) -> Evidence:
    return replace(GOOD, paired=replace(PAIRED, **changes))


def _best(**changes: Any) -> Evidence:
    return replace(GOOD, best=replace(BEST, **changes))


def _canary(**changes: Any) -> Evidence:
    return replace(GOOD, canary=replace(OURS, **changes))


def _champion_canary(**changes: Any) -> Evidence:
    return replace(GOOD, champion_canary=replace(THEIRS, **changes))


def _classes(**found: Relative) -> Evidence:
    return _paired(classes={**PAIRED.classes, **found})


def test_good_evidence_passes_with_a_sentence_for_each_part() -> None:
    """A better candidate passes, and so does the first model that clears the floor."""
    words = ["pass"]
    for evidence, count in ((GOOD, 8), (ANCHORED, 9), (COLD, 6)):
        verdict = decide(evidence, GATE)
        assert verdict.outcome == "pass"
        assert len(verdict.reasons) == count
        assert [reason.split(": ")[0] for reason in verdict.reasons] == words * count
        assert all(reason.endswith(".") for reason in verdict.reasons)
    assert decide(GOOD, GATE).summary == (
        "pass: distance -1 against the champion's 10, at most +0.5; the gate allows +1."
    )
    assert decide(COLD, GATE).summary == (
        "pass: there is no champion yet; the floor alone decides."
    )


@pytest.mark.parametrize(
    ("fault", "evidence", "outcome"),
    [
        ("no share", replace(GOOD, fd_share=None), "unknown"),
        ("no comparison", replace(GOOD, paired=None), "unknown"),
        ("comparison without champion", replace(GOOD, champion_digest=None), "unknown"),
        ("best without champion", replace(COLD, best=BEST), "unknown"),
        ("champion's canary without one", replace(COLD, champion_canary=THEIRS), "unknown"),
        ("unlike metric ids", _paired(champion_metric_id="m2"), "unknown"),
        ("empty metric ids", _paired(candidate_metric_id="", champion_metric_id=""), "unknown"),
        ("floor of another metric", replace(GOOD, metric_id="m2"), "unknown"),
        ("no metric", replace(GOOD, metric_id=""), "unknown"),
        ("no candidate", replace(GOOD, candidate_digest=""), "unknown"),
        ("another candidate", _paired(candidate_digest="newer"), "unknown"),
        ("another champion", _paired(champion_digest="older"), "unknown"),
        ("NaN share", replace(GOOD, fd_share=Interval(math.nan, 0, 1)), "unknown"),
        ("NaN bound", replace(GOOD, fd_share=Interval(0.1, 0.0, math.nan)), "unknown"),
        ("infinite bound", replace(GOOD, fd_share=Interval(0.1, 0.0, math.inf)), "unknown"),
        ("negative share", replace(GOOD, fd_share=Interval(-0.1, -0.2, 0.1)), "unknown"),
        ("bounds reversed", replace(GOOD, fd_share=Interval(0.1, 0.2, 0.05)), "unknown"),
        ("value beside its bounds", replace(GOOD, fd_share=Interval(0.3, 0.1, 0.2)), "unknown"),
        ("NaN difference", _paired(difference=NAN), "unknown"),
        ("NaN champion", _paired(champion_fd=math.nan), "unknown"),
        ("negative champion", _paired(champion_fd=-1.0), "unknown"),
        ("no checks", replace(GOOD, checks={}), "unknown"),
        ("a check failed", replace(GOOD, checks={"loads": True, "draws": False}), "fail"),
        ("worse champion", _paired(difference=Interval(2.0, 1.5, 2.5)), "fail"),
        ("not shown to be as good", _paired(difference=Interval(0.5, -1.0, 1.01)), "fail"),
        ("floor exceeded", replace(GOOD, fd_share=Interval(0.4, 0.35, 0.45)), "fail"),
        ("floor not cleared", replace(GOOD, fd_share=Interval(0.29, 0.25, 0.31)), "fail"),
        ("cold start, floor exceeded", replace(COLD, fd_share=Interval(0.4, 0.3, 0.5)), "fail"),
        ("cold start, no checks", replace(COLD, checks={}), "unknown"),
        ("cold start, a copier", replace(COLD, copies=True), "fail"),
        ("cold start, no canary", replace(COLD, canary=None), "unknown"),
        ("best: worse", _best(difference=Interval(2.0, 1.5, 2.5)), "fail"),
        ("best: not shown to be as good", _best(difference=Interval(0.0, -1.0, 1.01)), "fail"),
        ("best: another candidate", _best(candidate_digest="newer"), "unknown"),
        ("best: nameless", _best(champion_digest=""), "unknown"),
        ("best: unlike metric ids", _best(champion_metric_id="m2"), "unknown"),
        ("best: NaN", _best(difference=NAN), "unknown"),
        ("recall lost", _paired(recall=Relative(0.5, Interval(-0.2, -0.3, -0.15))), "fail"),
        ("recall not kept", _paired(recall=Relative(0.5, Interval(0.0, -0.11, 0.1))), "fail"),
        ("coverage lost", _paired(coverage=Relative(0.4, Interval(-0.1, -0.2, 0.0))), "fail"),
        ("no recall", _paired(recall=None), "unknown"),
        ("no coverage", _paired(coverage=None), "unknown"),
        ("NaN recall", _paired(recall=Relative(0.5, NAN)), "unknown"),
        ("recall over 1", _paired(recall=Relative(1.5, SAME)), "unknown"),
        ("negative coverage", _paired(coverage=Relative(-0.4, SAME)), "unknown"),
        ("NaN coverage", _paired(coverage=Relative(math.nan, SAME)), "unknown"),
        ("a class lost", _classes(dogs=Relative(0.2, Interval(-0.1, -0.13, -0.07))), "fail"),
        ("no class", _paired(classes={}), "unknown"),
        ("NaN class", _classes(dogs=Relative(0.2, NAN)), "unknown"),
        ("negative class", _classes(dogs=Relative(-0.2, SAME)), "unknown"),
        ("a copier", replace(GOOD, copies=True), "fail"),
        ("copies not measured", replace(GOOD, copies=None), "unknown"),
        ("twice and more the time", _canary(seconds_per_image=0.021), "fail"),
        ("twice and more the memory", _canary(memory_mb=1001.0), "fail"),
        ("no time", _canary(seconds_per_image=0.0), "unknown"),
        ("NaN time", _canary(seconds_per_image=math.nan), "unknown"),
        ("infinite memory", _champion_canary(memory_mb=math.inf), "unknown"),
        ("champion's time negative", _champion_canary(seconds_per_image=-1.0), "unknown"),
        ("champion not timed", replace(GOOD, champion_canary=None), "unknown"),
        ("champion does not load", _champion_canary(problem="no such file."), "unknown"),
        ("another champion timed", _champion_canary(bundle_digest="older"), "unknown"),
        ("no canary", replace(GOOD, canary=None), "unknown"),
        ("another canary", _canary(bundle_digest="newer"), "unknown"),
        ("does not load", _canary(problem="the weights are not finite."), "fail"),
        ("filters refuse too many", _canary(accepted=14), "fail"),
        ("more accepted than minted", _canary(accepted=17), "unknown"),
        ("negative count", _canary(count=-16, accepted=-16), "unknown"),
        ("too few minted", _canary(count=15, accepted=15), "unknown"),
        ("something unknown", replace(GOOD, problems={"canary": "no room."}), "unknown"),
    ],
)
def test_planted_faults_do_not_pass(fault: str, evidence: Evidence, outcome: str) -> None:
    """Each fault alone blocks, and the reason is among the sentences."""
    verdict = decide(evidence, GATE)

    assert verdict.outcome == outcome, fault
    assert verdict.summary.startswith(f"{outcome}: ")


def test_a_failure_outweighs_what_is_unknown() -> None:
    """A candidate that was shown to be worse fails, whatever else was not found out."""
    worse = replace(_paired(difference=Interval(2.0, 1.5, 2.5)), problems={"canary": "no room."})
    verdict = decide(worse, GATE)

    assert verdict.outcome == "fail"
    assert verdict.summary.startswith("fail: distance +2 against the champion's 10, at most +2.5")
    assert verdict.reasons[0] == "unknown: not all could be found out. canary: no room."


def test_the_sentences_name_what_fell() -> None:
    """The class, how far it fell and how many were judged; what was too slow; what to mend."""
    lost = Relative(0.2, Interval(-0.1, -0.13, -0.07))

    assert decide(_classes(dogs=lost), GATE).summary == (
        "fail: class 'dogs': coverage -0.100 against the champion's 0.200, -0.130 to -0.070, the "
        "gate allows -0.060; of 2 judged so fell: dogs."
    )
    assert decide(_canary(seconds_per_image=0.03), GATE).summary == (
        "fail: 0.03 s and 500 MB an asset, the champion 0.01 s and 500 MB; the gate allows 2 "
        "times as much, too much time."
    )
    assert "add images or set gate.memorisation: false" in (
        decide(replace(GOOD, copies=None), GATE).summary
    )
    assert decide(_canary(problem="generator.safetensors differs."), GATE).summary == (
        "fail: in a clean process: generator.safetensors differs."
    )


def test_a_class_must_be_shown_to_have_fallen() -> None:
    """Of many small classes some bound is low by chance alone: that is no reason to refuse."""
    unsure = Relative(0.2, Interval(-0.05, -0.2, 0.1))

    assert decide(_classes(dogs=unsure), GATE).outcome == "pass"


def test_nothing_can_be_lost_where_the_champion_has_nothing() -> None:
    """A champion of recall 0 does not block: an interval below it is the interval's, not a loss."""
    assert decide(_paired(recall=Relative(0.0, SAME)), GATE).outcome == "pass"


def test_what_the_recipe_leaves_out_is_not_asked() -> None:
    """A limit of null has no sentence and blocks nothing; floor, canary and checks stay."""
    bare = GateSpec(
        max_fd_share=0.3,
        margin=None,
        diversity=None,
        worst_class=None,
        memorisation=False,
        resources=None,
        min_accepted=None,
    )
    poor = replace(
        GOOD,
        paired=None,
        best=replace(BEST, difference=NAN),
        copies=None,
        canary=replace(OURS, accepted=0),
        champion_canary=None,
    )
    verdict = decide(poor, bare)

    assert verdict.outcome == "pass"
    assert [reason.split()[1] for reason in verdict.reasons] == ["fd_share", "in", "checks"]
    assert decide(replace(poor, canary=replace(OURS, problem="x.")), bare).outcome == "fail"


_ANY = st.floats(allow_nan=True, allow_infinity=True)


def _near(good: float) -> st.SearchStrategy[float]:
    """Return numbers of which many are good or about as large, so that many a case passes."""
    return st.just(good) | st.just(good) | st.floats(-2 * abs(good), 3 * abs(good)) | _ANY


def _near_interval(good: Interval) -> st.SearchStrategy[Interval]:
    near = st.builds(Interval, _near(good.value), _near(good.low), _near(good.high))
    return st.just(good) | near


def _near_relative(good: float) -> st.SearchStrategy[Relative]:
    return st.builds(Relative, _near(good), _near_interval(SAME))


_PAIRS = st.builds(
    lambda fd, difference, recall, coverage, dogs: replace(
        PAIRED,
        champion_fd=fd,
        difference=difference,
        recall=recall,
        coverage=coverage,
        classes={"dogs": dogs, "cats": Relative(0.3, SAME)},
    ),
    _near(10.0),
    _near_interval(PAIRED.difference),
    _near_relative(0.5),
    _near_relative(0.4),
    _near_relative(0.2),
)
_CANARIES = st.just(OURS) | st.builds(
    Canary, st.just("new"), _near(0.01), _near(500.0), *[st.integers(14, 17)] * 2, st.just({})
)


@settings(max_examples=400)
@given(_near_interval(Interval(0.1, 0.08, 0.12)), _PAIRS, _PAIRS, _CANARIES, _CANARIES)
def test_no_numbers_pass_that_should_not(
    share: Interval, paired: Paired, best: Paired, ours: Canary, theirs: Canary
) -> None:
    """Whatever the numbers, a pass means finite, in order, and within each limit."""
    evidence = replace(
        GOOD,
        fd_share=share,
        paired=paired,
        best=replace(best, champion_digest="best"),
        canary=ours,
        champion_canary=replace(theirs, bundle_digest="old"),
    )
    verdict = decide(evidence, GATE)
    document = record(evidence, GATE, verdict, {})

    assert verdict_of(json.loads(json.dumps(document, allow_nan=False))) == verdict
    if verdict.outcome == "pass":
        assert share.is_sound
        assert share.value >= 0
        assert share.high <= 0.3
        for pair in (paired, best):
            assert pair.difference.is_sound
            assert 0 <= pair.champion_fd < math.inf
            assert pair.difference.high <= 0.1 * pair.champion_fd
        for kept in (paired.recall, paired.coverage):
            assert kept is not None
            assert kept.difference.is_sound
            assert 0 <= kept.champion <= 1
            assert max(kept.difference.low, -kept.champion) >= -0.2 * kept.champion
        assert paired.classes["dogs"].difference.is_sound
        assert paired.classes["dogs"].difference.high >= -0.3 * paired.classes["dogs"].champion
        assert ours.count >= 16
        assert 0.9 * ours.count <= ours.accepted <= ours.count
        assert 0 < ours.seconds_per_image <= 2 * theirs.seconds_per_image < math.inf
        assert 0 < ours.memory_mb <= 2 * theirs.memory_mb < math.inf


def test_the_best_champion_so_far_goes_on_until_it_is_reached() -> None:
    """Steps down within the margin do not move the mark that the next ones are held to."""
    worse = replace(PAIRED, difference=Interval(0.4, 0.2, 0.6))

    assert anchor(COLD) == "new"
    assert anchor(GOOD) == "new"
    assert anchor(replace(GOOD, paired=worse)) == "old"
    assert anchor(replace(GOOD, best=replace(worse, champion_digest="best"))) == "best"
    assert anchor(ANCHORED) == "new"
    assert anchor(replace(GOOD, paired=None)) == "old"


def test_the_record_is_read_back_or_refused() -> None:
    """The record is plain JSON with all that the decision rests on; another document is none."""
    verdict = decide(GOOD, GATE)
    document = record(GOOD, GATE, verdict, {"real.png": "f" * 64})

    assert json.loads(json.dumps(document)) == document
    assert document["format"] == 1
    assert document["anchor"] == "new"
    assert document["evidence"]["paired"]["classes"]["cats"]["champion"] == 0.3
    assert document["gate"] == GATE.limits
    assert verdict_of(document) == verdict
    forged = {**document, "verdict": {"outcome": "pass", "reasons": ["unknown: no."]}}
    empty = {**document, "verdict": {"outcome": "pass", "reasons": []}}
    short = {name: part for name, part in document.items() if name != "anchor"}
    nameless = {**document, "evidence": {}}
    newer = {**document, "format": 2}
    others: list[Any] = [forged, empty, short, nameless, newer, [], None, "pass"]
    for other in others:
        with pytest.raises(ValueError, match=r"format|hold|reasons|candidate"):
            verdict_of(other)


def test_a_missing_metric_is_none() -> None:
    """A metric that is not in the report, or has no interval, is None and so unknown."""
    whole = {"value": 1, "low": 0, "high": 2}
    assert interval({"metrics": {"fd": whole}}, "fd") == Interval(1.0, 0.0, 2.0)
    faulty: list[dict[str, Any]] = [{}, {"metrics": {}}, {"metrics": {"fd": {"value": 1}}}]
    for report in [*faulty, {"metrics": {"fd": None}}]:
        assert interval(report, "fd") is None
