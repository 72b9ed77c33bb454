"""What a gate decision rests on: figures with intervals, each naming the models it is about."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


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
class Relative:
    """A share, 0..1: the champion's, and the candidate's minus it on the same latents."""

    champion: float
    difference: Interval

    @property
    def is_sound(self) -> bool:
        """Whether both are measurements of shares."""
        return 0 <= self.champion <= 1 and self.difference.is_sound


@dataclass(frozen=True)
class Paired:
    """Candidate against champion on the same latents, classes, images and extractor.

    Attributes:
        candidate_digest: The one bundle.
        champion_digest: The other.
        candidate_metric_id: How the one was measured.
        champion_metric_id: How the other was.
        champion_fd: The champion's distance, from 0 up.
        difference: The candidate's distance minus the champion's: below 0 is better.
        recall: Of both.
        coverage: Of both.
        classes: The coverage of each class by its name.
    """

    candidate_digest: str
    champion_digest: str
    candidate_metric_id: str
    champion_metric_id: str
    champion_fd: float
    difference: Interval
    recall: Relative | None = None
    coverage: Relative | None = None
    classes: Mapping[str, Relative] = field(default_factory=dict)


@dataclass(frozen=True)
class Canary:
    """How a bundle fared in a clean process of its own.

    Attributes:
        bundle_digest: Of the bundle.
        seconds_per_image: Wall time of an asset, above 0.
        memory_mb: The most that the process held, 10^6 bytes, above 0.
        count: Assets minted.
        accepted: Those of them that all asset filters let through.
        files: SHA-256 of each file by its name.
        problem: Why it could not be loaded, minted from or verified; "" when all went well.
    """

    bundle_digest: str
    seconds_per_image: float
    memory_mb: float
    count: int
    accepted: int
    files: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that a decision rests on.

    Attributes:
        recipe: Its name.
        candidate_digest: The bundle that is judged.
        champion_digest: The champion of the moment, None when there is none (cold start).
        metric_id: How distances were measured.
        fd_share: The candidate's distance as a share of what noise scores.
        paired: With the champion.
        checks: What was tried on the candidate and whether it held, {"bundle verifies": True}.
        best: With the best champion so far, when that is another than the present one. Without it
            each champion could be a margin worse than the one before.
        copies: Whether it copies training images; None: not measured, since none is held out.
        canary: The candidate in a clean process.
        champion_canary: The champion in one, timed in turn with the candidate.
        problems: What could not be found out, and why.
    """

    recipe: str
    candidate_digest: str
    champion_digest: str | None
    metric_id: str
    fd_share: Interval | None
    paired: Paired | None
    checks: Mapping[str, bool] = field(default_factory=dict)
    best: Paired | None = None
    copies: bool | None = None
    canary: Canary | None = None
    champion_canary: Canary | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
