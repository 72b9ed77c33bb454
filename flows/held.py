"""Who holds which lock of the workspace, asked without disturbing the holder.

The kernel frees a lock when its process dies, so none is ever stale, and a free lock is proof that
nobody is at the work.
"""

import fcntl
from pathlib import Path

from gan.paths import Layout


def holder(lock: Path) -> str | None:
    """Return the id of the process that holds a lock file, None when nobody does."""
    try:
        file = lock.open()
    except FileNotFoundError:
        return None
    with file:
        try:
            # Shared, for microseconds: who comes for the lock meanwhile is told to come again.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None


def held(layout: Layout) -> dict[str, str]:
    """Return the names of the workspace's locks that are held, with the holder's process id."""
    found = {path.stem: holder(path) for path in sorted(layout.lock("any").parent.glob("*.lock"))}
    return {name: process for name, process in found.items() if process is not None}


def is_retraining(layout: Layout, recipe: str) -> bool:
    """Return whether a `retrain` flow of the recipe lives on this machine."""
    return holder(layout.lock(f"retrain-{recipe}")) is not None


def is_training(layout: Layout, recipe: str) -> bool:
    """Return whether a process is at a training of the recipe, or at what comes before or after."""
    names = (f"retrain-{recipe}", f"train-{recipe}", f"launch-{recipe}", f"stages-{recipe}")
    return any(holder(layout.lock(name)) is not None for name in names)
