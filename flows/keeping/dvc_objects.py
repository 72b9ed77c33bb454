"""DVC's objects of what a workspace refers to: its lock file now, and every data version.

In a backup they lie as a DVC remote has them, by the MD5 of their bytes.
"""

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows import stores, versions
from flows.datasets import catalog, verifying
from flows.stores import Stores
from gan.durable import replacing
from gan.errors import DamagedError
from gan.paths import Layout


def is_used(layout: Layout) -> bool:
    """Return whether the workspace is one of DVC's."""
    return (layout.root / ".dvc" / "config").is_file()


@dataclass(frozen=True)
class Referred:
    """What is referred to.

    Attributes:
        objects: What each is, for messages, by its name.
        missing: A line for each that is nowhere to be had, and for each list of files.
    """

    objects: dict[str, str]
    missing: list[str]


def outs(layout: Layout, recipes: Iterable[str]) -> dict[str, str]:
    """Return what `dvc.lock` says of each path of these recipes that DVC keeps.

    Raises:
        GanmillError: `dvc.lock` is damaged.
    """
    if not (layout.root / "dvc.lock").exists():
        return {}
    return {
        str(out["path"]): str(out["md5"])
        for recipe in recipes
        for stage in versions.lock_entry(layout, recipe).values()
        for out in stage.get("outs", ())
    }


def referred(layout: Layout, opened: Stores, recipes: Collection[str]) -> Referred:
    """Return the objects that a workspace refers to.

    Args:
        layout: The workspace.
        opened: Its cache and remote.
        recipes: Whose data versions count.

    Raises:
        DamagedError: The record of a data version is not as it was written.
        ServiceError: The remote does not answer.
    """
    wanted = [("", outs(layout, recipes))]
    for recipe in recipes:
        for known in catalog.records(layout, recipe):
            if verifying.let_go(layout, known):
                continue
            label = f"data {known.digest[:12]} of {recipe}: "
            wanted.append((label, known.dvc))
    objects: dict[str, str] = {}
    missing = []
    for label, listed in wanted:
        for path, name in listed.items():
            try:
                found = opened.objects({path: name})
            except DamagedError as error:
                missing.append(f"{label}{error}")
                continue
            for file, each in found.items():
                objects.setdefault(each, f"{label}{file}")
    return Referred(objects, missing)


def unpushed(opened: Stores, objects: Mapping[str, str]) -> list[str]:
    """Return a line for each object that the remote does not have.

    Raises:
        ServiceError: The remote does not answer.
    """
    return [
        f"{what}: is not on {opened.remote.label}"
        for name, what in objects.items()
        if opened.remote.size_bytes(name) is None
    ]


def place(name: str) -> str:
    """Return where an object lies below `files/md5`."""
    return f"{name[:2]}/{name[2:]}"


def put_back(layout: Layout, folder: Path, objects: Mapping[str, str]) -> int:
    """Fill the cache from a backup; return how many objects it lacked.

    Args:
        layout: The workspace.
        folder: Of the objects, verified.
        objects: Their names, by their places in it.
    """
    count = 0
    with stores.opened(layout) as opened:
        for path, name in objects.items():
            if opened.cache.state(name) != "sound":
                with (folder / path).open("rb") as source:
                    opened.cache.put(name, source)
                count += 1
    return count


def lay_out(layout: Layout, recipes: Iterable[str]) -> list[str]:
    """Lay out what `dvc.lock` names and is not there; return a line for what is not to be had.

    Raises:
        GanmillError: The disk is full.
        ServiceError: The remote does not answer.
    """
    lacking = []
    with stores.opened(layout) as opened:
        for path, name in outs(layout, recipes).items():
            if (layout.root / path).exists():
                continue
            try:
                _lay_out(opened, layout.root, path, name)
            except DamagedError as error:
                lacking.append(str(error))
    return lacking


def _lay_out(opened: Stores, root: Path, path: str, name: str) -> None:
    """Write an output, a folder under another name until all of it is there."""
    is_folder = name.endswith(".dir")
    made = root / (f"{path}.laying.partial" if is_folder else path)
    if is_folder:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    for file, each in opened.files({path: name}).items():
        target = made / Path(file).relative_to(path) if is_folder else made
        with replacing(target) as partial, partial.open("w+b") as written:
            opened.fetch(each, file, written)
    if is_folder:
        made.rename(root / path)
