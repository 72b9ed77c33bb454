"""Data versions: what is kept of every data set that was accepted, whatever becomes of its images.

    reports/<recipe>/datasets/<data digest>/
        manifest.parquet   every image that came in: key, digests, label, why it was set aside
        facts.parquet      the facts of each, for comparisons
        sums.json          {path below data/<recipe>/: SHA-256} of every file
        card/, croissant.json
        dataset.json       last: what the version is called, is made of, and lies in DVC as

A version is what training reads: equal images, labels and classes have an equal data digest. Made
again from other files, say with one more duplicate set aside, it is the same version, and its
record is about the files that gave it last.
"""

import shutil
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows import versions
from flows.datasets.files import data_outs, hash_files, state_of
from flows.page_style import without_login
from flows.stores import State
from gan.durable import read_json, replacing, sha256, write_json
from gan.errors import DamagedError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe

MANIFEST, FACTS, SUMS, RECORD, CROISSANT = (
    "manifest.parquet",
    "facts.parquet",
    "sums.json",
    "dataset.json",
    "croissant.json",
)
LATEST = "latest"
MANIFEST_COLUMNS = (
    "key", "label", "group", "sha256", "bytes", "pixels_digest", "phash", "reason",
)  # fmt: skip
_FORMAT = 1
_LEAST_PREFIX = 4


@dataclass(frozen=True)
class DatasetRecord:
    """One data version.

    Attributes:
        recipe: Its recipe.
        digest: The data digest, 64 hex: what training reads.
        created_utc: When it was first accepted, ISO 8601.
        images: How many came in.
        accepted: How many of them are trained on.
        classes: Name to number of accepted images.
        source: Where they come from; several joined by ", ".
        licence: Theirs; several joined by ", ".
        dvc: DVC's digest of `raw`, `facts`, `train` and `kind.json`, below `data/<recipe>/`.
        git_revision: 40 hex, "" without git.
        params: The recipe's data section, as it was.
        previous: The data digest of the version before it, None for the first.
        files: SHA-256 of manifest, facts and sums.
        folder: Where the record lies.
    """

    recipe: str
    digest: str
    created_utc: str
    images: int
    accepted: int
    classes: dict[str, int]
    source: str
    licence: str
    dvc: dict[str, str]
    git_revision: str
    params: dict[str, Any]
    previous: str | None
    files: dict[str, str]
    folder: Path


def records(layout: Layout, recipe: str) -> list[DatasetRecord]:
    """Return the data versions of a recipe, oldest first, each after the one it names as previous.

    Raises:
        DamagedError: A record is not as it was written.
    """
    folder = layout.datasets(recipe)
    found = [_read(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]
    by_time = sorted(found, key=lambda known: (known.created_utc, known.digest))
    by_digest, ordered = {known.digest: known for known in by_time}, dict[str, DatasetRecord]()
    for known in by_time:
        chain: list[DatasetRecord] = []  # longer than one where a clock was set back
        following: DatasetRecord | None = known
        while following and following.digest not in ordered and following not in chain:
            chain.append(following)
            following = by_digest.get(following.previous or "")
        ordered |= {each.digest: each for each in reversed(chain)}
    return list(ordered.values())


def find(layout: Layout, recipe: str, word: str) -> DatasetRecord:
    """Return the version that a word means: `latest`, or the beginning of a data digest.

    Raises:
        UsageError: There is none, or there are several.
        DamagedError: A record is not as it was written.
    """
    known = records(layout, recipe)
    if not known:
        raise UsageError(f"{recipe}: has no data version yet. Run: ganmill retrain {recipe}")
    if word == LATEST:
        return known[-1]
    fitting = [each for each in known if len(word) >= _LEAST_PREFIX and _begins(each, word)]
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(each.digest[:12] for each in (fitting or known)[-5:])
    what = "fits several data versions" if fitting else "is no data version"
    raise UsageError(
        f"{recipe}: {word!r} {what}; there are {shown}. Give `{LATEST}` or at least "
        f"{_LEAST_PREFIX} digits of one. See: ganmill data list {recipe}"
    )


def record(layout: Layout, recipe: Recipe) -> DatasetRecord:
    """Keep what is known of the present data as a version; it is there already if nothing changed.

    Every file is hashed on the way, and has to be the one that DVC knows. Killed anywhere, the
    same call finishes.

    Raises:
        DamagedError: The data are not those that were prepared.
        GanmillError: They were never prepared, or there is no room for the record.
    """
    from flows.datasets import croissant, data_card
    from gan.image.dataset import META, Meta, open_dataset

    name = recipe.name
    outs, data = data_outs(layout, name), open_dataset(layout.train_data(name))
    folder = layout.dataset(name, data.digest)
    before = _read(folder) if (folder / RECORD).exists() else None
    if before and before.dvc == outs and not damaged_files(before):
        return before
    write_json(folder / SUMS, hash_files(layout, name, outs))
    table = pd.read_parquet(layout.facts(name) / FACTS)
    with replacing(folder / FACTS) as partial:
        shutil.copyfile(layout.facts(name) / FACTS, partial)
    with replacing(folder / MANIFEST) as partial:
        table[list(MANIFEST_COLUMNS)].to_parquet(partial, compression="zstd", index=False)
    meta = Meta(**read_json(layout.train_data(name) / META))
    data_card.write_card(layout, recipe, folder, table, meta)
    write_json(folder / CROISSANT, croissant.croissant(layout, recipe, folder, table, meta))
    others = [each for each in records(layout, name) if each.digest != data.digest]
    made = DatasetRecord(
        recipe=name,
        digest=data.digest,
        created_utc=before.created_utc if before else datetime.now(UTC).isoformat(),
        images=len(table),
        accepted=len(data),
        classes={
            label: int(count)
            for label, count in zip(
                data.classes, np.bincount(data.labels, minlength=len(data.classes)), strict=True
            )
        },
        source=_joined(table["source"]),
        licence=_joined(table["licence"]),
        dvc=outs,
        git_revision=versions.git_revision(layout.root).revision,
        params=recipe.data.model_dump(mode="json"),
        previous=before.previous if before else (others[-1].digest if others else None),
        files={each: sha256(folder / each) for each in (MANIFEST, FACTS, SUMS)},
        folder=folder,
    )
    said = asdict(made)
    del said["folder"]
    write_json(folder / RECORD, {"format": _FORMAT, **said})
    return made


def read_sums(known: DatasetRecord) -> dict[str, str]:
    """Return the SHA-256 of every file of a version, by its path below `data/<recipe>/`.

    Raises:
        DamagedError: The list is not as it was written.
    """
    _require(known, SUMS)
    sums: dict[str, str] = read_json(known.folder / SUMS)
    return sums


def read_manifest(known: DatasetRecord) -> pd.DataFrame:
    """Return every image of a version, columns as `MANIFEST_COLUMNS`, sorted by key.

    Raises:
        DamagedError: The table is not as it was written.
    """
    _require(known, MANIFEST)
    return pd.read_parquet(known.folder / MANIFEST)


def read_facts(known: DatasetRecord) -> pd.DataFrame:
    """Return the facts of every image of a version, with the columns of its time, sorted by key.

    Raises:
        DamagedError: The table is not as it was written.
    """
    _require(known, FACTS)
    return pd.read_parquet(known.folder / FACTS)


def damaged_files(known: DatasetRecord) -> dict[str, State]:
    """Return which of a record's own tables are missing or altered."""
    states = {name: state_of(known.folder / name, wanted) for name, wanted in known.files.items()}
    return {name: state for name, state in states.items() if state != "sound"}


def _require(known: DatasetRecord, name: str) -> None:
    if (state := state_of(known.folder / name, known.files[name])) != "sound":
        raise DamagedError(
            f"{known.folder / name}: is {state}. Restore it from a copy, or delete the folder to "
            "forget this version."
        )


def _begins(known: DatasetRecord, word: str) -> bool:
    return known.digest.startswith(word.lower())


def _joined(column: "pd.Series[str]") -> str:
    return ", ".join(sorted(without_login(str(each)) for each in column.unique()))


def _read(folder: Path) -> DatasetRecord:
    """Return the record in a folder.

    Raises:
        DamagedError: It is not as it was written.
    """
    path = folder / RECORD
    said = read_json(path)
    names = {field.name for field in fields(DatasetRecord)} - {"folder"}
    if not isinstance(said, dict) or set(said) != names | {"format"} or said["format"] != _FORMAT:
        raise DamagedError(
            f"{path}: is no record of a data version of format {_FORMAT}. Restore it from a copy, "
            "or delete the folder to forget this version."
        )
    del said["format"]
    return DatasetRecord(**said, folder=folder)
