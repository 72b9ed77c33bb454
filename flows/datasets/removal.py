"""`ganmill data remove`: an image never comes in again, and it is on record who asked for it.

The recipe names it by its SHA-256 in `data.removed` of params.yaml, so that git has it and every
ingest from now on leaves it out, from whatever source. Who, when and why is a line of
`reports/<recipe>/datasets/removals.jsonl`.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from gan.durable import run_lock, write_atomically
from gan.errors import DamagedError, RecipeError, UsageError
from gan.paths import Layout
from gan.recipe import load_recipe

_LEAST_WORDS, _MOST_WORDS = 3, 500  # characters, as `gan.sections.Reason`


@dataclass(frozen=True)
class Removal:
    """One line of the record.

    Attributes:
        recipe: The recipe that leaves the file out.
        sha256: Of the file.
        key: Its name in the newest data version that had it; "" where none had it.
        reason: Why.
        by: Who said so.
        time_utc: When, ISO 8601.
    """

    recipe: str
    sha256: str
    key: str
    reason: str
    by: str
    time_utc: str


class _Faithful(RoundTripRepresenter):
    """Writes a file as it was read; ruamel's own would leave `null` out."""


_Faithful.add_representer(
    type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def remove(
    layout: Layout, recipe: str, files: Mapping[str, str], *, reason: str, by: str
) -> list[Removal]:
    """Leave files out of a recipe from now on; return what is new. Killed, the same call finishes.

    Args:
        layout: The workspace.
        recipe: The recipe.
        files: SHA-256 of each file to its key.
        reason: Why; it stands in params.yaml.
        by: Who says so.

    Raises:
        UsageError: There is no reason, or nobody is named.
        RecipeError: There is no such recipe, or its file cannot be edited.
        BusyError: Another process is editing params.yaml.
    """
    reason, by = " ".join(reason.split()), " ".join(by.split())
    if not _LEAST_WORDS <= len(reason) <= _MOST_WORDS or not by:
        raise UsageError(
            f"{recipe}: the reason has {len(reason)} characters; wanted: {_LEAST_WORDS} to "
            f'{_MOST_WORDS}, and a name. Say who and why: --by NAME --reason "..."'
        )
    with run_lock(layout.lock("params"), f"removing an image from {recipe}"):
        there = load_recipe(layout.params, recipe).data.removed
        if new := [digest for digest in files if digest not in there]:
            write_atomically(layout.params, _edited(layout.params, recipe, new, reason))
        told = {each.sha256 for each in removals(layout, recipe)}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = [
            Removal(recipe, digest, key, there.get(digest, reason), by, now)
            for digest, key in files.items()
            if digest not in told
        ]
        if made:
            # Whole, because a line that is torn or not yet on the disk would be no record.
            path = layout.removals(recipe)
            before = path.read_bytes() if path.exists() else b""
            lines = "".join(f"{json.dumps(asdict(each), ensure_ascii=False)}\n" for each in made)
            write_atomically(path, before + lines.encode())
    return made


def removals(layout: Layout, recipe: str) -> list[Removal]:
    """Return who had which files left out of a recipe, oldest first.

    Raises:
        DamagedError: A line is not as it was written.
    """
    path = layout.removals(recipe)
    lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
    try:
        return [Removal(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise DamagedError(
            f"{path}: a line is no removal ({error}). Put back a copy of it; params.yaml has the "
            "digests and reasons."
        ) from error


def _edited(params: Path, recipe: str, files: list[str], reason: str) -> bytes:
    """Return a params file with files added to a recipe's `data.removed`, and all else as it was.

    Raises:
        RecipeError: It would not read as it did before.
    """
    yaml = YAML()
    yaml.Representer = _Faithful
    yaml.preserve_quotes = True
    yaml.width = 1 << 16  # break no line that the user did not
    text = params.read_text("utf-8")
    document: Any = yaml.load(text)
    wanted = _plain(text)
    for recipes in (document["recipes"], wanted["recipes"]):
        name = next(name for name in recipes if str(name) == recipe)  # 1 is a key, too
        mapping = recipes[name]["data"]
        mapping["removed"] = mapping.get("removed") or {}
        mapping["removed"].update(dict.fromkeys(files, reason))
    edited = io.StringIO()
    yaml.dump(document, edited)
    try:
        is_same = _plain(edited.getvalue()) == wanted
    except YAMLError:
        is_same = False
    if not is_same:
        line = f"removed: {json.dumps(dict.fromkeys(files, reason), ensure_ascii=False)}"
        raise RecipeError(
            f"{params.name}: cannot be edited without changing something else. Add this to "
            f"recipes.{recipe}.data yourself, then run the same again: {line}"
        )
    return edited.getvalue().encode()


def _plain(text: str) -> Any:  # any YAML document
    """Return what a YAML text says, and nothing shared: an alias is a copy of its anchor here."""
    return json.loads(json.dumps(YAML(typ="safe").load(text), default=str))
