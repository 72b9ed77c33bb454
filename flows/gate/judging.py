"""Gate decisions: what is gathered for each, and what is kept of it (`records`).

Models are measured here and now on the same latents, classes, images and extractor; figures from
another data set or another extractor are never compared.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows import ledger, registry, succession
from flows.gate import decision
from flows.gate.decision import Canary, Evidence, Verdict
from flows.gate.gathering import Contenders, Parts, checks_of, differ, weigh
from flows.gate.records import (
    CANARY,
    PAGE,
    anchor_of,
    complete,
    find_decided,
    find_record,
    gathering_folder,
    read_record,
)
from flows.gate.reports import measure, meter, report_of, report_on
from flows.registry import Version
from flows.settings import Settings
from flows.story import shown
from gan.durable import run_lock, sha256
from gan.errors import DamagedError, GateError
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from gan.bundle import Bundle
    from gan.metrics.meter import Meter

__all__ = [
    "Judged",
    "checks_of",
    "find_record",
    "judge",
    "measure",
    "meter",
    "read_record",
    "report_of",
    "require_pass",
]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A gate decision.

    Attributes:
        verdict: What the gate says.
        record: Its `gate.json`.
        digest: The SHA-256 of that file, which names the evidence everywhere.
        is_new: Whether this call wrote it; else the very same was there.
    """

    verdict: Verdict
    record: Path
    digest: str
    is_new: bool

    @property
    def page(self) -> Path:
        """The page that shows it to people."""
        return self.record.with_name(PAGE)


def judge(
    layout: Layout,
    settings: Settings,
    recipe: Recipe,
    candidate: Version,
    champion: Version | None,
) -> Judged:
    """Return the gate's verdict on a version, which is kept whatever it is.

    What cannot be found out makes it `unknown`, with the reason: a server that does not answer,
    damaged bytes, an error that nobody foresaw. A decision on the same candidate, champion, gate
    and metric is read again, not measured again, unless it was `unknown`.

    Raises:
        BusyError: Another process judges a version of this recipe right now.
        GanmillError: The decision cannot be written; then there is none.
        PreemptedError: The process was asked to stop.
    """
    case = _Case(layout, settings, recipe, candidate, champion)
    parts = Parts()
    measuring = parts.find("the data and the extractor", lambda: meter(layout, recipe))
    judged = case.decided(measuring) if measuring else None
    if judged is None:
        with (
            run_lock(layout.lock(f"gate-{recipe.name}"), f"judging {recipe.name}"),
            gathering_folder(layout, recipe.name, candidate.digest) as folder,
        ):
            evidence, pictures = case.gather(parts, measuring, folder)
            verdict = decision.decide(evidence, recipe.gate)
            document = decision.record(evidence, recipe.gate, verdict, pictures)
            judged = Judged(verdict, *complete(folder, document))
    case.show(judged)
    return judged


def require_pass(recipe: str, version: Version, judged: Judged) -> None:
    """Let only `pass` move on.

    Raises:
        GateError: With the first reason that was not a pass, and where the evidence lies.
    """
    if judged.verdict.outcome != "pass":
        raise GateError(
            f"{recipe} v{version.number}: the gate says {judged.verdict.summary} The champion "
            f"stays. Evidence: {shown(judged.page)}"
        )


@dataclass(frozen=True)
class _Case:
    """One question to the gate: may this candidate take the place of this champion?"""

    layout: Layout
    settings: Settings
    recipe: Recipe
    candidate: Version
    champion: Version | None

    def decided(self, measuring: "Meter") -> Judged | None:
        """Return the decision on the very same question, if there is one."""
        digests = (self.candidate.digest, self.champion.digest if self.champion else None)
        record = find_decided(
            self.layout, self.recipe.name, self.recipe.gate, measuring.metric_id(), digests
        )
        if record is None:
            return None
        verdict = decision.verdict_of(read_record(record))
        return Judged(verdict, record, sha256(record), is_new=False)

    def gather(
        self, parts: Parts, measuring: "Meter | None", folder: Path
    ) -> tuple[Evidence, dict[str, str]]:
        """Return the evidence and the SHA-256 of each picture, which lie in `folder`."""
        from flows.gate import canary, drawing

        contenders = self._contenders(parts)
        ours, theirs = contenders.candidate, contenders.champion
        report, pictures = None, None
        canaries: tuple[Canary, Canary | None] | None = None
        if ours and measuring:
            report = parts.find(
                "the candidate's report",
                lambda: report_on(self.layout, self.recipe, ours, measuring),
            )
            pictures = parts.find(
                "the pictures", lambda: drawing.draw(ours, theirs, measuring, folder)
            )
        if ours:
            timed = theirs and self.recipe.gate.resources is not None
            against = theirs.folder if theirs and timed else None
            canaries = parts.find(
                "the canary",
                lambda: canary.measure(
                    self.layout, self.recipe, ours.folder, against, folder / CANARY
                ),
            )
        found = weigh(
            parts, self.recipe.name, contenders, measuring, report, canaries or (None, None)
        )
        return found, pictures or {}

    def show(self, judged: Judged) -> None:
        """Write the decision's page if it is not there; without a page the decision stands."""
        if judged.page.exists():
            return
        folder = judged.record.parent
        try:
            from flows.gate.page import write_page

            document = read_record(judged.record)
            write_page(folder, document, self.candidate, self.champion, self._links(folder))
        except Exception:  # whatever it is, evidence without a page is better than none
            _logger.exception("gate: the page of %s was not written", shown(folder))

    def _contenders(self, parts: Parts) -> Contenders:
        champion = self.champion
        ours = parts.find("the candidate's bundle", lambda: self._open(self.candidate))
        theirs, best = None, None
        if champion:
            theirs = parts.find("the champion's bundle", lambda: self._open(champion))
        if champion and theirs:
            best = parts.find("the best champion so far", lambda: self._best(champion, theirs))
        digest = champion.digest if champion else None
        return Contenders(self.candidate.digest, digest, ours, theirs, best)

    def _open(self, version: Version) -> "Bundle":
        from gan.bundle import open_bundle

        folder = registry.fetch(self.settings, version, self.layout.bundle_store)
        return open_bundle(folder)

    def _best(self, champion: Version, theirs: "Bundle") -> "Bundle | None":
        """Return the best champion so far as the champion's own decision names it.

        None: it is the champion itself, or there is nothing else to go by. So it is when that
        decision is not there, or when the one it names is gone, was taken back, or draws other
        images.

        Raises:
            DamagedError: The ledger's chain does not hold.
            ServiceError: MLflow did not answer.
        """
        name, entries = self.recipe.name, ledger.read(self.layout.ledger)
        digest = anchor_of(self.layout, name, entries, champion.digest)
        if digest == champion.digest:
            return None
        known = registry.versions(self.settings, name)
        version = next((version for version in known if version.digest == digest), None)
        if version is None or succession.refused(entries, name, version.number):
            return None
        try:
            best = self._open(version)
        except DamagedError as error:
            _logger.warning("gate: the best champion so far is as good as gone. %s", error)
            return None
        return None if differ(best, theirs) else best

    def _links(self, folder: Path) -> dict[str, str]:
        """Return what else tells of the decision; a version's own pages go with the version."""
        pages = {
            "data report": self.layout.data_report(self.recipe.name) / PAGE,
            "what the number of samples can tell": (
                self.layout.calibration(self.recipe.name) / "calibration.png"
            ),
        }
        return {
            what: os.path.relpath(page, folder) for what, page in pages.items() if page.exists()
        }
