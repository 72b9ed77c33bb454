"""What became different between two data versions: images, labels, classes, and facts.

An image is known by its key; one that lies under another key in the second version is known by its
bytes, so that a file that moved to another folder is moved or relabelled, not removed and added.
"""

from dataclasses import dataclass

import pandas as pd

from flows.datasets.catalog import DatasetRecord, read_facts, read_manifest

FACTS = (
    "width", "height", "bytes", "luminance", "contrast", "sharpness", "entropy", "alpha_share",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """An image that is in both versions, and what differs: a key, a label, bytes, or a reason."""

    key: str
    before: str
    after: str


@dataclass(frozen=True)
class ClassChange:
    """A class, and how many accepted images of it there are in each version."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class FactChange:
    """A fact of the accepted images: its 5th, 50th and 95th percentile in each version."""

    fact: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]


@dataclass(frozen=True)
class DatasetDiff:
    """Two versions side by side; images are named by their key in the second, sorted.

    Attributes:
        before: Data digest of the first.
        after: Data digest of the second.
        added: Images that the first has not.
        removed: Images that the second has not.
        relabelled: Equal bytes, another label; before and after are labels.
        changed: Equal key, other pixels; before and after are SHA-256 of the files.
        rewritten: Equal key and pixels, other bytes; likewise.
        moved: Equal bytes, another key; before and after are keys.
        judged: Equal bytes, another reason to be set aside ("" is accepted).
        classes: Every class of either, by name.
        facts: Every fact that both versions have.
    """

    before: str
    after: str
    added: list[str]
    removed: list[str]
    relabelled: list[Change]
    changed: list[Change]
    rewritten: list[Change]
    moved: list[Change]
    judged: list[Change]
    classes: list[ClassChange]
    facts: list[FactChange]

    @property
    def is_empty(self) -> bool:
        """Whether no image differs."""
        lists = (self.added, self.removed, self.relabelled, self.changed, self.rewritten)
        return not any((*lists, self.moved, self.judged))


def diff(before: DatasetRecord, after: DatasetRecord) -> DatasetDiff:
    """Return what became different from one data version to another, of one recipe or of two.

    Raises:
        DamagedError: A record is not as it was written.
    """
    old, new = read_manifest(before), read_manifest(after)
    same = old.merge(new, on="key", suffixes=("_before", "_after"))
    same["key_before"] = same["key_after"] = same["key"]
    gone, came = old[~old["key"].isin(new["key"])], new[~new["key"].isin(old["key"])]
    moved = _by_bytes(gone, came)
    both = pd.concat([same.drop(columns="key"), moved], ignore_index=True)
    equal = both["sha256_before"] == both["sha256_after"]
    drawn = both["pixels_digest_before"] == both["pixels_digest_after"]
    return DatasetDiff(
        before=before.digest,
        after=after.digest,
        added=sorted(came.loc[~came["key"].isin(moved["key_after"]), "key"]),
        removed=sorted(gone.loc[~gone["key"].isin(moved["key_before"]), "key"]),
        relabelled=_changes(both[both["label_before"] != both["label_after"]], "label"),
        changed=_changes(both[~equal & ~drawn], "sha256"),
        rewritten=_changes(both[~equal & drawn], "sha256"),
        moved=_changes(moved, "key"),
        judged=_changes(both[equal & (both["reason_before"] != both["reason_after"])], "reason"),
        classes=[
            ClassChange(name, before.classes.get(name, 0), after.classes.get(name, 0))
            for name in sorted({*before.classes, *after.classes})
        ],
        facts=_facts(read_facts(before), read_facts(after)),
    )


def _by_bytes(gone: pd.DataFrame, came: pd.DataFrame) -> pd.DataFrame:
    """Pair images of equal bytes under different keys; of several copies the n-th with the n-th."""
    sides = [
        side.assign(copy=side.groupby("sha256").cumcount(), digest=side["sha256"])
        for side in (gone, came)
    ]
    pairs = sides[0].merge(sides[1], on=["digest", "copy"], suffixes=("_before", "_after"))
    return pairs.drop(columns=["digest", "copy"])


def _changes(rows: pd.DataFrame, column: str) -> list[Change]:
    """Return one change a row, sorted by the key in the second version."""
    ordered = rows.sort_values("key_after")
    columns = (ordered[name] for name in ("key_after", f"{column}_before", f"{column}_after"))
    return [Change(*map(str, row)) for row in zip(*columns, strict=True)]


def _facts(old: pd.DataFrame, new: pd.DataFrame) -> list[FactChange]:
    sides = [side[side["reason"] == ""] for side in (old, new)]
    names = [name for name in FACTS if all(name in side for side in sides)]
    return [FactChange(name, *(_percentiles(side[name]) for side in sides)) for name in names]


def _percentiles(values: "pd.Series[float]") -> tuple[float, float, float]:
    low, middle, high = values.quantile([0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)
