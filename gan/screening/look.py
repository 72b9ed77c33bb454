"""What a look at a candidate gives: a verdict, the reason in words, and the figures behind it."""

from dataclasses import dataclass
from typing import Literal

# In the order in which they count: of several findings the first names the verdict.
Verdict = Literal["accepted", "broken", "blank", "moderated", "copy", "off_class", "outlier"]


@dataclass(frozen=True)
class Scores:
    """The figures of one image, rounded to four decimals; None where a screen was not asked.

    Attributes:
        contrast: Standard deviation of the most varied channel, 0 to 0.5.
        critic: The critic's logit for the image and its class; higher is liked better, and only
            figures of one bundle compare.
        class_probability: Of its own class, 0..1, as the recipe's own extractor sees it.
        training_ratio: How near the nearest training image is: 0 an exact copy, 1 the limit, from
            there up far enough.
        moderation: The highest score of a label that the campaign refuses, 0..1.
    """

    contrast: float | None
    critic: float | None = None
    class_probability: float | None = None
    training_ratio: float | None = None
    moderation: float | None = None


@dataclass(frozen=True)
class Look:
    """What is known of one image.

    Attributes:
        verdict: `accepted`, or what sets it aside; near duplicates are not known here.
        reason: What was found, in words; "" for an accepted one.
        like: The training image that a copy is too near to, for `training_picture`; else "".
        scores: The figures.
        phash: Perceptual hash, 64 bits as two's complement, see `gan.image.statistics.Measures`.
        colour: 48 bytes, area means of 4 x 4 cells, RGB.
        pixels: SHA-256 of the uint8 array, 64 hex digits.
    """

    verdict: Verdict
    reason: str
    like: str
    scores: Scores
    phash: int
    colour: bytes
    pixels: str
