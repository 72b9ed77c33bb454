"""Run one function over chunks in several processes, in order, with bounded memory.

Processes and not threads: small images are Python's work more than the codec's. They are spawned,
so it is safe from a thread of a flow; what they import is what the function's module imports.
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
from typing import TypeVar

from gan.errors import GanmillError

_CHUNK_IMAGES = 500
_CHUNK_BYTES = 32 << 20
_REPORT_SECONDS = 5.0
_INLINE_CHUNKS = 1  # one chunk is done sooner here than a process starts

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
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], workers: int, doing: str
) -> Iterator[Result]:
    """Yield `function(chunk)` for each chunk in order; a log line each 5 s says how far it is.

    Args:
        function: At module level, so that a spawned process finds it.
        chunks: Arguments.
        workers: Number of processes; 1 runs everything here.
        doing: Names the work in the log and in errors.

    Raises:
        GanmillError: A process was ended from outside, most likely for want of memory.
    """
    progress = _Progress(doing, len(chunks))
    if workers <= 1 or len(chunks) <= _INLINE_CHUNKS:
        for chunk in chunks:
            yield function(chunk)
            progress.step()
        return
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(chunks))
    with ProcessPoolExecutor(count, context, initializer=_end_with_parent) as pool:
        pending: deque[Future[Result]] = deque()
        remaining = iter(chunks)
        try:
            for chunk in remaining:
                pending.append(pool.submit(function, chunk))
                if len(pending) >= 3 * count:  # the reader is slower: do not pile results up
                    yield pending.popleft().result()
                    progress.step()
            while pending:
                yield pending.popleft().result()
                progress.step()
        except BrokenProcessPool as error:
            raise GanmillError(
                f"{doing}: a worker process was ended from outside, most likely for want of "
                "memory. Free memory, then run it again."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
