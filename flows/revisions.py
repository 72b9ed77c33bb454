"""What the workspace was at a git revision, and which recipes became different since."""

import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.errors import RecipeError, UsageError
from gan.paths import Layout

_SHORT = 9  # hex digits of a commit in messages


@dataclass(frozen=True)
class Revision:
    """One commit of the workspace's git; files are read from git's objects, nothing is checked out.

    Attributes:
        layout: The workspace.
        word: What was asked for, say `main`.
        commit: 40 hex.
    """

    layout: Layout
    word: str
    commit: str

    @property
    def short(self) -> str:
        """The commit as a person is told it."""
        return self.commit[:_SHORT]

    def read(self, path: str) -> bytes | None:
        """Return a file by its path below the workspace; None if the commit does not have it."""
        done = _git(self.layout, "cat-file", "blob", f"{self.commit}:./{path}")
        return done.stdout if done.returncode == 0 else None

    @cached_property
    def recipes(self) -> dict[str, Any]:
        """The sections of `params.yaml` as they stand there, unchecked; none without the file.

        Raises:
            RecipeError: It is no YAML.
        """
        return _recipes(self.read("params.yaml") or b"", f"params.yaml at {self.word}")

    @cached_property
    def lock(self) -> dict[str, Any] | None:
        """The stages of `dvc.lock` by `stage@recipe`; None where git does not have the file.

        Raises:
            RecipeError: It is no YAML.
        """
        written = self.read("dvc.lock")
        document = None if written is None else _yaml(written, f"dvc.lock at {self.word}")
        return document if document is None else _mapping(document, "stages")


def revision(layout: Layout, word: str) -> Revision:
    """Return the commit that a name, tag or digest means.

    Raises:
        UsageError: There is no git here, or this clone does not have it.
    """
    done = _git(
        layout, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}"
    )
    if done.returncode:
        raise UsageError(
            f"{word}: no revision of the git of {layout.root}. Is anything committed there? A "
            "shallow clone lacks the old ones: git fetch --unshallow"
        )
    return Revision(layout, word, done.stdout.decode().strip())


def parameters_now(layout: Layout) -> dict[str, Any]:
    """Return the sections of the present `params.yaml`, unchecked.

    Raises:
        RecipeError: It is missing or no YAML.
    """
    try:
        return _recipes(layout.params.read_bytes(), layout.params.name)
    except FileNotFoundError as error:
        raise RecipeError(f"{layout.params}: missing.") from error


def changed_recipes(since: Revision) -> dict[str, list[str]]:
    """Return the recipes whose stages a change touches, with what touches them.

    What counts is what `dvc.yaml` says that stages depend on: files in git and sections of
    `params.yaml`, compared with the workspace as it is, committed or not.

    Raises:
        RecipeError: `params.yaml` or `dvc.yaml` is missing or no YAML, here or there.
    """
    layout, before = since.layout, since.recipes
    graph = _yaml((layout.root / "dvc.yaml").read_bytes(), "dvc.yaml")
    stages = [each.get("do", {}) for each in _mapping(graph, "stages").values()]
    files, sections, found = _files_since(since), _sections(stages), {}
    for name, section in parameters_now(layout).items():
        reasons = ["a new recipe"] if name not in before else []
        changes = differences(before.get(name), section) if name in before else []
        reasons += [each.key for each in changes if each.key.partition(".")[0] in sections]
        places = ["dvc.yaml", *_places(stages, name, section)]
        reasons += [file for file in files if _touches(file, places)]
        if reasons:
            found[name] = reasons
    return found


@dataclass(frozen=True)
class Change:
    """One value of a recipe, before and now; "unset" where it was not given."""

    key: str
    before: str
    now: str


def differences(before: Any, now: Any) -> list[Change]:
    """Return the values in which two nested mappings of YAML differ, by dotted key, in order."""
    old, new = _flat("", before), _flat("", now)
    keys = [*old, *(key for key in new if key not in old)]
    unset = "unset"
    return [
        Change(key, str(old.get(key, unset)), str(new.get(key, unset)))
        for key in keys
        if old.get(key, unset) != new.get(key, unset)
    ]


def _flat(key: str, value: Any) -> dict[str, Any]:  # any YAML value
    if not isinstance(value, dict):
        return {key: value}
    inner = {f"{key}.{name}".lstrip("."): value[name] for name in value}
    return {k: v for name, each in inner.items() for k, v in _flat(name, each).items()}


def _sections(stages: list[Any]) -> set[str]:
    """Return the sections of a recipe that some stage depends on."""
    named = [str(each) for stage in stages for each in stage.get("params", ())]
    return {each.removeprefix("recipes.${key}.").partition(".")[0] for each in named}


def _places(stages: list[Any], name: str, section: Any) -> list[str]:
    """Return the files and folders that the stages of a recipe depend on."""
    data = section.get("data") if isinstance(section, dict) else None
    source = str(data.get("path", "")) if isinstance(data, dict) else ""
    named = [str(each) for stage in stages for each in stage.get("deps", ())]
    filled = [each.replace("${key}", name).replace("${item.data.path}", source) for each in named]
    return [each.rstrip("/") for each in filled if each]


def _touches(file: str, places: list[str]) -> bool:
    return any(file == place or file.startswith(f"{place}/") for place in places)


def _files_since(since: Revision) -> list[str]:
    """Return the files of the workspace that differ from a commit, or are new, by their paths."""
    layout = since.layout
    differ = _git(layout, "diff", "--no-ext-diff", "--name-only", "--relative", "-z", since.commit)
    fresh = _git(layout, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({*(differ.stdout + fresh.stdout).decode(errors="replace").split("\0")} - {""})


def _recipes(written: bytes, name: str) -> dict[str, Any]:
    return _mapping(_yaml(written, name), "recipes")


def _mapping(document: Any, key: str) -> dict[str, Any]:
    found = document.get(key) if isinstance(document, dict) else None
    return {str(name): found[name] for name in found} if isinstance(found, dict) else {}


def _yaml(written: bytes, name: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(written.decode())
    except (UnicodeDecodeError, YAMLError, ValueError) as error:
        raise RecipeError(f"{name}: is not valid YAML: {' '.join(str(error).split())}") from error


def _git(layout: Layout, *words: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["git", "-C", str(layout.root), *words]
    try:
        return subprocess.run(command, check=False, capture_output=True)  # argv
    except OSError as error:
        raise UsageError(f"git: {error.strerror}. Install it; reports read its history.") from error
