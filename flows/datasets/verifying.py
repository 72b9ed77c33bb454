"""Whether a data version is still what it was, wherever it lies; and what can be put right again.

Every byte is read: that of a remote travels. DVC would look at names, sizes and times alone.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Literal

from flows import stores
from flows.datasets.catalog import DatasetRecord, damaged_files
from flows.datasets.checkout import unlike
from flows.datasets.files import data_outs
from flows.stores import Store, Stores
from gan.changes import make_folder
from gan.durable import read_json
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout

Place = Literal["record", "workspace", "checkout", "cache", "remote"]
PLACES: tuple[Place, ...] = ("record", "workspace", "checkout", "cache", "remote")
LET_GO = "let_go.json"  # beside a version's record: where its files were taken away on purpose


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it must be.

    Attributes:
        place: Where it was found.
        file: Which file of the version, below `data/<recipe>/`, or of the record.
        path: Where it lies: a path, or an object's key on the remote.
        state: `missing`, `altered`, or `unknown` (it is there, and should not be).
    """

    place: Place
    file: str
    path: str
    state: str


def verify(
    layout: Layout, known: DatasetRecord, places: tuple[Place, ...] = PLACES
) -> list[Damage]:
    """Return all that is not as it was when the version was accepted; an empty list is good.

    The workspace counts if the version is the present one, a checkout if there is one, and the
    remote if one is configured. Where `ganmill retain` let its files go, nothing is missing.

    Raises:
        ServiceError: The remote does not answer.
    """
    gone = let_go(layout, known)
    places = tuple(place for place in places if place not in gone)
    found: list[Damage] = []
    if "record" in places:
        found += _in_folder("record", known.folder, damaged_files(known))
    with suppress(DamagedError):  # the sums themselves, which the record's own damage tells of
        if "workspace" in places and is_present(layout, known):
            home = layout.raw(known.recipe).parent
            found += _in_folder("workspace", home, unlike(known, home))
        home = layout.checkout(known.recipe, known.digest)
        if "checkout" in places and home.is_dir():
            found += _in_folder("checkout", home, unlike(known, home))
    with stores.opened(layout) as opened:
        objects = _objects(opened, known)
        if "cache" in places:
            found += _in_store(opened.cache, objects)
        if "remote" in places and opened.has_remote:
            found += _in_store(opened.remote, objects)
    return found


def verify_remote(layout: Layout, known: DatasetRecord) -> list[Damage]:
    """Return which files of a version the remote lacks or has altered.

    Raises:
        ServiceError: The remote does not answer.
        UsageError: None is configured.
    """
    with stores.opened(layout) as opened:
        return _in_store(opened.remote, _objects(opened, known))


def mend(layout: Layout, known: DatasetRecord) -> list[Damage]:
    """Put cache and remote right from each other, or from a sound file; return what stays damaged.

    A remote that never had the version has it afterwards.

    Raises:
        ServiceError: The remote does not answer, or has no room.
    """
    if let_go(layout, known):
        return verify(layout, known)
    homes = [layout.raw(known.recipe).parent, layout.checkout(known.recipe, known.digest)]
    make_folder(layout.state)
    with stores.opened(layout) as opened, TemporaryFile(dir=layout.state) as scratch:
        for file, name in _objects(opened, known).items():
            copies = [home / file for home in homes]
            if _mend_cache(opened, name, file, copies, scratch) and opened.has_remote:
                _mend_remote(opened, name)
    return verify(layout, known, ("cache", "remote"))


def let_go(layout: Layout, known: DatasetRecord) -> frozenset[Place]:
    """Return where a version's files were taken away on purpose; the present one's never are."""
    path = known.folder / LET_GO
    if not path.exists() or is_present(layout, known):
        return frozenset()
    return frozenset(place for place in PLACES if place in read_json(path)["places"])


def is_present(layout: Layout, known: DatasetRecord) -> bool:
    """Say whether a version is what the workspace holds now, by `dvc.lock`."""
    try:
        return data_outs(layout, known.recipe) == known.dvc
    except GanmillError:  # the data were never prepared here
        return False


def _in_folder(place: Place, folder: Path, states: Mapping[str, str]) -> list[Damage]:
    return [Damage(place, file, str(folder / file), state) for file, state in states.items()]


def _in_store(store: Store, objects: Mapping[str, str]) -> list[Damage]:
    states = [(file, name, store.state(name)) for file, name in objects.items()]
    return [
        Damage(store.place, file, store.where(name), state)
        for file, name, state in states
        if state != "sound"
    ]


def _objects(opened: Stores, known: DatasetRecord) -> dict[str, str]:
    """Return a version's objects by file; where no list of files is left, the lists alone."""
    try:
        return opened.objects(known.dvc)
    except DamagedError:
        return known.dvc


def _mend_cache(
    opened: Stores, name: str, file: str, copies: Iterable[Path], scratch: BinaryIO
) -> bool:
    """Return whether the cache has an object sound, from a copy or the remote if need be."""
    if opened.cache.state(name) == "sound":
        return True
    for path in copies:
        if path.is_file():
            with path.open("rb") as source:
                if stores.digests(source).md5 == name:
                    opened.cache.put(name, source)
                    return True
    try:
        opened.fetch(name, file, scratch)
    except DamagedError:
        return False
    return True


def _mend_remote(opened: Stores, name: str) -> None:
    if opened.remote.state(name) != "sound":
        opened.remote.upload(name, Path(opened.cache.where(name)))
