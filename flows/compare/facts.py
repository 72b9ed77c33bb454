"""What a comparison of two models says: its facts, which is better, and that in words. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flows.tracking import RunFacts

if TYPE_CHECKING:
    from gan.bundle import Card
    from gan.metrics.intervals import Interval
    from gan.metrics.report import Row

_MEANINGS = {
    "precision": "share of generated images that look like a real one",
    "recall": "share of real images that the model could have made",
    "density": "how many real images are around a generated one, against what is usual among reals",
    "coverage": "share of real images that have a generated one near",
    "class_coverage": "coverage inside each class, mean over the classes",
    "class_coverage_worst_class": "coverage of the class that has the least",
    "diversity": "how unlike images of one class are, against the real images of that class",
    "class_accuracy": "share of images taken for the class that was asked for",
    "memorisation": "chance that an image's nearest real one was trained on; honest: 0.5",
    "copied_share": "share of images that lie unusually near to a training image",
    "feature_memorisation": "memorisation by the extractor's features, not by thumbnails",
    "feature_copied_share": "copied share by the extractor's features, not by thumbnails",
}
_FAMILIES = (  # (beginning, end, meaning) of names that hold the extractor's name
    ("", "_worst_class", "distance of the class that is farthest from its real images"),
    ("", "_share", "distance as a share of what noise scores"),
    ("", "_noise", "the same distance of noise: as bad as it gets"),
    ("", "_real", "the same distance of some real images to the others: as good as it gets"),
    ("fid", "", "Frechet distance of generated to real images, in the Inception network"),
    ("fd", "", "Frechet distance of generated to real images, in the extractor's features"),
    ("kid", "", "kernel distance of generated to real images, in the Inception network"),
    ("kd", "", "kernel distance of generated to real images, in the extractor's features"),
)

Letter = Literal["A", "B", ""]


@dataclass(frozen=True)
class Side:
    """One of the two models: its name, its bundle's digest, and pages about it, [(words, URL)]."""

    name: str
    digest: str
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Strip:
    """Images of one class made from the same latents by both models: a PNG file each."""

    name: str
    a: bytes
    b: bytes


@dataclass(frozen=True)
class Fact:
    """What is known of both models under one name; "" where it was not recorded."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Page:
    """All that the page shows.

    Attributes:
        a: The model that is looked at.
        b: What it is held against.
        rows: Metrics; the first decides.
        samples: Images of each model.
        measured: How and on what data: (name, value).
        strips: Pictures by class.
        strips_note: What stands where in them, in a sentence.
        parameters: The parameters that differ.
        equal_parameters: How many do not.
        data: What the models were trained on.
        data_note: What they were measured on, in a sentence.
        cost: What the trainings took.
        commands: What may come next: (why, command).
    """

    a: Side
    b: Side
    rows: "Sequence[Row]"
    samples: int
    measured: Sequence[tuple[str, str]]
    strips: Sequence[Strip]
    strips_note: str
    parameters: Sequence[Fact]
    equal_parameters: int
    data: Sequence[Fact]
    data_note: str
    cost: Sequence[Fact]
    commands: Sequence[tuple[str, str]]


def better(row: "Row") -> Letter:
    """Return the better model of a metric; "" when the interval of the difference holds 0.

    Nor is there a better one where the best is in between.
    """
    low, high = row.difference.low, row.difference.high
    if row.less_is_better is None:
        return ""
    if low > 0:
        return "B" if row.less_is_better else "A"
    if high < 0:
        return "A" if row.less_is_better else "B"
    return ""


def headline(rows: "Sequence[Row]", samples: int) -> str:
    """Return the verdict of the first metric in one plain sentence."""
    row, letter = rows[0], better(rows[0])
    found = row.difference
    if not letter:
        smallest = f"{(found.high - found.low) / 2:.2g}"
        return (
            f"No difference can be seen at N {samples:,}: {row.name} of A minus that of B is "
            f"{_signed(found)}; the smallest that could be seen is about {smallest}."
        )
    low, value, high = sorted(abs(each) for each in (found.low, found.value, found.high))
    digits = digits_of(found)
    word = "lower" if row.less_is_better else "higher"
    return (
        f"{letter} is better: {row.name} {word} by {value:.{digits}f} "
        f"[{low:.{digits}f}, {high:.{digits}f}]."
    )


def others(rows: "Sequence[Row]") -> str:
    """Return how the other metrics stand, in a sentence."""
    if not rows:
        return ""
    names: dict[Letter, list[str]] = {"A": [], "B": [], "": []}
    for row in rows:
        names[better(row)].append(row.name)
    said = [
        f"{len(names[letter])} {'is' if len(names[letter]) == 1 else 'are'} better for {letter} "
        f"({', '.join(names[letter])})"
        for letter in ("A", "B")
        if names[letter]
    ]
    said += [f"{len(names[''])} favour{'s' if len(names['']) == 1 else ''} neither"]
    return f"Of {len(rows)} other metrics {', '.join(said)}."


def digits_of(found: "Interval") -> int:
    """Return the decimals that the interval's width is worth: two figures of its half."""
    half = (found.high - found.low) / 2
    size = half if math.isfinite(half) and half > 0 else abs(found.value) / 100
    if not (math.isfinite(size) and size > 0):
        return 3
    return min(8, max(0, 1 - math.floor(math.log10(size))))


def meaning(name: str) -> str:
    """Return what a metric tells in a few words, "" for one that is not known here."""
    families = (
        said for first, last, said in _FAMILIES if name.startswith(first) and name.endswith(last)
    )
    return _MEANINGS.get(name) or next(families, "")


def _signed(found: "Interval") -> str:
    form = f"+z.{digits_of(found)}f"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def pairs(a: Mapping[str, str], b: Mapping[str, str]) -> list[Fact]:
    """Return the facts of both under each name, in the order of the first."""
    return [Fact(name, a.get(name, ""), b.get(name, "")) for name in {**a, **b}]


def data_facts(card: "Card", run: RunFacts, tags: Mapping[str, str]) -> dict[str, str]:
    """Return what a model was trained on: its card, its training, its version's tags."""
    return {
        "data digest": card.data_digest,
        "data version (DVC)": tags.get("data_version", ""),
        "images": "" if run.images is None else f"{run.images:,}",
        "classes": f"{len(card.classes):,}",
        "started from bundle": card.start_digest or "none, from scratch",
        "code (git)": tags.get("git_revision", ""),
    }


def cost_facts(card: "Card", run: RunFacts) -> dict[str, str]:
    """Return what a training took, as far as it was measured, and how it ended."""
    speed = 1000 * run.kimg / run.seconds if run.kimg and run.seconds else None
    return {
        "training time": "" if run.seconds is None else duration(run.seconds),
        "images shown": f"{card.kimg:,g} kimg",
        "with what it started from": f"{card.total_kimg:,g} kimg",
        "speed, measuring included": "" if speed is None else f"{speed:,.0f} images/s",
        "peak memory": _memory(run.memory_mb),
        "peak GPU memory": _memory(run.gpu_memory_mb),
        "number format": card.precision,
        "torch": card.torch,
        "ended": f"{card.status}, {card.rollbacks} roll-backs",
    }


def duration(seconds: float) -> str:
    """Return a time as people say it, say `2 h 5 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _memory(megabytes: float | None) -> str:
    if megabytes is None:
        return ""
    return f"{megabytes:,.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.2f} GB"
