"""Read features of images, portion by portion: on threads of this machine, or on a Dask cluster.

This is nearly all that an evaluation costs. A portion is made and read on one thread wherever that
is: so neither threads nor machines of one kind change a bit of the features.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from gan.errors import DamagedError
from gan.image.workers import on_cluster
from gan.metrics.extractors import Extractor, load_extractor
from gan.metrics.memorisation import thumbnails
from gan.metrics.moments import on_one_thread
from gan.metrics.sampling import Portion
from gan.metrics.store import Portion as Read
from gan.modality import Items, modality

_PENDING = 3  # portions for each thread; results must not pile up


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster whose machines see the workspace at the same path.

    Attributes:
        address: Of its scheduler, say tcp://host:8786.
        data: Folder of the prepared images.
        extractor: Folder of the extractor.
    """

    address: str
    data: Path
    extractor: Path


def read_portions(
    portions: Sequence[Portion], data: Items, extractor: Extractor, cluster: Cluster | None = None
) -> Iterator[Read]:
    """Yield what the extractor sees of each portion, with its thumbnails [n, T] uint8, in order.

    Args:
        portions: Which images.
        data: The real images.
        extractor: The feature network.
        cluster: Whose workers do it instead of this machine's threads.

    Raises:
        DivergedError: A generated image or a feature is not finite.
        DamagedError: Another machine sees other files than this one.
        GanmillError: The cluster cannot be reached, has no workers, or loses them.
    """
    if cluster is not None:
        read = partial(_read_there, cluster, data.digest, extractor.digest)
        return on_cluster(read, portions, "evaluate", cluster.address)
    threads = torch.get_num_threads() if torch.device(extractor.device).type == "cpu" else 1
    return _read_here(portions, data, extractor, threads)


def _read_here(
    portions: Sequence[Portion], data: Items, extractor: Extractor, threads: int
) -> Iterator[Read]:
    """Yield what is read by some threads of this process: torch lets each other run."""
    if threads == 1:
        yield from (_read(portion, lambda: data, extractor) for portion in portions)
        return
    pending: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(threads, "read") as pool:
        try:
            for portion in portions:
                pending.append(pool.submit(_read, portion, lambda: data, extractor))
                if len(pending) >= _PENDING * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            # A new thread has as many as any thread of this process asked for last.
            torch.set_num_threads(threads)


def _read_there(cluster: Cluster, data: str, extractor: str, portion: Portion) -> Read:
    """Read a portion on a machine of the cluster, if it sees the files with these digests."""
    opened = partial(_data, cluster.data, data)
    return _read(portion, opened, _extractor(cluster.extractor, extractor))


def _read(portion: Portion, data: Callable[[], Items], extractor: Extractor) -> Read:
    images = portion.images(data, str(extractor.device))
    with on_one_thread():
        return extractor.read(images), thumbnails(images).round().astype(np.uint8)


@lru_cache(maxsize=2)
def _data(folder: Path, digest: str) -> Items:
    data = modality("image").open_dataset(folder)
    _require(folder, data.digest, digest)
    return data


@lru_cache(maxsize=2)
def _extractor(folder: Path, digest: str) -> Extractor:
    extractor = load_extractor(folder)
    _require(folder, extractor.digest, digest)
    return extractor


def _require(folder: Path, found: str, wanted: str) -> None:
    """Refuse to measure with other files than the machine that asked has."""
    if found != wanted:
        raise DamagedError(
            f"{folder}: is {found[:12]} on this machine of the cluster, expected {wanted[:12]}. "
            "Every machine must see the same workspace; then measure it again."
        )
