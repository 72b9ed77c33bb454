"""The data contract in words and figures: which expectations, over which columns. Pure pandas."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gan.image.facts import BLANK, DUPLICATE, REASONS, class_name
from gan.image.similar import NEAR
from gan.sections import ContractSpec

Breaks = Callable[[pd.DataFrame], pd.Series]

# What `contract_table` holds, in words that somebody reads who never saw a table of facts.
COLUMNS = {
    "accepted": "1 for an image that training may see, 0 for one that was set aside",
    "rejected": "1 for an image that is broken or unfit, 0 for every other",
    "duplicate": "1 for an image with the same pixels as an earlier one, 0 for every other",
    "near_duplicate": "1 for an image that is nearly another one over again, 0 for every other",
    "blank": "1 for an image of one flat colour, 0 for every other",
    "images_in_class": "how many accepted images the class of this image has",
    "accepted_class": "the class of an accepted image",
    "accepted_side_px": "the shorter side of an accepted image, in pixels",
    "accepted_long_px": "the longer side of an accepted image, in pixels",
    "accepted_size": "width x height of an accepted image, in pixels",
    "accepted_mode": "the colour model of an accepted file: L is grey, RGB colour, RGBA with alpha",
    "accepted_pixels": "a digest of the pixels of an accepted image: equal for equal pixels",
    "key": "the name of the image in its source",
    "sha256": "the SHA-256 digest of the file",
    "licence": "the licence under which the image was given",
    "licence_named": "the same, missing where the source names none",
    "reason": "why the image was set aside; empty when it was accepted",
}

_DIGESTS = ("key", "accepted_pixels")  # of no use beside a picture


@dataclass(frozen=True)
class Clause:
    """One expectation of the contract.

    Attributes:
        name: Its name in the verdict.
        kind: Class name in `great_expectations.expectations`.
        arguments: Its arguments; columns as `contract_table` makes them.
        wanted: The limit in words.
        says: The figure found -> one plain sentence.
        breaks: The table -> whether each row is an example of what is wrong; None: no row is.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    wanted: str
    says: Callable[[float | None], str]
    breaks: Breaks | None = None


def clauses(contract: ContractSpec, facts: pd.DataFrame) -> list[Clause]:
    """Return the contract as expectations; `facts` only lends names and counts to the sentences.

    What the contract leaves at `null` is not asked for.
    """
    return [*_counts(contract, facts), *_shapes(contract), *_names(contract, facts),
            *_identities(len(facts))]  # fmt: skip


def _counts(contract: ContractSpec, facts: pd.DataFrame) -> list[Clause]:
    """Return how many there must be, and what share may be unfit."""
    total, classes = len(facts), class_counts(facts)
    smallest = min(classes, key=lambda name: (classes[name], name), default="")
    least = contract.min_images_per_class

    def share(column: str, what: str, limit: float) -> Clause:
        def says(value: float | None) -> str:
            count = round((value or 0) * total)
            return (
                f"{count:,} of {total:,} images ({100 * (value or 0):.2f} %) {what}; "
                f"at most {100 * limit:g} % may be."
            )

        return Clause(
            f"max_{column}_share", "ExpectColumnMeanToBeBetween",
            {"column": column, "max_value": limit},
            f"at most {100 * limit:g} %", says, lambda table: table[column] == 1,
        )  # fmt: skip

    near = contract.max_near_duplicate_share
    return [
        Clause(
            "min_images", "ExpectColumnSumToBeBetween",
            {"column": "accepted", "min_value": contract.min_images},
            f"at least {contract.min_images:,}",
            lambda value: f"{value or 0:,.0f} images are accepted; the contract asks for at least "
            f"{contract.min_images:,}.",
        ),
        Clause(
            "min_images_per_class", "ExpectColumnMinToBeBetween",
            {"column": "images_in_class", "min_value": least},
            f"at least {least:,}",
            lambda value: f"The smallest class, {smallest!r}, has {value or 0:,.0f} accepted "
            f"images; the contract asks for at least {least:,} in each.",
            lambda table: table["images_in_class"] < least,
        ),
        share("rejected", "are broken or unfit", contract.max_rejected_share),
        share("duplicate", "repeat another image", contract.max_duplicate_share),
        *([share("near_duplicate", "are nearly another image over again", near)]
          if near is not None else []),
        share("blank", "are one flat colour", contract.max_blank_share),
    ]  # fmt: skip


def _shapes(contract: ContractSpec) -> list[Clause]:
    """Return which sides, sizes and modes an accepted image may have."""
    shortest, longest = contract.min_side_px, contract.max_side_px
    asked = [
        Clause(
            "min_side_px", "ExpectColumnMinToBeBetween",
            {"column": "accepted_side_px", "min_value": shortest},
            f"at least {shortest:,} px",
            lambda value: f"The shortest side of an accepted image is {value or 0:,.0f} px; the "
            f"contract asks for at least {shortest:,} px.",
            lambda table: table["accepted_side_px"] < shortest,
        )
    ]  # fmt: skip
    if longest is not None:
        asked.append(Clause(
            "max_side_px", "ExpectColumnMaxToBeBetween",
            {"column": "accepted_long_px", "max_value": longest},
            f"at most {longest:,} px",
            lambda value: f"The longest side of an accepted image is {value or 0:,.0f} px; the "
            f"contract allows at most {longest:,} px.",
            lambda table: table["accepted_long_px"] > longest,
        ))  # fmt: skip
    if contract.sizes is not None:
        asked.append(_one_of("sizes", "accepted_size", contract.sizes, "size", "accepted images"))
    if contract.modes is not None:
        asked.append(_one_of("modes", "accepted_mode", contract.modes, "mode", "accepted images"))
    return asked


def _names(contract: ContractSpec, facts: pd.DataFrame) -> list[Clause]:
    """Return which classes and licences there must be."""
    asked = []
    if contract.labels is not None:
        wanted = contract.labels
        present = {name for name, count in class_counts(facts).items() if count}
        absent = [name for name in wanted if name not in present]
        asked.append(_one_of("labels", "accepted_class", wanted, "class", "accepted images"))
        asked.append(Clause(
            "labels_present", "ExpectColumnDistinctValuesToContainSet",
            {"column": "accepted_class", "value_set": wanted},
            f"each of {_listed(wanted)}",
            lambda _: f"The contract asks for images of {_listed(absent)}; there are none."
            if absent else "There are images of every class that the contract names.",
        ))  # fmt: skip
    if contract.licences is not None:
        asked.append(_one_of("licences", "licence_named", contract.licences, "licence", "images"))
    return asked


def _identities(total: int) -> list[Clause]:
    """Return what holds of every table of facts, whatever the contract says."""

    def rows(sentence: str) -> Callable[[float | None], str]:
        return lambda value: (
            f"{value:,.0f} of {total:,} images break this rule: {sentence}."
            if value
            else f"{sentence[0].upper()}{sentence[1:]}."
        )

    return [
        Clause(
            "accepted_distinct", "ExpectColumnValuesToBeUnique", {"column": "accepted_pixels"},
            "all different", rows("every accepted image shows pixels of its own"),
            lambda table: table["accepted_pixels"].notna()
            & table["accepted_pixels"].duplicated(keep=False),
        ),
        Clause(
            "keys_distinct", "ExpectColumnValuesToBeUnique", {"column": "key"},
            "all different", rows("every image has a name of its own"),
            lambda table: table["key"].duplicated(keep=False),
        ),
        Clause(
            "files_identified", "ExpectColumnValuesToMatchRegex",
            {"column": "sha256", "regex": "^[0-9a-f]{64}$"},
            "64 hex digits", rows("every image carries the SHA-256 of its file"),
            lambda table: ~table["sha256"].str.fullmatch("[0-9a-f]{64}"),
        ),
        Clause(
            "licence_recorded", "ExpectColumnValueLengthsToBeBetween",
            {"column": "licence", "min_value": 1},
            "a name", rows("every image carries the name of its licence"),
            lambda table: table["licence"] == "",
        ),
        Clause(
            "reasons_known", "ExpectColumnValuesToBeInSet",
            {"column": "reason", "value_set": ["", *REASONS]},
            "a known reason code", rows("every image is accepted, or has a known reason not to be"),
            lambda table: ~table["reason"].isin(["", *REASONS]),
        ),
    ]  # fmt: skip


def _one_of(name: str, column: str, allowed: Collection[str], what: str, whose: str) -> Clause:
    """Return the clause that a column of names holds allowed ones alone."""
    listed = _listed(allowed)

    def says(value: float | None) -> str:
        if not value:
            return f"All {whose} have a {what} that the contract allows: {listed}."
        which = f"1 of the {whose} has" if value == 1 else f"{value:,.0f} of the {whose} have"
        return f"{which} a {what} that the contract does not allow; it allows {listed}."

    return Clause(
        name, "ExpectColumnValuesToBeInSet", {"column": column, "value_set": list(allowed)},
        f"one of {listed}", says,
        lambda table: table[column].notna() & ~table[column].isin(list(allowed)),
    )  # fmt: skip


def _listed(names: Collection[str]) -> str:
    """Return names in one line, the first 12 of a long list."""
    shown = ", ".join(list(names)[:12])
    return f"{shown} and {len(names) - 12:,} more" if len(names) > 12 else shown


def wrong_with(rows: pd.DataFrame, column: str) -> dict[str, str]:
    """Return by key what is wrong with some rows of the table, of which `column` was asked.

    That is why an image was set aside, else what it is nearly a copy of, else what it has there.
    """

    def words(reason: str, cluster: str, value: object) -> str:
        if reason:
            return REASONS.get(reason, reason)
        if column == "near_duplicate":
            return f"like {cluster}"
        return value if isinstance(value, str) and column not in _DIGESTS else ""

    shown = zip(rows["key"], rows["reason"], rows["cluster"], rows[column], strict=True)
    return {key: words(reason, cluster, value) for key, reason, cluster, value in shown}


def contract_table(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts with the columns that the contract speaks of, as `COLUMNS` describes them.

    What is said of accepted images is missing for the others. `near_duplicate` counts all but one
    image of each cluster, whether they were set aside or not.
    """
    reason = facts["reason"]
    accepted = reason == ""
    classes = class_counts(facts)
    aside = {"": "accepted", DUPLICATE: "duplicate", BLANK: "blank", NEAR: "near_duplicate"}
    kind = reason.map(lambda code: aside.get(code, "rejected"))
    names = facts["label"].map(class_name)
    near = (facts["cluster"] != "") & (facts["cluster"] != facts["key"])
    return facts.assign(
        **{name: (kind == name).astype(int) for name in (*aside.values(), "rejected")}
        | {"near_duplicate": near.astype(int)},
        images_in_class=[classes[name] for name in names],
        accepted_class=names.where(accepted),
        accepted_side_px=facts[["width", "height"]].min(axis=1).where(accepted),
        accepted_long_px=facts[["width", "height"]].max(axis=1).where(accepted),
        accepted_size=(facts["width"].astype(str) + "x" + facts["height"].astype(str)).where(
            accepted
        ),
        accepted_mode=facts["mode"].where(accepted),
        accepted_pixels=facts["pixels_digest"].where(accepted),
        licence_named=facts["licence"].where(facts["licence"] != ""),
    )


def class_counts(facts: pd.DataFrame) -> dict[str, int]:
    """Return the number of accepted images of each class, 0 where all were set aside."""
    counts = (facts["reason"] == "").groupby(facts["label"].map(class_name)).sum()
    return {str(name): int(count) for name, count in counts.items()}
