"""Features of images, kept on disk by the digests of what they were read from and with.

    <root>/<12 hex digits>/   features.npy, thumbnails.npy, predicted.npy, card.json, SHA256SUMS
                              or other arrays beside the card

Reading features is nearly all of the time that an evaluation takes, so the same images are read
once: the real ones for every model, a champion's for every challenger. Arrays are memory maps and
are written as they come: memory does not grow with the number of images.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gan.durable import (
    SUMS,
    remove_folder,
    replacing,
    run_lock,
    verify_sums,
    write_json,
    write_sums,
)
from gan.errors import BusyError, DamagedError
from gan.metrics.extractors import Reading
from gan.progress import Say, say

What = Mapping[str, str | int]
Portion = tuple[Reading, NDArray[np.uint8]]
Arrays = dict[str, NDArray[np.float64]]

_FEATURES, _THUMBNAILS, _PREDICTED = "features.npy", "thumbnails.npy", "predicted.npy"
_CARD = "card.json"
_LIMIT_BYTES = 10 << 30
_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Seen:
    """What is kept of a set of N images.

    Attributes:
        features: [N, D] float32, a memory map.
        thumbnails: [N, T] uint8, a memory map: the images made small, row by row.
        predicted: The class that the extractor takes each for, [N] int64, or None.
    """

    features: NDArray[np.float32]
    thumbnails: NDArray[np.uint8]
    predicted: NDArray[np.int64] | None


class FeatureStore:
    """A folder of features and of what is made from them, each made once."""

    def __init__(self, root: Path, progress: Say = say) -> None:
        """Use a folder; it need not exist.

        Args:
            root: Nothing else may lie in it: the oldest go once it holds more than 10 GB.
            progress: Where it says that it waits, or that something was damaged.
        """
        self._root = root
        self._progress = progress

    def features(
        self, what: What, shape: tuple[int, int, int], read: Callable[[], Iterable[Portion]]
    ) -> Seen:
        """Return the features of a set of images, as they were kept or read now.

        Args:
            what: Names images and extractor completely, by digests.
            shape: N images, D features and T values of a thumbnail.
            read: Gives readings and thumbnails [n, T] uint8 in portions; called when need be.

        Raises:
            GanmillError: Reading failed; nothing is kept.
            ValueError: There are more or fewer than announced.
        """

        def write(folder: Path) -> None:
            predicted = _write_seen(folder, shape, read())
            if predicted is not None:
                _write_array(folder / _PREDICTED, predicted)

        folder = self._folder({"kind": "features", **what}, write)
        has_classes = (folder / _PREDICTED).exists()
        return Seen(
            np.load(folder / _FEATURES, mmap_mode="r"),
            np.load(folder / _THUMBNAILS, mmap_mode="r"),
            np.load(folder / _PREDICTED) if has_classes else None,
        )

    def arrays(self, what: What, make: Callable[[], Arrays]) -> Arrays:
        """Return small arrays made from features, as they were kept or made now.

        Raises:
            GanmillError: Making failed; nothing is kept.
        """

        def write(folder: Path) -> None:
            for name, array in make().items():
                _write_array(folder / f"{name}.npy", array)

        folder = self._folder({"kind": "arrays", **what}, write)
        return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}

    def _folder(self, what: What, write: Callable[[Path], None]) -> Path:
        """Return the complete folder of `what`, written now if need be."""
        text = json.dumps(dict(what), sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        folder = self._root / name
        while True:
            try:
                with run_lock(self._root / f"{name}.lock", f"features {name}"):
                    if not self._is_sound(folder):
                        remove_folder(folder)
                        folder.mkdir(parents=True)
                        write(folder)
                        write_json(folder / _CARD, dict(what))
                        write_sums(folder)
                        self._prune(folder)
                    return folder
            except BusyError as error:
                self._progress(f"waiting: {error}")
                time.sleep(_WAIT_SECONDS)

    def _is_sound(self, folder: Path) -> bool:
        """Return whether a folder is complete and as it was written."""
        if not (folder / SUMS).exists():
            return False
        try:
            verify_sums(folder)
        except DamagedError as error:
            self._progress(f"{error} Reading the images again.")
            return False
        return True

    def _prune(self, newest: Path) -> None:
        """Remove the oldest folders beyond the limit; the newest stays in any case."""
        folders = [path.parent for path in self._root.glob(f"*/{SUMS}")]
        folders.sort(key=lambda folder: (folder / SUMS).stat().st_mtime_ns, reverse=True)
        total = 0
        for folder in folders:
            total += sum(path.stat().st_size for path in folder.iterdir())
            if total > _LIMIT_BYTES and folder != newest:
                remove_folder(folder)


def _write_seen(
    folder: Path, shape: tuple[int, int, int], portions: Iterable[Portion]
) -> NDArray[np.int64] | None:
    """Write features [N, D] and thumbnails [N, T] as they come; return predicted classes [N]."""
    total, dims, values = shape
    predicted: list[NDArray[np.int64]] = []
    count = 0
    with (
        _array_file(folder / _FEATURES, "<f4", (total, dims)) as features,
        _array_file(folder / _THUMBNAILS, "|u1", (total, values)) as thumbnails,
    ):
        for reading, small in portions:
            features.write(np.ascontiguousarray(reading.features, "<f4").data)
            thumbnails.write(np.ascontiguousarray(small, "|u1").data)
            count += len(reading.features)
            if reading.predicted is not None:
                predicted.append(reading.predicted)
        if count != total:
            raise ValueError(f"{total} features were announced, {count} came")
    return np.concatenate(predicted) if predicted else None


@contextmanager
def _array_file(path: Path, kind: str, shape: tuple[int, int]) -> Iterator[IO[bytes]]:
    """Yield a file to append an array's rows to, below the header of `np.load`."""
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    with replacing(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _write_array(path: Path, array: NDArray[np.float64] | NDArray[np.int64]) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array)
