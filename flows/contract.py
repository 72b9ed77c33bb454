"""The data contract in words and figures: which expectations, over which columns. Pure pandas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gan.image.facts import BLANK, DUPLICATE, REASONS, class_name
from gan.sections import ContractSpec


@dataclass(frozen=True)
class Clause:
    """One expectation of the contract.

    Attributes:
        name: Its name in the verdict.
        kind: Class name in `great_expectations.expectations`.
        arguments: Its arguments; columns as `contract_table` makes them.
        wanted: The limit in words.
        says: The figure found -> one plain sentence.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    wanted: str
    says: Callable[[float | None], str]


def clauses(contract: ContractSpec, facts: pd.DataFrame) -> list[Clause]:
    """Return the contract as expectations; `facts` only lends names and counts to the sentences."""
    total, classes = len(facts), class_counts(facts)
    smallest = min(classes, key=lambda name: (classes[name], name), default="")

    def share(what: str, limit: float) -> Callable[[float | None], str]:
        def says(value: float | None) -> str:
            count = round((value or 0) * total)
            return (
                f"{count:,} of {total:,} images ({100 * (value or 0):.2f} %) {what}; "
                f"at most {100 * limit:g} % may be."
            )

        return says

    def rows(sentence: str) -> Callable[[float | None], str]:
        return lambda value: (
            f"{value:,.0f} of {total:,} images break this rule: {sentence}."
            if value
            else f"{sentence[0].upper()}{sentence[1:]}."
        )

    shares = {
        "max_rejected_share": ("rejected", "are broken or unfit", contract.max_rejected_share),
        "max_duplicate_share": ("duplicate", "repeat another image", contract.max_duplicate_share),
        "max_blank_share": ("blank", "are one flat colour", contract.max_blank_share),
    }
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
            {"column": "images_in_class", "min_value": contract.min_images_per_class},
            f"at least {contract.min_images_per_class:,}",
            lambda value: f"The smallest class, {smallest!r}, has {value or 0:,.0f} accepted "
            f"images; the contract asks for at least {contract.min_images_per_class:,} in each.",
        ),
        *(
            Clause(
                name, "ExpectColumnMeanToBeBetween", {"column": column, "max_value": limit},
                f"at most {100 * limit:g} %", share(what, limit),
            )
            for name, (column, what, limit) in shares.items()
        ),
        Clause(
            "min_side_px", "ExpectColumnMinToBeBetween",
            {"column": "accepted_side_px", "min_value": contract.min_side_px},
            f"at least {contract.min_side_px} px",
            lambda value: f"The shortest side of an accepted image is {value or 0:,.0f} px; the "
            f"contract asks for at least {contract.min_side_px} px.",
        ),
        Clause(
            "accepted_distinct", "ExpectColumnValuesToBeUnique", {"column": "accepted_pixels"},
            "all different", rows("every accepted image shows pixels of its own"),
        ),
        Clause(
            "keys_distinct", "ExpectColumnValuesToBeUnique", {"column": "key"},
            "all different", rows("every image has a name of its own"),
        ),
        Clause(
            "files_identified", "ExpectColumnValuesToMatchRegex",
            {"column": "sha256", "regex": "^[0-9a-f]{64}$"},
            "64 hex digits", rows("every image carries the SHA-256 of its file"),
        ),
        Clause(
            "licence_recorded", "ExpectColumnValueLengthsToBeBetween",
            {"column": "licence", "min_value": 1},
            "a name", rows("every image carries the name of its licence"),
        ),
        Clause(
            "reasons_known", "ExpectColumnValuesToBeInSet",
            {"column": "reason", "value_set": ["", *REASONS]},
            "a known reason code", rows("every image is accepted, or has a known reason not to be"),
        ),
    ]  # fmt: skip


def contract_table(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts with the columns that the contract speaks of.

    accepted, rejected, duplicate, blank: 0 or 1. images_in_class: accepted images of the row's
    class. accepted_side_px, accepted_pixels: shorter side and digest of pixels of an accepted
    image, missing for the others.
    """
    reason = facts["reason"]
    accepted = reason == ""
    classes = class_counts(facts)
    aside = {"": "accepted", DUPLICATE: "duplicate", BLANK: "blank"}
    kind = reason.map(lambda code: aside.get(code, "rejected"))
    return facts.assign(
        **{name: (kind == name).astype(int) for name in (*aside.values(), "rejected")},
        images_in_class=[classes[class_name(label)] for label in facts["label"]],
        accepted_side_px=facts[["width", "height"]].min(axis=1).where(accepted),
        accepted_pixels=facts["pixels_sha256"].where(accepted),
    )


def class_counts(facts: pd.DataFrame) -> dict[str, int]:
    """Return the number of accepted images of each class, 0 where all were set aside."""
    counts = (facts["reason"] == "").groupby(facts["label"].map(class_name)).sum()
    return {str(name): int(count) for name, count in counts.items()}
