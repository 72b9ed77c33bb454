"""The model gate: evidence in, verdict out. Pure; anything missing or unlike is `unknown`.

Three values, and only `pass` moves on: there is no default that promotes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gan.sections import GateSpec

Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Interval:
    """A measured value and the bounds of its 95 % interval, in the metric's own unit."""

    value: float
    low: float
    high: float

    @property
    def is_sound(self) -> bool:
        """Whether the three are finite and in order."""
        finite = all(math.isfinite(number) for number in (self.value, self.low, self.high))
        return finite and self.low <= self.value <= self.high


@dataclass(frozen=True)
class Paired:
    """Candidate against champion on the same latents, classes, images and extractor.

    `difference` is the candidate's distance minus the champion's: below 0 is better.
    """

    candidate_digest: str
    champion_digest: str
    candidate_metric_id: str
    champion_metric_id: str
    champion_fd: float
    difference: Interval


@dataclass(frozen=True)
class Evidence:
    """All that a decision rests on.

    `champion_digest` is that of the champion of the moment, None when there is none (cold start).
    `fd_share` is the candidate's distance as a share of what noise scores. `checks` names what was
    tried on the candidate and whether it held, say {"bundle verifies": True}.
    """

    recipe: str
    candidate_digest: str
    champion_digest: str | None
    metric_id: str
    fd_share: Interval | None
    paired: Paired | None
    checks: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The gate's answer, with a plain sentence for each thing that it looked at."""

    outcome: Outcome
    reasons: list[str]

    @property
    def summary(self) -> str:
        """The sentence that decided: the first that is not a pass, else the last."""
        deciding = [each for each in self.reasons if not each.startswith("pass")]
        return (deciding or self.reasons[::-1])[0]


def decide(evidence: Evidence, gate: GateSpec) -> Verdict:
    """Return `pass` only when every part of the gate passes; one `fail` fails the whole."""
    judged = [
        _checks(evidence),
        _floor(evidence, gate),
        _against_champion(evidence, gate),
    ]
    outcomes = {outcome for outcome, _ in judged}
    overall: Outcome = "pass" if outcomes == {"pass"} else "unknown"
    if "fail" in outcomes:
        overall = "fail"
    return Verdict(overall, [f"{outcome}: {reason}" for outcome, reason in judged])


def interval(report: Mapping[str, Any], name: str) -> Interval | None:
    """Return a metric of `metrics.json` with its interval, or None when it is not there."""
    metric = report.get("metrics", {}).get(name)
    try:
        return Interval(*(float(metric[key]) for key in ("value", "low", "high")))
    except (KeyError, TypeError, ValueError):
        return None


def record(evidence: Evidence, gate: GateSpec, verdict: Verdict) -> dict[str, Any]:
    """Return what to keep of a decision, as JSON values; a number that is not finite is a word."""
    document = {
        "evidence": asdict(evidence),
        "gate": gate.model_dump(),
        "verdict": asdict(verdict),
    }
    return {name: _jsonable(part) for name, part in document.items()}


def evidence_digest(document: dict[str, Any]) -> str:
    """Return the SHA-256 of a `record`, which binds an approval to exactly this evidence."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _jsonable(value: Any) -> Any:  # any value of a dataclass
    if isinstance(value, Mapping):
        return {str(key): _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _checks(evidence: Evidence) -> tuple[Outcome, str]:
    broken = sorted(name for name, held in evidence.checks.items() if held is not True)
    if broken:
        return "fail", f"checks did not hold: {', '.join(broken)}."
    if not evidence.candidate_digest or not evidence.metric_id:
        return "unknown", "the evidence does not say which model or which metric it is about."
    if not evidence.checks:
        return "unknown", "nothing was checked on the candidate."
    return "pass", f"checks held: {', '.join(sorted(evidence.checks))}."


def _floor(evidence: Evidence, gate: GateSpec) -> tuple[Outcome, str]:
    share = evidence.fd_share
    if share is None:
        return "unknown", "the candidate has no fd_share: evaluate it first."
    if not share.is_sound or share.value < 0:
        return "unknown", f"fd_share is no measurement: {share}."
    said = f"fd_share {share.value:.3f}, at most {share.high:.3f}; the gate allows "
    said += f"{gate.max_fd_share:g} of what noise scores."
    return ("pass" if share.high <= gate.max_fd_share else "fail"), said


def _against_champion(evidence: Evidence, gate: GateSpec) -> tuple[Outcome, str]:
    champion, paired = evidence.champion_digest, evidence.paired
    if champion is None and paired is None:
        return "pass", "there is no champion yet; the floor alone decides."
    if champion is None or paired is None:
        return "unknown", "champion and paired comparison do not go together."
    if problem := _unlike(evidence, paired):
        return "unknown", problem
    allowed = gate.margin * paired.champion_fd
    difference = paired.difference
    said = f"distance {difference.value:+.4g} against the champion's {paired.champion_fd:.4g}, "
    said += f"at most {difference.high:+.4g}; the gate allows {allowed:+.4g}."
    return ("pass" if difference.high <= allowed else "fail"), said


def _unlike(evidence: Evidence, paired: Paired) -> str:
    """Return why a comparison does not belong to this evidence, or ""."""
    if paired.candidate_digest != evidence.candidate_digest:
        return "the comparison is about another candidate."
    if paired.champion_digest != evidence.champion_digest:
        return "the comparison is with another champion than the present one."
    if not paired.candidate_metric_id or paired.candidate_metric_id != paired.champion_metric_id:
        return "candidate and champion were measured with unlike metrics."
    if not math.isfinite(paired.champion_fd) or paired.champion_fd < 0:
        return f"the champion's distance is no measurement: {paired.champion_fd}."
    if not paired.difference.is_sound:
        return f"the paired difference is no measurement: {paired.difference}."
    return ""
