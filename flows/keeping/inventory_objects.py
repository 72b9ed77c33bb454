"""Which of DVC's objects are a recipe's, which data version they are of, and who refers to them.

Only what our own stages are known to have made is ever let go: whatever else lies in the cache is
somebody else's.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.datasets import catalog, verifying
from flows.keeping.facts import Data
from flows.papers.folder import LINEAGE
from flows.revisions import revision
from flows.stores import Stores
from gan.durable import read_json
from gan.errors import DamagedError, UsageError
from gan.paths import Layout

_MD5 = re.compile(r"\bmd5:\s*([0-9a-f]{32}(?:\.dir)?)")
_OURS = ("data", "models", "reports")
_NEVER = frozenset({".git", ".dvc", ".venv", "data", "runs", "assets"})


@dataclass
class Objects:
    """What DVC keeps of one recipe.

    Attributes:
        cache: Name to bytes, in the cache.
        remote: Name to bytes, on the remote, if that was asked for.
        of_model: Names by version number, of what a version was made from and as.
        data: Data versions.
    """

    cache: dict[str, int] = field(default_factory=dict)
    remote: dict[str, int] = field(default_factory=dict)
    of_model: dict[int, frozenset[str]] = field(default_factory=dict)
    data: list[Data] = field(default_factory=list)


def objects(layout: Layout, opened: Stores, recipe: str, *, with_remote: bool) -> Objects:
    """Return what DVC keeps of a recipe, as its records, papers and past runs of stages name it.

    Args:
        layout: The workspace.
        opened: Its cache and remote.
        recipe: Its name.
        with_remote: Whether to ask the remote for each.

    Raises:
        DamagedError: A record is not as it was written.
        ServiceError: The remote does not answer.
    """
    reading = _Reading(opened, with_remote=with_remote)
    found = Objects()
    for outs in _made(layout, recipe):
        reading.take(outs)
    for number, outs in _papers(layout, recipe):
        found.of_model[number] = frozenset(reading.take(outs))
    records = catalog.records(layout, recipe)
    places = {"cache", "remote"} if reading.with_remote else {"cache"}
    for known in records:
        if verifying.let_go(layout, known) >= places:
            reading.take(known.dvc)  # what a kill left of its files
            continue
        names = frozenset(reading.take(known.dvc))
        is_newest = known is records[-1]
        pinned = "is the newest" if is_newest else ""
        if verifying.is_present(layout, known):
            pinned = "is what the workspace holds"
        found.data.append(Data(known.digest, names, pinned))
    shared = not Path(opened.cache.where("0" * 32)).is_relative_to(layout.root)
    found.cache = {} if shared else reading.cache
    found.remote = reading.remote
    there = {*found.cache, *found.remote}
    found.data = [each for each in found.data if each.pinned or each.objects & there]
    return found


def referred(layout: Layout) -> frozenset[str]:
    """Return the objects that `dvc.lock`, a branch or tag of git, or a `.dvc` file refers to.

    Lists of files are named as they are; `expanded` follows them.
    """
    texts = [path.read_text(errors="replace") for path in _files(layout)]
    found = {name for text in texts for name in _MD5.findall(text)}
    for word in _refs(layout):
        try:
            lock = revision(layout, word).lock or {}
        except UsageError:
            continue
        found |= {str(out["md5"]) for stage in lock.values() for out in stage.get("outs", ())}
    return frozenset(found)


def expanded(opened: Stores, names: frozenset[str]) -> frozenset[str]:
    """Return objects with those that the lists among them name."""
    found = set(names)
    for name in names:
        if name.endswith(".dir") and opened.cache.size_bytes(name) is not None:
            try:
                found |= set(opened.files({"": name}).values())
            except DamagedError:
                continue
    return frozenset(found)


class _Reading:
    """Follows lists of files, each once, and asks for sizes."""

    def __init__(self, opened: Stores, *, with_remote: bool) -> None:
        self._opened = opened
        self.with_remote = with_remote and opened.has_remote
        self._lists: dict[str, list[str]] = {}
        self.cache: dict[str, int] = {}
        self.remote: dict[str, int] = {}

    def take(self, outs: Mapping[str, str]) -> list[str]:
        """Return the names of all objects of some outputs; the sizes of those that are there."""
        names = [each for name in outs.values() for each in self._names(name)]
        for name in names:
            if name not in self.cache:
                size = self._opened.cache.size_bytes(name)
                if size is not None:
                    self.cache[name] = size
            if self.with_remote and name not in self.remote:
                size = self._opened.remote.size_bytes(name)
                if size is not None:
                    self.remote[name] = size
        return names

    def _names(self, name: str) -> list[str]:
        if not name.endswith(".dir"):
            return [name]
        if name not in self._lists:
            self._lists[name] = [*self._listed(name), name]
        return self._lists[name]

    def _listed(self, name: str) -> list[str]:
        """Return what a list names; nothing where it is gone, as what it named is by then."""
        if not self.with_remote and self._opened.cache.size_bytes(name) is None:
            return []
        try:
            return list(self._opened.files({"": name}).values())
        except DamagedError:
            return []


def _made(layout: Layout, recipe: str) -> Iterator[dict[str, str]]:
    """Yield what each run of a stage that DVC remembers made for a recipe."""
    yaml = YAML(typ="safe", pure=True)
    for path in sorted((layout.root / ".dvc" / "cache" / "runs").glob("*/*/*")):
        try:
            outs = (yaml.load(path) or {}).get("outs", ())
        except (YAMLError, AttributeError, OSError):
            continue
        yield {str(out["path"]): str(out["md5"]) for out in outs if _is_of(recipe, out)}


def _is_of(recipe: str, out: Any) -> bool:
    parts = str(out.get("path", "")).split("/")
    return len(parts) > 2 and parts[0] in _OURS and parts[1] == recipe and "md5" in out


def _papers(layout: Layout, recipe: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield what the papers of each version say that DVC kept of it."""
    for path in sorted(layout.release(recipe, 1).parent.glob(f"v*/{LINEAGE}")):
        said = read_json(path)
        outs = [out for stage in (said["dvc_lock"] or {}).values() for out in stage.get("outs", ())]
        yield int(said["version"]), {str(out["path"]): str(out["md5"]) for out in outs}


def _files(layout: Layout) -> Iterator[Path]:
    """Yield the lock file, its kept copy, and whatever `dvc add` left."""
    for path in (layout.root / "dvc.lock", layout.state / "dvc.lock"):
        if path.exists():
            yield path
    for room, folders, files in os.walk(layout.root):
        folders[:] = [name for name in folders if name not in _NEVER and name[0] != "."]
        yield from (Path(room) / name for name in files if name.endswith(".dvc"))


def _refs(layout: Layout) -> list[str]:
    """Return HEAD, the branches and the tags of git, but for those of promotions."""
    words = ["for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"]
    command = ["git", "-C", str(layout.root), *words]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:  # no git, so nothing that it could refer to
        return []
    return ["HEAD", *(line for line in done.stdout.splitlines() if "#" not in line)]
