"""The model gate: evidence in, verdict out. Pure; anything missing or unlike is `unknown`.

Three values, and only `pass` moves on: there is no default that promotes. What is looked at stands
in `checks`, what it rests on in `evidence`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flows.gate.checks import CHECKS, Outcome, worst_of
from flows.gate.evidence import Canary, Evidence, Interval, Paired, Relative
from gan.sections import GateSpec

__all__ = [
    "Canary",
    "Evidence",
    "Interval",
    "Outcome",
    "Paired",
    "Relative",
    "Verdict",
    "anchor",
    "decide",
    "interval",
    "record",
    "verdict_of",
]

_FORMAT = 1
_PARTS = {"format", "evidence", "gate", "verdict", "anchor", "pictures"}


@dataclass(frozen=True)
class Verdict:
    """The gate's answer, with a plain sentence for each thing that it looked at."""

    outcome: Outcome
    reasons: list[str]

    @property
    def summary(self) -> str:
        """The sentence that decided: the first with the whole's outcome."""
        return next(each for each in self.reasons if each.startswith(self.outcome))

    @property
    def deciding(self) -> str:
        """The same sentence without the outcome before it."""
        return self.summary.partition(": ")[2]


def decide(evidence: Evidence, gate: GateSpec) -> Verdict:
    """Return `pass` only when every part of the gate passes; one `fail` fails the whole."""
    findings = [found for check in CHECKS if (found := check(evidence, gate)) is not None]
    overall = worst_of({outcome for outcome, _ in findings})
    return Verdict(overall, [f"{outcome}: {said}" for outcome, said in findings])


def anchor(evidence: Evidence) -> str:
    """Return the digest of the best champion so far, should the candidate become champion.

    It is the candidate when its distance is at most that of the one before; else that one goes on.
    """
    against = evidence.best or evidence.paired
    if evidence.champion_digest is None:
        return evidence.candidate_digest
    if against is None:
        return evidence.champion_digest
    return evidence.candidate_digest if against.difference.value <= 0 else against.champion_digest


def interval(report: Mapping[str, Any], name: str) -> Interval | None:
    """Return a metric of `metrics.json` with its interval, or None when it is not there."""
    metric = report.get("metrics", {}).get(name)
    try:
        return Interval(*(float(metric[key]) for key in ("value", "low", "high")))
    except (KeyError, TypeError, ValueError):
        return None


def record(
    evidence: Evidence, gate: GateSpec, verdict: Verdict, pictures: Mapping[str, str]
) -> dict[str, Any]:
    """Return `gate.json`: what is kept of a decision, as JSON values.

    A number that is not finite is kept as a word, since JSON has none.

    Args:
        evidence: What was found.
        gate: The limits that it was held to.
        verdict: What followed.
        pictures: SHA-256 of each picture beside it by file name.
    """
    document = {
        "format": _FORMAT,
        "evidence": asdict(evidence),
        "gate": gate.limits,
        "verdict": asdict(verdict),
        "anchor": anchor(evidence),
        "pictures": pictures,
    }
    return {name: _jsonable(part) for name, part in document.items()}


def verdict_of(document: Any) -> Verdict:  # any JSON value
    """Return the verdict of a `gate.json`.

    Raises:
        ValueError: It is none of format 1, or its sentences do not lead to its outcome.
    """
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(f"is no decision of format {_FORMAT}")
    if set(document) != _PARTS:
        raise ValueError(f"must hold {', '.join(sorted(_PARTS))}")
    try:
        outcome = document["verdict"]["outcome"]
        reasons = [str(reason) for reason in document["verdict"]["reasons"]]
        digest = document["evidence"]["candidate_digest"]
    except (KeyError, TypeError) as error:
        raise ValueError("names no candidate or no verdict") from error
    said: set[Any] = {reason.partition(": ")[0] for reason in reasons}
    if not isinstance(digest, str) or outcome != worst_of(said):
        raise ValueError("says another outcome than its reasons")
    return Verdict(worst_of(said), reasons)


def _jsonable(value: Any) -> Any:  # any value of a dataclass
    if isinstance(value, Mapping):
        return {str(key): _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
