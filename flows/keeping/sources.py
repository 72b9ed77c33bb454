"""What goes into a backup beside the databases: artifacts, own files, DVC's objects."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Literal

from flows import stores
from flows.keeping import dvc_objects
from flows.keeping.artifact_store import Seen, open_artifacts, reading
from flows.keeping.contents import KEY, LEFT_OUT, contents
from flows.keeping.copying import Source
from flows.keeping.manifest import ARTIFACTS, OBJECTS, WORKSPACE, is_plain
from flows.settings import Settings
from flows.stores import Stores
from gan.paths import Layout

LEDGER = ".ganmill/ledger.jsonl"
Data = Literal["copied", "on the remote", "left out"]


@dataclass(frozen=True)
class Wants:
    """What a backup is to hold beside what it always holds.

    Attributes:
        assets: The pictures of batches, not only their manifests.
        keys: The local key that signs.
        data: DVC's objects; None: if the DVC remote is missing, or lies in the workspace itself.
        artifacts: `copied`, or `listed`: read and named with their digests, but not copied.
        is_quiet: No bar.
    """

    assets: bool = False
    keys: bool = False
    data: bool | None = None
    artifacts: Literal["copied", "listed"] = "copied"
    is_quiet: bool = False


@dataclass
class Gathered:
    """What was found.

    Attributes:
        copied: Files to copy.
        listed: Files to read and name.
        artifacts: Where those of MLflow are from, and what becomes of them.
        data: What becomes of DVC's objects.
        missing: What is referred to and not to be had.
        left_out: What is not wanted, or is somebody else's.
    """

    copied: list[Source] = field(default_factory=list)
    listed: list[Source] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=lambda: {"from": "", "are": "left out"})
    data: Data = "left out"
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=lambda: list(LEFT_OUT))

    @property
    def bytes(self) -> int:
        """How much is to be read."""
        return sum(source.seen.bytes for source in (*self.copied, *self.listed))


@contextmanager
def gathered(
    layout: Layout, settings: Settings, wants: Wants, recipes: Collection[str], scratch: Path
) -> Iterator[Gathered]:
    """Yield what belongs into a backup now; the stores are open as long.

    Args:
        layout: The workspace.
        settings: Where the artifacts are.
        wants: What is asked for.
        recipes: Those of the workspace.
        scratch: A folder for one object at a time.

    Raises:
        DamagedError: `dvc.lock`, or a record of data, is not what it was.
        ServiceError: A store does not answer.
    """
    found = Gathered()
    _artifacts(found, layout, settings, wants)
    _own_files(found, layout, settings, wants, recipes)
    if not dvc_objects.is_used(layout):
        found.left_out.append("data and models: the workspace has no DVC")
        yield found
        return
    with stores.opened(layout) as opened:
        _data(found, layout, wants, recipes, opened, scratch)
        yield found


def _artifacts(found: Gathered, layout: Layout, settings: Settings, wants: Wants) -> None:
    store = open_artifacts(layout, settings)
    if store is None:
        found.left_out.append("MLflow's artifacts: the server is somebody else's")
        return
    found.artifacts = {"from": store.shown, "are": wants.artifacts}
    sources = found.copied if wants.artifacts == "copied" else found.listed
    for path, seen in store.listing().items():
        if is_plain(f"{ARTIFACTS}/{path}"):
            sources.append(Source(f"{ARTIFACTS}/{path}", seen, partial(store.opened, path)))


def _own_files(
    found: Gathered, layout: Layout, settings: Settings, wants: Wants, recipes: Collection[str]
) -> None:
    """Find the files of the workspace itself; the ledger is copied with the databases."""
    outs = frozenset(dvc_objects.outs(layout, recipes))
    own = dict(contents(layout, outs, with_assets=wants.assets, with_keys=wants.keys))
    own.pop(LEDGER, None)
    found.copied += [
        Source(f"{WORKSPACE}/{name}", seen, partial(reading, layout.root / name))
        for name, seen in own.items()
    ]
    if (layout.root / KEY).exists() and not wants.keys:
        found.left_out.append(f"{KEY}, the key that signs: --with-keys takes it along")
    if not wants.assets:
        found.left_out.append("pictures of batches: --with-assets takes them along")
    if settings.signing_key or settings.watermark_key:
        found.left_out.append("keys that the environment names: they lie outside the workspace")


def _data(
    found: Gathered,
    layout: Layout,
    wants: Wants,
    recipes: Collection[str],
    opened: Stores,
    scratch: Path,
) -> None:
    """Decide how the data are kept, and find the objects to copy."""
    refers = dvc_objects.referred(layout, opened, recipes)
    found.missing += refers.missing
    is_inside = opened.has_remote and _is_inside(layout, opened)
    if wants.data or (wants.data is None and (is_inside or not opened.has_remote)):
        found.data = "copied"
        found.copied += [
            _object(opened, name, what, scratch) for name, what in refers.objects.items()
        ]
    elif opened.has_remote:
        found.data = "on the remote"
        found.missing += dvc_objects.unpushed(opened, refers.objects)
        where = "which is in this workspace" if is_inside else "where they were looked for"
        found.left_out.append(
            f"data and models as DVC keeps them: on {opened.remote.label}, {where}"
        )
    else:
        found.left_out.append("data and models as DVC keeps them, and there is no DVC remote")


def _is_inside(layout: Layout, opened: Stores) -> bool:
    """Return whether the remote would be lost with the workspace."""
    return Path(opened.remote.where("0" * 32)).is_relative_to(layout.root)


def _object(opened: Stores, name: str, what: str, scratch: Path) -> Source:
    """Return one of DVC's objects, read from whichever store has it sound."""

    @contextmanager
    def fetched() -> Iterator[BinaryIO]:
        with TemporaryFile(dir=scratch) as file:
            opened.fetch(name, what, file)
            file.seek(0)
            yield file

    size = opened.cache.size_bytes(name)
    if size is None and opened.has_remote:
        size = opened.remote.size_bytes(name)
    return Source(f"{OBJECTS}/{dvc_objects.place(name)}", Seen(size or 0, name), fetched)
