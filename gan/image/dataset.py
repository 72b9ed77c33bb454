"""The `prepare` stage and its product: what training reads.

    images.npy  uint8 [N, C, H, W]     labels.npy  groups.npy  int64 [N]     meta.json  SHA256SUMS

Beside the folder lies `kind.json`, {channels, resolution}: what stays the same while images come
and go, and all that a pinned extractor has to fit.

Accepted images alone, in key order, flattened, squared and resized once. With 4 channels nothing is
flattened: they are red, green and blue, each times alpha, and alpha, so 0 in all is transparent.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan.durable import SUMS, read_json, replacing, verify_sums, write_json, write_sums
from gan.errors import ContractError, DamagedError
from gan.image.examine import PLACE
from gan.image.facts import FACTS, VERDICT, class_name, read_facts
from gan.image.render import Shape, render
from gan.image.shards import read_index
from gan.image.similar import belonging
from gan.image.workers import chunk_bounds, default_workers, map_chunks
from gan.sections import DataSpec

IMAGES, LABELS, GROUPS = "images.npy", "labels.npy", "groups.npy"
META, KIND = "meta.json", "kind.json"


@dataclass(frozen=True)
class Meta:
    """What `meta.json` says.

    Attributes:
        classes: Class names; `labels.npy` indexes them.
        resolution: Side in px.
        channels: 1, 3 or 4.
        count: Number of images.
        keys_sha256: Digest of the images' keys in order.
        digest: The data digest, a function of images, labels and classes.
    """

    classes: list[str]
    resolution: int
    channels: int
    count: int
    keys_sha256: str
    digest: str


@dataclass(frozen=True)
class Dataset:
    """An opened, verified training set.

    Attributes:
        images: uint8 [N, C, H, W], memory-mapped, read-only.
        labels: int64 [N], indices into `classes`.
        groups: int64 [N]; images of one number belong together: none of them is held out while
            others are trained on. Most images are alone in theirs.
        classes: At least one name.
        digest: The data digest.
        resolution: Side in px.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA, premultiplied).
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    classes: list[str]
    digest: str
    resolution: int
    channels: int

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


def prepare(
    raw: Path, facts: Path, spec: DataSpec, destination: Path, workers: int | None = None
) -> Meta:
    """Write the training set of the accepted images; `SHA256SUMS` comes last.

    Args:
        raw: Shards and index of `ingest`.
        facts: Folder of `validate` with facts and verdict.
        spec: The recipe's data section.
        destination: The folder to fill; an older set in it is replaced. `kind.json` goes beside it.
        workers: Processes; None takes every processor.

    Raises:
        ContractError: The verdict is missing a success, or no image was accepted.
        DamagedError: Shards, index or facts are not of one piece.
    """
    accepted, groups = _accepted(raw, facts)
    shape = Shape(spec.resolution, spec.channels, spec.background, spec.fit, spec.resize)
    names = [class_name(label) for label in accepted["label"]]
    classes = sorted(set(names))
    numbers = {name: number for number, name in enumerate(classes)}
    destination.mkdir(parents=True, exist_ok=True)
    for stale in (SUMS, META):
        (destination / stale).unlink(missing_ok=True)

    bounds = chunk_bounds(accepted["bytes"].tolist())
    chunks = [accepted.iloc[start:stop][PLACE] for start, stop in bounds]
    parts = map_chunks(
        partial(render, raw, shape), chunks, workers or default_workers(), "preparing images"
    )
    images_sha256 = _write_images(destination / IMAGES, parts, len(accepted), shape)
    labels = np.asarray([numbers[name] for name in names], dtype=np.int64)
    _save(destination / LABELS, labels)
    _save(destination / GROUPS, groups)
    labels_sha256 = hashlib.sha256((destination / LABELS).read_bytes()).hexdigest()
    meta = Meta(
        classes=classes,
        resolution=spec.resolution,
        channels=spec.channels,
        count=len(accepted),
        keys_sha256=_digest(accepted["key"].tolist()),
        digest=_digest([images_sha256, labels_sha256, classes]),
    )
    write_json(destination / META, asdict(meta))
    kind = {"channels": spec.channels, "resolution": spec.resolution}
    write_json(destination.with_name(KIND), kind)
    write_sums(destination)
    return meta


def open_dataset(folder: Path) -> Dataset:
    """Open a training set; the images stay on disk and are mapped.

    Raises:
        DamagedError: A file is missing, altered, or does not fit the others.
    """
    if not (folder / SUMS).is_file():
        raise DamagedError(
            f"{folder}: no prepared data here ({SUMS} is missing). "
            "Make them with: dvc repro prepare"
        )
    verify_sums(folder)
    meta = _read_meta(folder)
    lines = (folder / SUMS).read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    try:
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / LABELS, allow_pickle=False)
        groups = np.load(folder / GROUPS, allow_pickle=False)
        digest = _digest([sums[IMAGES], sums[LABELS], meta.classes])
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DamagedError(f"{folder}: is not readable ({error}). Prepare it again.") from error
    shape = (meta.count, meta.channels, meta.resolution, meta.resolution)
    sound = (
        images.shape == shape
        and images.dtype == np.uint8
        and labels.shape == (meta.count,)
        and labels.dtype == groups.dtype == np.int64
        and groups.shape == labels.shape
        and meta.count > 0
        and 0 <= labels.min() <= labels.max() < len(meta.classes)
        and digest == meta.digest
    )
    if not sound:
        raise DamagedError(
            f"{folder}: images.npy is {images.dtype} {images.shape}, labels.npy {labels.dtype} "
            f"{labels.shape}, groups.npy {groups.dtype} {groups.shape}; {META} does not describe "
            "them. Prepare it again."
        )
    return Dataset(
        images, labels, groups, meta.classes, meta.digest, meta.resolution, meta.channels
    )


def _accepted(raw: Path, facts: Path) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Return the index rows of the accepted images, in key order, and their groups' numbers."""
    verdict = read_json(facts / VERDICT)
    if not isinstance(verdict, dict) or verdict.get("success") is not True:
        raise ContractError(
            f"{facts / VERDICT}: the data contract did not pass. Read the report of the validate "
            "stage, mend the images or the contract, and run it again."
        )
    index, table = read_index(raw), read_facts(facts / FACTS)
    if index["key"].tolist() != table["key"].tolist() or (
        index["sha256"].tolist() != table["sha256"].tolist()
    ):
        raise DamagedError(
            f"{facts / FACTS}: describes other images than {raw}. Run the validate stage again."
        )
    sound = (table["reason"] == "").to_numpy()
    accepted = index[sound]
    if accepted.empty:
        raise ContractError(f"{facts / FACTS}: accepts no image. Add sound images, then ingest.")
    return accepted, belonging(table[sound])


def _save(path: Path, array: npt.NDArray[np.int64]) -> None:
    """Write one small array as npy."""
    with replacing(path) as partial_path, partial_path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _write_images(
    path: Path, parts: Iterable[npt.NDArray[np.uint8]], count: int, shape: Shape
) -> str:
    """Stream uint8 [n, C, H, W] parts into one npy file; return its SHA-256."""
    dimensions = (count, shape.channels, shape.resolution, shape.resolution)
    layout = {"descr": "|u1", "fortran_order": False, "shape": dimensions}
    with replacing(path) as partial_path:
        with partial_path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, layout)
            for part in parts:
                file.write(np.ascontiguousarray(part).data)
        with partial_path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(value: object) -> str:
    """Return the SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()


def _read_meta(folder: Path) -> Meta:
    content = read_json(folder / META)
    names = {field.name for field in fields(Meta)}
    if not isinstance(content, dict) or set(content) != names:
        raise DamagedError(f"{folder / META}: must hold {', '.join(sorted(names))}.")
    return Meta(**content)
