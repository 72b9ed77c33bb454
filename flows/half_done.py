"""Batches that a kill left half done, and what killed fetches left behind.

A batch in the making says what it was begun with, down to the bundle's digest; so it is finished to
the same bytes, also when the champion has moved on since.
"""

import shutil
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows import delivery, ledger, minting, registry, release, watch
from flows.artifacts import show_batch
from flows.held import holder
from flows.registry import Version
from flows.story import Mill, shown
from gan.errors import BusyError, GanmillError, ServiceError
from gan.paths import Layout
from gan.sections import CampaignSpec

if TYPE_CHECKING:
    from gan.assets.batch import Minted
    from gan.assets.request import Asked

_LEFT_SECONDS = 24 * 3600.0  # nobody fetches a bundle, or judges one, for so long


def finish_batches(mill: Mill) -> list[str]:
    """Finish the batches of a recipe that were begun, and nobody is at; return a line for each.

    One that cannot be finished is named, and stays as it is.

    Raises:
        BusyError: Another process came before us; it finishes the batch.
        DamagedError: The ledger is not what it was.
        ServiceError: MLflow did not answer.
    """
    from gan.assets.manifest import LOCK, begun

    layout, name = mill.layout, mill.recipe.name
    lines = []
    for folder in begun(layout.batches(name)):
        if process := holder(folder / LOCK):
            lines.append(f"batch {shown(folder)}: process {process} is at it")
        elif held := ledger.production_hold(ledger.read(layout.ledger), name):
            lines.append(
                f"batch {shown(folder)}: half done; production is on hold by {held.actor} "
                f"({held.reason})"
            )
        else:
            lines.append(f"batch {shown(folder)}: {_finish(mill, folder)}")
    return lines


def sweep(layout: Layout, recipes: Collection[str]) -> list[str]:
    """Remove what killed fetches and gate decisions, and a full disk, left; return a line if any.

    DVC leaves half a copy in its cache when the disk is full, and never looks at it again.
    """
    before = time.time() - _LEFT_SECONDS
    rooms = [layout.bundle_store, *(layout.gate(recipe) for recipe in recipes)]
    folders = _old((path for room in rooms for path in room.glob(".*.partial")), before)
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    files = _old((layout.root / ".dvc" / "cache" / "files").glob("md5/*/.*.tmp"), before)
    for path in files:
        path.unlink(missing_ok=True)
    left = len(folders) + len(files)
    return [f"{left} temporary files and folders of killed processes removed"] if left else []


def _old(paths: Iterable[Path], before: float) -> list[Path]:
    """Return what was written last before a time, in seconds since 1970."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):  # who was at it is done
            if path.stat().st_mtime < before:
                found.append(path)
    return found


def _finish(mill: Mill, folder: Path) -> str:
    """Finish one batch; return what became of it."""
    from gan.assets.batch import mint
    from gan.assets.request import read_request
    from gan.bundle import open_bundle

    try:
        asked = read_request(folder)
        version = _version(mill, asked)
        if version is None:
            return (
                f"cannot be finished: bundle {asked.bundle_digest[:12]} is gone from the registry; "
                "delete the folder"
            )
        files = registry.fetch(mill.settings, version, mill.layout.bundle_store)
        bundle = open_bundle(files)
        minted = mint(
            bundle,
            asked.request,
            folder.parent,
            minting.marks(mill.layout, mill.settings),
            minting.references(mill, bundle),
        )
    except (BusyError, ServiceError):
        raise
    except GanmillError as error:
        return f"cannot be finished: {error}"
    return f"finished; {_deliver(mill, asked.request.spec, version, files, minted)}"


def _version(mill: Mill, asked: "Asked") -> Version | None:
    known = registry.versions(mill.settings, mill.recipe.name)
    return next((version for version in known if version.digest == asked.bundle_digest), None)


def _deliver(
    mill: Mill, spec: CampaignSpec, version: Version, files: Path, minted: "Minted"
) -> str:
    """Tie batch and version to each other, tell of the batch, and return how it was taken.

    The watch judges the champion alone: a batch of an earlier one says nothing about it.

    Raises:
        DamagedError: Champion and ledger do not agree, or the watch's rows are damaged.
        ServiceError: MLflow did not answer.
    """
    layout, settings, name = mill.layout, mill.settings, mill.recipe.name
    registry.tag_version(settings, version, {f"batch.{minted.batch_id}": str(minted.folder)})
    show_batch(minted, version)
    champion = release.serving(layout, settings, name)
    if champion is not None and champion.number == version.number:
        seen = watch.observe(mill, version, files, minted)
        if seen.then != "delivered":
            return delivery.tell_held(mill, version, minted, seen)
    return delivery.deliver(mill, spec, version, minted)
