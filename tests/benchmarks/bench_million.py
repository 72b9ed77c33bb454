"""A million images, by their rows: near duplicates, what joins them, memory over the table.

The images themselves are not drawn: the facts pass is linear (`ingest` prints its rate), and what
is not linear is here.
"""

import resource
import time

import numpy as np
import pandas as pd

from gan.image.similar import belonging, mark_near
from tests.benchmarks.figures import show

COUNT = 1_000_000
FACTORS, NOISE = 6, 2.0  # bits of perceptual hashes hang together: few patterns are common


def _table(generator: np.random.Generator, *, crowded: bool) -> pd.DataFrame:
    """Return the columns that the search reads; one row in a hundred is a near copy of another."""
    if crowded:
        factors = generator.normal(size=(COUNT, FACTORS)).astype(np.float32)
        weights = generator.normal(size=(FACTORS, 64)).astype(np.float32)
        noise = generator.normal(size=(COUNT, 64)).astype(np.float32)
        bits = factors @ weights + NOISE * noise > 0
        hashes = np.packbits(bits, axis=1).view(np.uint64).ravel().copy()
    else:
        hashes = generator.integers(0, 2**64, COUNT, dtype=np.uint64)
    colours = generator.integers(0, 256, (COUNT, 48), dtype=np.uint8)
    copies = generator.permutation(COUNT)[: COUNT // 100]
    originals = generator.integers(0, COUNT, len(copies))
    flipped = np.uint64(1) << generator.integers(0, 64, len(copies), dtype=np.uint64)
    hashes[copies], colours[copies] = hashes[originals] ^ flipped, colours[originals]
    empty = dict.fromkeys(("label", "group", "cluster", "reason", "duplicate_of", "notes"), "")
    return pd.DataFrame(
        {
            "key": [f"{row:07d}" for row in range(COUNT)],
            **empty,
            "width": 32,
            "height": 32,
            "phash": hashes.view(np.int64),
            "colour": [colour.tobytes() for colour in colours],
        }
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print seconds of the near-duplicate search at two distances, evenly spread and crowded."""
    for crowded in (False, True):
        table = _table(np.random.default_rng(0), crowded=crowded)
        before = _peak_mb()
        for bits in (3, 7):
            started = time.perf_counter()
            marked = mark_near(table, bits, "keep")
            taken = time.perf_counter() - started
            what = f"{'crowded' if crowded else 'evenly spread'} hashes, within {bits} bits"
            found = int((marked["cluster"] != "").sum())
            show(what, taken, "s", f"{found:,} of {COUNT:,} images in clusters")
            started = time.perf_counter()
            belonging(marked)
            show("  what belongs together", time.perf_counter() - started, "s")
        show("  memory over the table", max(0.0, _peak_mb() - before), "MiB")
