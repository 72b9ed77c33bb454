"""What of a workspace a backup holds beside databases, artifacts and DVC's objects.

What can be made again, or is about this machine alone, is left out: caches, logs, locks. What DVC
keeps is kept as DVC's objects. Code belongs to git. Nothing else is ever written by a restore, so
that a backup from elsewhere cannot plant a program.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from flows.keeping.artifact_store import Seen, files_below
from gan.assets.manifest import (
    BATCH,
    CANDIDATES,
    CROISSANT,
    FINISHED,
    LOCK,
    MANIFEST,
    PARQUET,
    PUBLISHED,
    REQUEST,
    REVIEW,
)
from gan.paths import Layout

RECORDS = frozenset(
    {BATCH, MANIFEST, PARQUET, CROISSANT, REVIEW, PUBLISHED, REQUEST}
)  # of a batch: what it says, without its pictures
GOING, RESTORING, REPLACED, BACKUPS = "going", "restoring.json", "replaced-", "backups"
LOCK_NAME = "keeping"  # of the lock that backups and retention hold: neither disturbs the other
KEY = ".ganmill/signing/local.pem"
# The servers' own folders hold what is copied as databases and artifacts, and their logins.
_NOT_OF_STATE = frozenset(
    {
        "bundles", "features", "torchvision", "locks", "logs", "errors", "stack.json", "prefect",
        "mlflow", "dvc-store", "dvc.lock", GOING, RESTORING, BACKUPS,
    }
)  # fmt: skip
_PINS = frozenset({"start.json", "source.json"})
_MAKING = frozenset({LOCK, CANDIDATES, FINISHED})
LEFT_OUT = (
    "code, dvc.yaml and .dvc/config: they belong to git",
    "checkpoints in runs/: an unfinished training starts anew",
    "bundles/, features/, torchvision/, logs/ of .ganmill: they are made or fetched again",
)


def contents(
    layout: Layout, outs: frozenset[str], *, with_assets: bool, with_keys: bool
) -> Iterator[tuple[str, Seen]]:
    """Yield the files of a workspace that belong into a backup, by their paths below its root.

    Args:
        layout: The workspace.
        outs: Paths that DVC keeps.
        with_assets: Whether all of each batch belongs, or its manifests alone.
        with_keys: Whether the key belongs that signs.
    """

    def wanted(name: str) -> bool:
        if name in outs or not belongs(name, is_folder=True):
            return False
        parts = name.split("/")
        if parts[0] == "assets" and not with_assets and len(parts) > 3:
            return parts[3] in RECORDS
        return with_keys or name != KEY

    for name, seen in files_below(layout.root, wanted):
        if belongs(name):
            yield name, seen


def belongs(name: str, *, is_folder: bool = False) -> bool:
    """Return whether a file may be in a backup, or, of a folder, whether such files may be below.

    Args:
        name: Below the root of the workspace.
        is_folder: Whether it may be a folder on the way to such a file.
    """
    first, *rest = PurePosixPath(name).parts
    if name.endswith(".partial") or ".." in rest:
        return False
    if not rest:
        return first in _FILES or (is_folder and first in _ROOMS)
    return first in _ROOMS and _ROOMS[first](rest, is_folder)


def _of_state(rest: list[str], _: bool) -> bool:  # noqa: FBT001  # as the others
    is_about_here = rest[0] in _NOT_OF_STATE or rest[0].startswith(REPLACED)
    return not is_about_here and not rest[-1].endswith((".lock", ".making"))


def _of_reports(_: list[str], __: bool) -> bool:  # noqa: FBT001
    return True


def _of_models(rest: list[str], is_folder: bool) -> bool:  # noqa: FBT001
    is_pin = len(rest) == 2 and rest[1] in _PINS
    return is_pin or rest[1:2] == ["detector"] or (is_folder and len(rest) == 1)


def _of_assets(rest: list[str], is_folder: bool) -> bool:  # noqa: FBT001
    return is_folder if len(rest) < 3 else rest[2] not in _MAKING


_FILES = frozenset({"params.yaml", "dvc.lock"})
_ROOMS = {
    ".ganmill": _of_state,
    "reports": _of_reports,
    "models": _of_models,
    "assets": _of_assets,
}
