"""Run one function over chunks in several processes, in order, with bounded memory.

Processes and not threads: small images are Python's work more than the codec's. They are forked
from a server of their own, a fresh process without threads: so it is safe from a thread of a flow,
and what the function's module imports is imported once for all of them.

Several machines can share the work as a Dask cluster, when all see the workspace at one path.
"""

import logging
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from typing import TYPE_CHECKING, TypeVar

from gan.errors import GanmillError

if TYPE_CHECKING:
    from distributed import Client

CLUSTER = "GANMILL_DASK_SCHEDULER"  # the setting that names one

_CHUNK_IMAGES = 500
_CHUNK_BYTES = 32 << 20
_REPORT_SECONDS = 5.0
_INLINE_CHUNKS = 1  # one chunk is done sooner here than a process starts
_PENDING_CHUNKS = 3  # for each worker; the reader may be slower, and results must not pile up
_CONNECT_SECONDS = 10
# What a process that starts reads of its environment. One thread: each has a processor to itself.
# Memory that an image gave back is kept for the next (glibc; elsewhere it changes nothing): to have
# a page anew from the kernel costs as much as to decode what it holds.
_SURROUNDINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def chunk_bounds(sizes_bytes: Sequence[int]) -> list[tuple[int, int]]:
    """Cut rows into ranges [start, stop) of at most 500 images and about 32 MiB."""
    bounds, start, total = [], 0, 0
    for row, size in enumerate(sizes_bytes):
        if row > start and (row - start >= _CHUNK_IMAGES or total + size > _CHUNK_BYTES):
            bounds.append((start, row))
            start, total = row, 0
        total += size
    if start < len(sizes_bytes):
        bounds.append((start, len(sizes_bytes)))
    return bounds


def map_chunks(
    function: Callable[[Chunk], Result],
    chunks: Sequence[Chunk],
    workers: int,
    doing: str,
    cluster: str | None = None,
) -> Iterator[Result]:
    """Yield `function(chunk)` for each chunk in order; a log line each 5 s says how far it is.

    Args:
        function: At module level, so that another process finds it.
        chunks: Arguments.
        workers: Number of processes; 1 runs everything here.
        doing: Names the work in the log and in errors.
        cluster: Address of a Dask scheduler, whose workers are then used instead.

    Raises:
        GanmillError: A process was ended from outside, most likely for want of memory; or the
            cluster cannot be reached.
    """
    progress = _Progress(doing, len(chunks))
    if cluster:
        results = on_cluster(function, chunks, doing, cluster)
    elif workers <= 1 or len(chunks) <= _INLINE_CHUNKS:
        results = map(function, chunks)
    else:
        results = _in_processes(function, chunks, min(workers, len(chunks)), doing)
    for result in results:
        yield result
        progress.step()


def _in_processes(
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], count: int, doing: str
) -> Iterator[Result]:
    """Yield the results of processes on this machine."""
    context = multiprocessing.get_context("forkserver")
    plain = function.func if isinstance(function, partial) else function
    context.set_forkserver_preload([plain.__module__])
    with _surroundings():
        forkserver.ensure_running()
    with ProcessPoolExecutor(count, context, initializer=_end_with_parent) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for chunk in chunks:
                pending.append(pool.submit(function, chunk))
                if len(pending) >= _PENDING_CHUNKS * count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise GanmillError(
                f"{doing}: a worker process was ended from outside, most likely for want of "
                "memory. Free memory, then run it again."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _surroundings() -> Iterator[None]:
    """Give processes that start now the surroundings of a worker."""
    before = {name: os.environ.get(name) for name in _SURROUNDINGS}
    os.environ.update(_SURROUNDINGS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def on_cluster(
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], doing: str, address: str
) -> Iterator[Result]:
    """Yield `function(chunk)` for each chunk in order, computed by the workers of a Dask cluster.

    A chunk whose worker dies is computed by another. What `function` raises is raised here.

    Args:
        function: At module level, in a package that the workers have installed.
        chunks: Arguments, small: each is sent.
        doing: Names the work in errors.
        address: Of the scheduler, say tcp://host:8786.

    Raises:
        GanmillError: The cluster cannot be reached, has no workers, or loses them over one chunk.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed import Future as DaskFuture
    except ImportError as error:
        raise GanmillError(
            f"{CLUSTER}={address}: distributed is not installed here. "
            "Install it with: pip install 'ganmill[cluster]'"
        ) from error
    try:
        client = Client(  # type: ignore[no-untyped-call]
            address, timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise GanmillError(
            f"{CLUSTER}={address}: no Dask scheduler answers there. Start one with: dask scheduler"
        ) from error
    with client:
        threads = _threads(client, address)
        pending: deque[DaskFuture[Result]] = deque()
        most = _PENDING_CHUNKS * threads
        try:
            for chunk in chunks:
                pending.append(client.submit(function, chunk, pure=False))
                if len(pending) >= most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except KilledWorker as error:
            raise GanmillError(
                f"{doing}: several workers of {address} ended over one chunk, most likely for want "
                "of memory. Give them more, then run it again."
            ) from error


def _threads(client: "Client", address: str) -> int:
    """Return how many chunks the cluster computes at once; work for no worker would wait for ever.

    Raises:
        GanmillError: No worker came within some seconds.
    """
    try:
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except TimeoutError as error:
        raise GanmillError(
            f"{CLUSTER}={address}: the Dask scheduler there has no workers. "
            f"Start one on each machine with: dask worker {address}"
        ) from error
    threads: dict[str, int] = client.nthreads()  # type: ignore[no-untyped-call]
    return max(sum(threads.values()), 1)


def _end_with_parent() -> None:
    """End this worker when its parent is killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(75)

    threading.Thread(target=watch, daemon=True).start()


class _Progress:
    """Say how far a long piece of work is, at most each 5 seconds."""

    def __init__(self, doing: str, chunks: int) -> None:
        self._doing, self._chunks, self._done = doing, chunks, 0
        self._started = self._said = time.monotonic()

    def step(self) -> None:
        """Count one chunk."""
        self._done += 1
        now = time.monotonic()
        if now - self._said >= _REPORT_SECONDS and self._done < self._chunks:
            self._said = now
            left = (now - self._started) * (self._chunks - self._done) / self._done
            share = self._done / self._chunks
            _log.info("%s: %.0f %%, about %.0f s left", self._doing, 100 * share, left)
