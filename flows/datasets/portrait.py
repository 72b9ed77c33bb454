"""What one data version is, in figures and plain sentences: what its card and its Croissant tell.

Nothing here is guessed: what nobody recorded is said not to be known.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from flows.page_style import without_login
from gan.image.dataset import Meta
from gan.image.facts import REASONS, class_name
from gan.image.similar import belonging
from gan.recipe import Recipe
from gan.sections import DataSpec
from gan.split import split

_NAMED = 8  # classes that one sentence names
_FEW = 50  # images of a class that are few for any model
_SEVERAL = 2  # of a cluster or a set of classes
_UNKNOWN_LICENCES = frozenset({"", "unknown", "none", "n/a", "?"})


@dataclass(frozen=True)
class Origin:
    """Images of one source under one licence; a source is told without the login in it."""

    source: str
    licence: str
    images: int


@dataclass(frozen=True)
class Portrait:
    """One data version.

    Attributes:
        recipe: Its recipe, as it stood.
        meta: What was prepared from it.
        images: Number of images that were looked at.
        classes: Accepted images by class, in the order of `meta.classes`.
        aside: Images set aside by reason code, the commonest first.
        origins: Where the images come from.
        held_out: Accepted images that are never trained on.
        facts: The accepted images' rows of the table of facts, by key.
        gaps: What whoever uses it should know, a sentence each.
    """

    recipe: Recipe
    meta: Meta
    images: int
    classes: dict[str, int]
    aside: dict[str, int]
    origins: list[Origin]
    held_out: int
    facts: pd.DataFrame
    gaps: list[str]

    @property
    def version(self) -> str:
        """What the version is called where it is typed: RECIPE@digest."""
        return f"{self.recipe.name}@{self.meta.digest[:12]}"

    @property
    def lead(self) -> str:
        """What it is, in two sentences."""
        data, meta = self.recipe.data, self.meta
        kind = {1: "grey", 3: "colour", 4: "colour, with transparency"}[meta.channels]
        looked = (
            "all of those that were looked at"
            if self.images == meta.count
            else f"accepted of {self.images:,} that were looked at"
        )
        trained = (
            f"A training sees {meta.count - self.held_out:,} of them; {self.held_out:,} are held "
            "out to measure it by."
            if self.held_out
            else "A training sees them all: they are too few to hold any out."
        )
        return (
            f"{meta.count:,} images in {count(len(self.classes), 'class', 'classes')}, {looked}, "
            f"prepared at {data.resolution} x {data.resolution} px ({kind}). {trained}"
        )


def portray(recipe: Recipe, facts: pd.DataFrame, meta: Meta) -> Portrait:
    """Return what is known of a data version.

    Args:
        recipe: As it was prepared with.
        facts: The table of facts of every image that was looked at, sorted by key.
        meta: What `prepare` wrote.
    """
    kept = facts[facts["reason"] == ""]
    found = Counter(class_name(label) for label in kept["label"])
    classes = {name: found[name] for name in meta.classes}
    aside = facts.loc[facts["reason"] != "", "reason"].value_counts()
    pairs = zip(facts["source"].map(without_login), facts["licence"], strict=True)
    origins = [Origin(*pair, images) for pair, images in sorted(Counter(pairs).items())]
    return Portrait(
        recipe=recipe,
        meta=meta,
        images=len(facts),
        classes=classes,
        aside={str(reason): int(images) for reason, images in aside.items()},
        origins=origins,
        held_out=int(held_out(facts, meta.digest).sum()),
        facts=kept,
        gaps=[
            *_of_classes(classes),
            *_of_set_aside(facts),
            *_of_copies(kept, recipe.data),
            *_of_shape(kept, recipe.data),
            *_of_origin(facts, recipe.data),
        ],
    )


def held_out(facts: pd.DataFrame, digest: str) -> npt.NDArray[np.bool_]:
    """Return which rows a training never saw, though they were accepted; bool [rows].

    Args:
        facts: Every image of a data version, sorted by key.
        digest: Its data digest.
    """
    kept = np.flatnonzero((facts["reason"] == "").to_numpy())
    _, spared = split(len(kept), digest, belonging(facts.iloc[kept]))
    chosen = np.zeros(len(facts), np.bool_)
    chosen[kept[spared]] = True
    return chosen


def count(number: int, one: str, many: str) -> str:
    """Return a number with its word, say `1 class` or `12 classes`."""
    return f"{number:,} {one if number == 1 else many}"


def _of_classes(classes: dict[str, int]) -> Iterator[str]:
    if len(classes) < _SEVERAL:
        yield "The images are of one class: a model of them cannot be asked for anything else."
        return
    middle = float(np.median(list(classes.values())))
    small = sorted((n, name) for name, n in classes.items() if n < max(_FEW, middle / 2))
    if small:
        named = ", ".join(f"{name} ({n:,})" for n, name in small[:_NAMED])
        more = f" and {len(small) - _NAMED:,} more" if len(small) > _NAMED else ""
        yield (
            f"Small classes, under {max(_FEW, middle / 2):,.0f} images: {named}{more}. A model "
            "draws what it saw seldom worse than the rest."
        )
    least, most = min(classes.values()), max(classes.values())
    if most > 2 * max(least, 1):
        yield (
            f"The classes are uneven: the largest has {most:,} images, the smallest {least:,}. "
            "A model draws classes in these shares unless it is asked otherwise."
        )


def _of_set_aside(facts: pd.DataFrame) -> Iterator[str]:
    aside = facts.loc[facts["reason"] != "", "reason"].value_counts()
    if aside.empty:
        return
    told = ", ".join(
        f"{count(int(n), 'image', 'images')} ({REASONS.get(str(code), code)})"
        for code, n in aside.items()
    )
    yield f"Set aside: {told}."


def _of_copies(kept: pd.DataFrame, data: DataSpec) -> Iterator[str]:
    clusters = kept.loc[kept["cluster"] != "", "cluster"].value_counts()
    clusters = clusters[clusters >= _SEVERAL]
    if not clusters.empty:
        yield (
            f"{clusters.sum():,} images look much like another one, in "
            f"{count(len(clusters), 'cluster', 'clusters')} (within {data.near_distance} of 64 "
            "bits of their perceptual hashes). They stay, and none of a cluster is held out while "
            "others are trained on."
        )


def _of_shape(kept: pd.DataFrame, data: DataSpec) -> Iterator[str]:
    sides = kept[["width", "height"]]
    enlarged = int((sides.min(axis=1) < data.resolution).sum())
    if enlarged:
        yield (
            f"{enlarged:,} images are smaller than {data.resolution} px and were enlarged: they "
            "are blurred, or blocky, and hold less than their size says."
        )
    oblong = int((kept["width"] != kept["height"]).sum())
    if oblong:
        did = (
            "cut to the square in their middle, so what stood beside it is not in the data"
            if data.fit == "crop"
            else "set in a square, whose rest is background"
        )
        yield f"{oblong:,} images are not square: they were {did}."
    clear = int((kept["alpha_share"] > 0).sum())
    if clear and data.channels != 4:
        yield f"{clear:,} images have transparent parts, which were laid on {data.background}."


def _of_origin(facts: pd.DataFrame, data: DataSpec) -> Iterator[str]:
    unnamed = int(facts["licence"].map(is_unknown).sum())
    if unnamed:
        yield (
            f"The licence of {unnamed:,} images is unknown. Find out before you hand out the "
            "images, or what a model of them draws; then name it as data.licence in params.yaml."
        )
    if data.removed:
        reasons = Counter(data.removed.values()).most_common(_NAMED)
        told = "; ".join(f"{reason} ({n:,})" for reason, n in reasons)
        yield f"{count(len(data.removed), 'file was', 'files were')} removed on request: {told}."
    yield (
        "Not known, because nobody recorded it: how and when the images were collected, who made "
        "them, and whether the people and works in them may be used so."
    )


def is_unknown(licence: str) -> bool:
    """Return whether these words name no licence at all."""
    return licence.strip().lower() in _UNKNOWN_LICENCES
