"""How the benchmarks measure and print."""

import statistics
import time
from collections.abc import Callable


def show(what: str, value: float, unit: str, note: str = "") -> None:
    """Print one figure; `note` says what it is to be compared with."""
    print(f"  {what:<46} {value:>10.3g} {unit:<9} {note}".rstrip(), flush=True)


def seconds(work: Callable[[], object], times: int = 5, warm_up: int = 1) -> float:
    """Return the median wall time of one call."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
