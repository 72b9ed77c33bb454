"""What a drift check found, as plain facts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flows.drift.checks import Outcome

if TYPE_CHECKING:
    from flows.drift.samples import Sample, Version
    from gan.image.verdict import Finding
    from gan.metrics.drift import FeatureShift, Shift

TITLE = "drift"  # of the findings
# What is held against a limit; of the features it is the lower end of the interval.
CLASSES, FEATURES = "shift of the classes", "shown shift of what a network sees"
# Facts that are compared, and what people call them; `aspect` is width by height.
FACTS_COMPARED = {
    "luminance": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "entropy": "richness in shades",
    "alpha_share": "transparent part",
    "aspect": "width by height",
}


@dataclass(frozen=True, eq=False)
class Figures:
    """What was measured between two data versions.

    Attributes:
        old: What the champion was trained on.
        new: The present images.
        labels: Of the classes.
        facts: By the fact's column.
        features: What a network sees; None where it could not be measured.
        absent: Then why.
        seen: Of old and new: the images that `features` is of; empty without it.
    """

    old: "Version"
    new: "Version"
    labels: "Shift"
    facts: "dict[str, Shift]"
    features: "FeatureShift | None" = None
    absent: str = ""
    seen: "tuple[Sample, ...]" = ()


@dataclass(frozen=True, eq=False)
class Drift:
    """A drift check.

    Attributes:
        recipe: Its recipe.
        outcome: `pass`: every limit is kept; `drifted`: one is not; `unknown`: one could not be
            held; `unjudged`: the recipe sets none; `no-baseline`: nothing to compare with.
        says: The outcome in a sentence.
        data: Digest of the present images.
        baseline: Digest of those that the champion was trained on, "" without a champion.
        champion: Its number; None where there is none.
        page: Where it is told at length.
        findings: The answer of each limit.
        figures: What was measured; None without a baseline.
    """

    recipe: str
    outcome: Outcome
    says: str
    data: str
    baseline: str
    champion: int | None
    page: Path
    findings: "list[Finding]" = field(default_factory=list)
    figures: Figures | None = None

    @property
    def reasons(self) -> list[str]:
        """A sentence for each limit that is not kept."""
        failed = [finding.says for finding in self.findings if not finding.success]
        return [says.removeprefix(f"{TITLE}: ") for says in failed]
