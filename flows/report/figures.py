"""What was measured of a recipe, at a git revision and now: metrics, images, the data's verdict.

At a revision the files come out of git itself, or, by that revision's `dvc.lock`, out of DVC's
cache or remote, where every byte is hashed.
"""

import json
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from flows.revisions import Revision
from flows.stores import Stores
from gan.durable import read_json
from gan.errors import DamagedError
from gan.paths import Layout

Document = dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """What is known of a recipe at one time.

    Attributes:
        metrics: As in `metrics.json`; empty where nothing was measured.
        images: As in `meta.json` of the prepared images; empty where there are none.
        verdict: As in `verdict.json` of the data contract; empty where it was not asked.
        absent: Why there are no metrics, in a sentence; "" where there are some.
    """

    metrics: Document = field(default_factory=dict)
    images: Document = field(default_factory=dict)
    verdict: Document = field(default_factory=dict)
    absent: str = ""


def figures_now(layout: Layout, recipe: str) -> Figures:
    """Return what lies in the workspace.

    Raises:
        DamagedError: A file is no JSON.
    """
    metrics, images, verdict = (
        read_json(path) if path.exists() else {} for path in _places(layout, recipe)
    )
    absent = "" if metrics else f"not measured here yet; run: ganmill evaluate {recipe}"
    return Figures(metrics, images, verdict, absent)


def figures_then(revision: Revision, stores: Stores, recipe: str) -> Figures:
    """Return what a revision's commit and `dvc.lock` lead to.

    Raises:
        RecipeError: Its `dvc.lock` is no YAML.
        ServiceError: The DVC remote does not answer.
    """
    found: list[Document] = []
    absent = ""
    for place in _places(revision.layout, recipe):
        try:
            found.append(_document(revision, stores, recipe, place))
        except DamagedError as error:
            absent = absent or (str(error) if not found else "")
            found.append({})
    metrics, images, verdict = found
    return Figures(metrics, images, verdict, absent)


def _places(layout: Layout, recipe: str) -> tuple[Path, Path, Path]:
    metrics = layout.evaluation(recipe) / "metrics.json"
    return metrics, layout.train_data(recipe) / "meta.json", layout.facts(recipe) / "verdict.json"


def _document(revision: Revision, stores: Stores, recipe: str, place: Path) -> Document:
    """Return a JSON file of a revision.

    Raises:
        DamagedError: It is nowhere to be had as it was; the message says why.
    """
    path = place.relative_to(revision.layout.root).as_posix()
    written = revision.read(path)
    if written is None:
        out, name = _out(revision, recipe, path)
        target = BytesIO()
        stores.fetch(stores.files({out: name})[path], path, target)
        written = target.getvalue()
    try:
        found = json.loads(written)
    except ValueError as error:
        raise DamagedError(f"{path} at {revision.word}: is no JSON.") from error
    return found if isinstance(found, dict) else {}


def _out(revision: Revision, recipe: str, path: str) -> tuple[str, str]:
    """Return the output of DVC that holds a file: its path and the name of its object.

    Raises:
        DamagedError: That revision's `dvc.lock` has none.
    """
    if revision.lock is None:
        raise DamagedError(
            f"dvc.lock is not in git at {revision.word}, so nothing leads to its figures; "
            "commit it after a run"
        )
    for stage, entry in revision.lock.items():
        for out in entry.get("outs", ()) if stage.endswith(f"@{recipe}") else ():
            held = path == out["path"] or path.startswith(f"{out['path']}/")
            if held and out.get("md5"):
                return str(out["path"]), str(out["md5"])
    raise DamagedError(f"never measured: dvc.lock at {revision.word} has no {path}")
