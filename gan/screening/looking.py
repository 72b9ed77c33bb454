"""Look at candidates with all the screens that a campaign asks for; `screens.py` opens them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan.screening.copies import Copies
from gan.screening.critic import Critic
from gan.screening.eyes import Eyes, Seen
from gan.screening.look import Look, Scores, Verdict
from gan.screening.moderation import Classifier
from gan.screening.sight import BLANK_CONTRAST, contrasts, marks, pixels_sha256, roughness

_ORDER: tuple[Verdict, ...] = ("broken", "blank", "moderated", "copy", "off_class", "outlier")

Images = NDArray[np.uint8]
Classes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class _Findings:
    """What the screens say of N images.

    Attributes:
        reasons: Why each image is set aside, or "", by verdict; a list of N a screen.
        scores: By name, [N]; not a number where a screen could not look.
        likes: The nearest training image of each, or [].
    """

    reasons: list[tuple[Verdict, list[str]]]
    scores: dict[str, Floats]
    likes: list[str]

    def add(self, verdict: Verdict, is_found: Iterable[bool], reasons: Iterable[str]) -> None:
        """Add what one screen says; reasons are given for all, and count where it found it."""
        pairs = zip(is_found, reasons, strict=True)
        self.reasons.append((verdict, [reason if found else "" for found, reason in pairs]))

    def of(self, place: int) -> tuple[Verdict, str, str, Scores]:
        """Return verdict, reason, look-alike and scores of one image."""
        said = [(verdict, each[place]) for verdict, each in self.reasons if each[place]]
        said.sort(key=lambda one: _ORDER.index(one[0]))
        verdict: Verdict = said[0][0] if said else "accepted"
        like = self.likes[place] if any(name == "copy" for name, _ in said) else ""
        reason = "; ".join(each for _, each in said)
        scores = {name: _figure(each[place]) for name, each in self.scores.items()}
        return verdict, reason, like, Scores(**scores)


@dataclass(frozen=True)
class Screens:
    """The screens of one bundle and one campaign; a screen that is not asked is None.

    Attributes:
        notes: What a screen could not look at and why, a sentence each.
        critic: Tells what is broken and what is an outlier.
        eyes: The recipe's own extractor, for `columns` and `copies`.
        columns: The extractor's number of each of the bundle's classes, -1 for one that it does
            not know; None where classes are not looked at.
        off_class: Least probability of its own class.
        copies: Tells what is too near to a training image.
        classifier: Tells what to refuse.
        moderator: Does so too, by the user's own code.
    """

    notes: list[str]
    critic: Critic | None
    eyes: Eyes | None
    columns: Classes | None
    off_class: float
    copies: Copies | None
    classifier: Classifier | None
    moderator: Callable[[Images], list[str]] | None

    def look(self, images: Images, classes: Classes) -> list[Look]:
        """Return a look at each image; which images are looked at together changes nothing.

        Args:
            images: As the generator made them, uint8 [N, C, H, W].
            classes: The bundle's class that each was asked for, [N].

        Raises:
            DamagedError: What the extractor sees is not finite.
            UsageError: What the classifier says is not finite, or the user's moderator failed.
        """
        if len(images) == 0:
            return []
        contrast = contrasts(images)
        found = _Findings([], {"contrast": contrast.round(4)}, [])
        found.add("blank", contrast < BLANK_CONTRAST, ["one flat colour"] * len(images))
        if self.critic:
            self._ask_critic(self.critic, images, classes, found)
        seen = self.eyes.read(images) if self.eyes else None
        if self.eyes and seen and self.columns is not None:
            self._ask_class(self.eyes, seen, self.columns[classes], found)
        if self.copies:
            ratio, found.likes = self.copies.near(images, seen.features if seen else None)
            found.scores["training_ratio"] = ratio
            found.add(
                "copy",
                ratio < 1,
                [f"too near to a training image: {each:.2f} of the limit" for each in ratio],
            )
        if self.classifier:
            found.scores["moderation"], reasons = self.classifier.judge(images)
            found.add("moderated", map(bool, reasons), reasons)
        if self.moderator:
            reasons = self.moderator(images)
            found.add("moderated", map(bool, reasons), reasons)
        measures = marks(images)
        looks = []
        for place, image in enumerate(images):
            verdict, reason, like, scores = found.of(place)
            phash, colour = int(measures.phash[place]), measures.colour[place].tobytes()
            digest = pixels_sha256(image)
            looks.append(Look(verdict, reason, like, scores, phash, colour, digest))
        return looks

    def _ask_critic(
        self, critic: Critic, images: Images, classes: Classes, found: _Findings
    ) -> None:
        rough = roughness(images)
        found.add(
            "broken",
            rough > critic.roughest,
            [f"noise: roughness {each:.2f}, up to {critic.roughest:.2f} passes" for each in rough],
        )
        logits, limits = critic.logits(images, classes), critic.limits[classes]
        found.scores["critic"] = logits
        found.add(
            "outlier",
            logits < limits,
            [
                f"the critic likes it least: {logit:.2f}, from {limit:.2f} on passes"
                for logit, limit in zip(logits, limits, strict=True)
            ],
        )

    def _ask_class(self, eyes: Eyes, seen: Seen, columns: Classes, found: _Findings) -> None:
        """Ask for the probability of its own class, the extractor's number of which is given."""
        own = seen.probabilities[np.arange(len(columns)), columns]
        found.scores["class_probability"] = np.where(columns < 0, np.nan, own)
        names = eyes.card.classes
        best = seen.probabilities.argmax(axis=1)
        found.add(
            "off_class",
            (own < self.off_class) & (columns >= 0),
            [
                f"looks like {names[other]}: {names[column]} has probability {each:.3f}"
                for other, column, each in zip(best, columns, own, strict=True)
            ],
        )


def _figure(score: float) -> float | None:
    return None if np.isnan(score) else float(score)
