"""A data contract proposed from the images at hand: what they keep to now, with a little room.

It is a proposal for a person to read: that data keep to it says nothing of whether they should.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from flows.contract import class_counts, contract_table
from gan.errors import SourceError
from gan.image.facts import FACTS, UNLABELLED, read_facts
from gan.paths import Layout
from gan.recipe import load_recipe

_KEPT_SHARE = 0.8  # of today's images: so many may go before anybody should look
_CLASS_SHARE = 0.5
_ROOM_SIGMAS = 3.0  # of a share, were each image's fate drawn by itself
_LEAST_SHARE = 0.001
_SIZES_AT_MOST, _NAMES_AT_MOST = 4, 200


@dataclass(frozen=True)
class Proposed:
    """One line of a proposed contract.

    Attributes:
        key: Of `data.contract` in params.yaml.
        value: What is proposed; None asks for nothing.
        now: What the recipe says today.
        why: One sentence, what was counted.
    """

    key: str
    value: int | float | list[str] | None
    now: int | float | list[str] | None
    why: str


def suggest(layout: Layout, recipe: str) -> list[Proposed]:
    """Return a contract that the validated images meet, in the order of `data.contract`.

    Raises:
        RecipeError: There is no such recipe.
        SourceError: The images were not looked at yet, or none was accepted.
        DamagedError: The table of facts is damaged.
    """
    data = load_recipe(layout.params, recipe).data
    path = layout.facts(recipe) / FACTS
    if not path.is_file():
        raise SourceError(
            f"{path}: is not here, and a contract is proposed from it. Run: ganmill validate "
            f"{recipe}"
        )
    facts = read_facts(path)
    if not (facts["reason"] == "").any():
        raise SourceError(f"{path}: accepts no image to propose from. Add sound images, ingest.")
    table = contract_table(facts)
    now = data.contract.model_dump()
    drafts = [*_counts(table), *_shapes(table), *_names(table)]
    return [Proposed(key, value, now[key], why) for key, value, why in drafts]


def as_yaml(recipe: str, proposed: Sequence[Proposed]) -> str:
    """Return the proposal as the part of params.yaml that it is, with the reasons as comments."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    contract = CommentedMap()
    for line in proposed:
        contract[line.key] = line.value
        today = "" if line.value == line.now else f" (Now: {_shown(line.now)}.)"
        contract.yaml_set_comment_before_after_key(line.key, before=f"{line.why}{today}", indent=8)
    yaml = YAML()
    yaml.width = 96
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    text = io.StringIO()
    yaml.dump({"recipes": {recipe: {"data": {"contract": contract}}}}, text)
    return text.getvalue()


Draft = tuple[str, int | float | list[str] | None, str]


def _counts(table: pd.DataFrame) -> list[Draft]:
    """Propose how many images there must be, and what share may be unfit."""
    accepted = int(table["accepted"].sum())
    classes = class_counts(table)
    smallest = min(classes, key=lambda name: (classes[name], name))

    def share(column: str, what: str) -> Draft:
        found = int(table[column].sum())
        limit = _share_limit(found, len(table))
        why = f"{found:,} of {len(table):,} images {what} ({100 * found / len(table):.2g} %)."
        return f"max_{column}_share", limit, why

    return [
        (
            "min_images",
            max(2, math.floor(_KEPT_SHARE * accepted)),
            f"{accepted:,} are accepted now; a fifth of them may go.",
        ),
        (
            "min_images_per_class",
            max(1, math.floor(_CLASS_SHARE * classes[smallest])),
            f"The smallest of {_count(len(classes), 'class', 'classes')}, {smallest}, has "
            + (
                f"{classes[smallest]:,}; half of them may go."
                if classes[smallest]
                else "none that is accepted: add some, or take the class out."
            ),
        ),
        share("rejected", "are broken or unfit"),
        share("duplicate", "repeat another image"),
        share("near_duplicate", "are nearly another image over again"),
        share("blank", "are one flat colour"),
    ]


def _shapes(table: pd.DataFrame) -> list[Draft]:
    """Propose sides, sizes and modes."""
    shortest, longest = table["accepted_side_px"].min(), table["accepted_long_px"].max()
    sizes = table["accepted_size"].value_counts()
    modes = table["accepted_mode"].value_counts()
    few = len(sizes) <= _SIZES_AT_MOST
    return [
        ("min_side_px", int(shortest), f"The shortest side is {shortest:,.0f} px."),
        ("max_side_px", int(longest), f"The longest side is {longest:,.0f} px."),
        (
            "sizes",
            sorted(sizes.index) if few else None,
            f"{_tally(sizes)}."
            if few
            else f"{len(sizes):,} sizes, too many to name: any between the sides is allowed.",
        ),
        ("modes", sorted(modes.index), f"{_tally(modes)}."),
    ]


def _names(table: pd.DataFrame) -> list[Draft]:
    """Propose classes and licences."""
    classes = sorted(name for name, count in class_counts(table).items() if count)
    licences = table["licence_named"].value_counts()
    labels: list[str] | None = classes
    if classes == [UNLABELLED]:
        labels, why = None, "The images carry no label."
    elif len(classes) > _NAMES_AT_MOST:
        labels, why = None, f"{len(classes):,} classes: too many to name here."
    else:
        why = f"{_count(len(classes), 'class', 'classes')}: another one, or one gone, stops it."
    known = len(licences) > 0 and "unknown" not in licences.index
    return [
        ("labels", labels, why),
        (
            "licences",
            sorted(licences.index) if known else None,
            f"{_tally(licences)}."
            if known
            else "Of some images the licence is unknown: name it as data.licence, then ask again.",
        ),
    ]


def _share_limit(found: int, total: int) -> float:
    """Return a share that `found` of `total` keep to, with room for chance, in two digits."""
    share = found / total
    room = _ROOM_SIGMAS * math.sqrt(max(share * (1 - share), 1 / total) / total)
    limit = min(1.0, max(_LEAST_SHARE, share + room))
    step = 10.0 ** (math.floor(math.log10(limit)) - 1)
    return min(1.0, round(math.ceil(limit / step) * step, 6))


def _shown(value: object) -> str:
    """Return a value of today as YAML would have it, long lists by their length."""
    if isinstance(value, list) and len(value) > _SIZES_AT_MOST:
        return f"a list of {len(value):,}"
    return "null" if value is None else str(value)


def _tally(counts: pd.Series) -> str:
    """Return names with their counts, most frequent first."""
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
