"""The gate passes only whole, like, good evidence; each planted fault proves it can say no."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.promotion import (
    Evidence,
    Interval,
    Paired,
    decide,
    evidence_digest,
    interval,
    record,
)
from gan.sections import GateSpec

GATE = GateSpec(max_fd_share=0.3, margin=0.1)
PAIRED = Paired("new", "old", "m1", "m1", 10.0, Interval(-1.0, -2.0, 0.5))
GOOD = Evidence("stickers", "new", "old", "m1", Interval(0.1, 0.08, 0.12), PAIRED, {"loads": True})
COLD = replace(GOOD, champion_digest=None, paired=None)


def _paired(**changes: Any) -> Evidence:
    return replace(GOOD, paired=replace(PAIRED, **changes))


def test_good_evidence_passes_with_a_sentence_for_each_part() -> None:
    """A better candidate passes, and so does the first model that clears the floor."""
    assert decide(GOOD, GATE).outcome == "pass"
    assert len(decide(GOOD, GATE).reasons) == 3
    assert decide(COLD, GATE).outcome == "pass"


@pytest.mark.parametrize(
    ("fault", "evidence", "outcome"),
    [
        ("no share", replace(GOOD, fd_share=None), "unknown"),
        ("no comparison", replace(GOOD, paired=None), "unknown"),
        ("comparison without champion", replace(GOOD, champion_digest=None), "unknown"),
        ("unlike metric ids", _paired(champion_metric_id="m2"), "unknown"),
        ("empty metric ids", _paired(candidate_metric_id="", champion_metric_id=""), "unknown"),
        ("no metric", replace(GOOD, metric_id=""), "unknown"),
        ("no candidate", replace(GOOD, candidate_digest=""), "unknown"),
        ("another candidate", _paired(candidate_digest="newer"), "unknown"),
        ("another champion", _paired(champion_digest="older"), "unknown"),
        ("NaN share", replace(GOOD, fd_share=Interval(math.nan, 0, 1)), "unknown"),
        ("NaN bound", replace(GOOD, fd_share=Interval(0.1, 0.0, math.nan)), "unknown"),
        ("infinite bound", replace(GOOD, fd_share=Interval(0.1, 0.0, math.inf)), "unknown"),
        ("negative share", replace(GOOD, fd_share=Interval(-0.1, -0.2, 0.1)), "unknown"),
        ("bounds reversed", replace(GOOD, fd_share=Interval(0.1, 0.2, 0.05)), "unknown"),
        ("NaN difference", _paired(difference=Interval(math.nan, math.nan, math.nan)), "unknown"),
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
    ],
)
def test_planted_faults_do_not_pass(fault: str, evidence: Evidence, outcome: str) -> None:
    """Each fault alone blocks, and the reason is among the sentences."""
    verdict = decide(evidence, GATE)

    assert verdict.outcome == outcome, fault
    assert any(reason.startswith(f"{outcome}: ") for reason in verdict.reasons)


_ANY = st.floats(allow_nan=True, allow_infinity=True)


@given(_ANY, _ANY, _ANY, _ANY, _ANY, _ANY, _ANY)
def test_no_numbers_pass_that_should_not(
    a: float, b: float, c: float, d: float, e: float, f: float, g: float
) -> None:
    """Whatever the numbers, a pass means finite, in order, under the floor, in the margin."""
    evidence = replace(
        GOOD,
        fd_share=Interval(a, b, c),
        paired=replace(PAIRED, champion_fd=d, difference=Interval(e, f, g)),
    )
    verdict = decide(evidence, GATE)
    document = record(evidence, GATE, verdict)

    assert len(evidence_digest(document)) == 64
    if verdict.outcome == "pass":
        assert all(math.isfinite(number) for number in (a, b, c, d, e, f, g))
        assert b <= a <= c <= GATE.max_fd_share
        assert f <= e <= g <= GATE.margin * d


def test_the_record_binds_to_its_evidence() -> None:
    """The record is plain JSON, and its digest changes with any part of it."""
    document = record(GOOD, GATE, decide(GOOD, GATE))
    other = record(_paired(champion_fd=9.99), GATE, decide(GOOD, GATE))

    assert json.loads(json.dumps(document)) == document
    assert document["verdict"]["outcome"] == "pass"
    assert evidence_digest(document) != evidence_digest(other)


def test_a_missing_metric_is_none() -> None:
    """A metric that is not in the report, or has no interval, is None and so unknown."""
    whole = {"value": 1, "low": 0, "high": 2}
    assert interval({"metrics": {"fd": whole}}, "fd") == Interval(1.0, 0.0, 2.0)
    faulty: list[dict[str, Any]] = [{}, {"metrics": {}}, {"metrics": {"fd": {"value": 1}}}]
    for report in [*faulty, {"metrics": {"fd": None}}]:
        assert interval(report, "fd") is None
