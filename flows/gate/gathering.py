"""Measuring what the gate decides on: bundles and a meter in, evidence out; knows no registry.

Whatever goes wrong is noted as a problem of the evidence, which makes the verdict `unknown`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from flows.gate import decision
from flows.gate.decision import Canary, Evidence, Interval, Paired, Relative
from gan.errors import GanmillError, PreemptedError

if TYPE_CHECKING:
    from gan.bundle import Bundle
    from gan.metrics.meter import Meter
    from gan.metrics.report import Comparison
    from gan.metrics.scores import Scores

_logger = logging.getLogger(__name__)
_Part = TypeVar("_Part")
_Scored = tuple[str, "Scores"]


@dataclass
class Parts:
    """Finds parts of the evidence, and notes why one could not be found."""

    problems: dict[str, str] = field(default_factory=dict)

    def find(self, part: str, how: Callable[[], _Part]) -> _Part | None:
        """Return what `how` gives, or None with the reason noted under the name of the part.

        Raises:
            PreemptedError: The process was asked to stop, which says nothing about the part.
        """
        try:
            return how()
        except PreemptedError:
            raise
        except GanmillError as error:
            self.problems[part] = str(error)
        except Exception as error:  # whatever it is, it must not end in a promotion
            _logger.exception("gate: %s could not be found out", part)
            self.problems[part] = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return None


@dataclass(frozen=True)
class Contenders:
    """The models that a decision is about: by digest, and as they lie here, None if they do not.

    Attributes:
        candidate_digest: What is judged.
        champion_digest: The champion of the moment; None: there is none.
        candidate: Its bundle.
        champion: Its bundle.
        best: The bundle of the best champion so far, when that is another than the present one.
    """

    candidate_digest: str
    champion_digest: str | None
    candidate: "Bundle | None"
    champion: "Bundle | None" = None
    best: "Bundle | None" = None


def weigh(
    parts: Parts,
    recipe: str,
    contenders: Contenders,
    meter: "Meter | None",
    report: Mapping[str, Any] | None,
    canaries: tuple[Canary | None, Canary | None],
) -> Evidence:
    """Return the evidence on a candidate, compared here and now with champion and best.

    Args:
        parts: Takes note of what cannot be found out, and has what could not so far.
        recipe: The name of the product line.
        contenders: The models.
        meter: What measures them; None: it could not be opened.
        report: The candidate's `metrics.json`; None: it could not be measured.
        canaries: Candidate and champion in a clean process.
    """
    ours, found = contenders.candidate, report or {}
    checks = {"bundle verifies": True} if ours else {}
    if ours and report:
        checks |= checks_of(ours.card.model_dump(), found, contenders.candidate_digest)
    paired, best = _pair(parts, contenders, meter) if meter and ours else (None, None)
    copies = found.get("is_copying")
    return Evidence(
        recipe=recipe,
        candidate_digest=contenders.candidate_digest,
        champion_digest=contenders.champion_digest,
        metric_id=str(found.get("metric_id", "")),
        fd_share=decision.interval(found, f"{found.get('distance')}_share"),
        paired=paired,
        checks=checks,
        best=best,
        copies=copies if isinstance(copies, bool) else None,
        canary=canaries[0],
        champion_canary=canaries[1],
        problems=dict(parts.problems),
    )


def checks_of(card: Mapping[str, Any], report: Mapping[str, Any], digest: str) -> dict[str, bool]:
    """Return what must hold of a bundle beside its figures, by the words that the gate says.

    Args:
        card: The bundle's `card.json`.
        report: Its `metrics.json`.
        digest: Its digest.
    """
    return {
        "training ended healthy": card.get("status") == "healthy",
        "metrics are of this bundle": report.get("bundle_digest") == digest,
    }


def differ(a: "Bundle", b: "Bundle") -> str:
    """Return why two bundles cannot be compared, or "": they draw unlike images."""
    ours, theirs = a.card, b.card
    for what, one, other in (
        ("resolution", ours.resolution, theirs.resolution),
        ("channels", ours.channels, theirs.channels),
        ("classes", ours.classes, theirs.classes),
    ):
        if one != other:
            return f"{what} {one} against {other}"
    return ""


def _pair(
    parts: Parts, contenders: Contenders, meter: "Meter"
) -> tuple[Paired | None, Paired | None]:
    """Return the candidate's comparisons with the champion and with the best so far."""
    ours, theirs, best = contenders.candidate, contenders.champion, contenders.best
    if ours is None or theirs is None:
        return None, None
    if unlike := differ(ours, theirs):
        parts.problems["the comparison with the champion"] = (
            f"candidate and champion draw unlike images ({unlike}), which no figure compares. Give "
            "the new images a recipe of their own: ganmill init NAME --images PATH"
        )
        return None, None
    mine = parts.find("the candidate's scores", lambda: (ours.digest, meter.score(ours)))
    if mine is None:
        return None, None
    paired = parts.find("the comparison with the champion", lambda: _against(theirs, mine, meter))
    if best is None:
        return paired, None
    what = "the comparison with the best champion so far"
    return paired, parts.find(what, lambda: _against(best, mine, meter))


def _against(other: "Bundle", mine: _Scored, meter: "Meter") -> Paired:
    from gan.metrics.report import compare_scores

    found = compare_scores(mine, (other.digest, meter.score(other)), meter)
    distance = found.distance
    return Paired(
        candidate_digest=found.a_digest,
        champion_digest=found.b_digest,
        candidate_metric_id=distance.metric_id,
        champion_metric_id=distance.metric_id,
        champion_fd=distance.b.value,
        difference=Interval(**asdict(distance.difference)),
        recall=_share(found, "recall"),
        coverage=_share(found, "coverage"),
        classes={
            name: Relative(row.b, Interval(**asdict(row.difference)))
            for name, row in found.classes.items()
        },
    )


def _share(found: "Comparison", name: str) -> Relative | None:
    for row in found.rows:
        if row.name == name:
            return Relative(row.b.value, Interval(**asdict(row.difference)))
    return None
