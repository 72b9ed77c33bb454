"""What a registered model was made from and with: code, data, start, parameters, machine, runs.

Only what is known: what is not is null, with the reason under `missing`. Nothing here changes when
the version is judged again, and neither the environment nor a login in an address is written down.
"""

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from flows import versions
from flows.page_style import without_login
from flows.registry import Version
from gan.durable import SUMS, sha256
from gan.paths import Layout
from gan.recipe import Recipe

_AWAY = "the bundle is damaged or gone"
LOCK = Path("infra") / "requirements.lock"
_PACKAGES = (
    "ganmill", "torch", "torchvision", "numpy", "pillow", "safetensors", "pydantic",
    "prefect", "mlflow", "dvc", "great-expectations",
)  # fmt: skip
_CARD = (
    "preset", "resolution", "channels", "z_dim", "classes", "kimg", "total_kimg", "seed",
    "precision", "torch", "status", "rollbacks", "gamma", "train",
)  # fmt: skip


class _Known:
    """Collects values, and the reason of each that is not there."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    def __call__(self, place: str, value: Any, why: str) -> Any:
        """Return a value; where it is "" or None, return None and keep why."""
        if value is None or value == "":
            self.missing[place] = why
            return None
        return value


def lineage(
    layout: Layout, recipe: Recipe, version: Version, card: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what is known of how a version came to be, as JSON values.

    Args:
        layout: The workspace.
        recipe: As it stands now.
        version: Whose tags were written when it was registered.
        card: The bundle's card; None where the bundle is not at hand.

    Raises:
        GanmillError: `dvc.lock` is damaged.
    """
    known, tags = _Known(), version.tags
    found = {
        "format": 1,
        "recipe": recipe.name,
        "version": version.number,
        "bundle_digest": version.digest,
        "code": _code(known, tags),
        "data": {
            "digest": _of_card(known, card, "data.digest", "data_digest"),
            "dvc_version": known(
                "data.dvc_version", tags.get("data_version"), "the version has no such tag"
            ),
        },
        "start_bundle": _start(known, card),
        "training": known(
            "training",
            {name: card[name] for name in _CARD if name in card} if card else None,
            _AWAY,
        ),
        "sections": recipe.model_dump(mode="json", exclude={"name"}),
        "dvc_lock": known("dvc_lock", *_locked(layout, recipe.name, version)),
        "lock_file": _lock_file(known, layout),
        "machine": _machine(known),
        "packages": {name: known(f"packages.{name}", *_installed(name)) for name in _PACKAGES},
        "runs": _runs(known, version),
        "missing": dict(sorted(known.missing.items())),
    }
    return {name: _without_logins(value) for name, value in found.items()}


def _without_logins(value: Any) -> Any:  # any JSON value
    """Return a value without the login of any address in it, say that of a data source."""
    if isinstance(value, Mapping):
        return {name: _without_logins(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_logins(each) for each in value]
    return without_login(value) if isinstance(value, str) and "://" in value else value


def _code(known: _Known, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the git revision, and whether tracked files differed from it."""
    revision = tags.get("git_revision", "")
    bare = revision.removesuffix("-dirty")
    why = "the version has no such tag" if not revision else "the workspace was no git commit"
    return {
        "git_revision": known("code.git_revision", bare, why),
        "uncommitted_changes": known(
            "code.uncommitted_changes", revision != bare if revision else None, why
        ),
    }


def _of_card(known: _Known, card: Mapping[str, Any] | None, place: str, name: str) -> Any:
    return known(place, card[name] if card else None, _AWAY)


def _start(known: _Known, card: Mapping[str, Any] | None) -> Any:
    why = "none: it was trained from scratch" if card else _AWAY
    return known("start_bundle", card["start_digest"] if card else None, why)


def _locked(layout: Layout, recipe: str, version: Version) -> tuple[Any, str]:
    """Return the recipe's entries of `dvc.lock`, if they are about this version's bundle."""
    sums = layout.bundle(recipe) / SUMS
    if not sums.is_file() or sha256(sums) != version.digest:
        return None, "dvc.lock was about another bundle when this was written"
    stages = versions.lock_entry(layout, recipe)
    return stages or None, "dvc.lock does not know the recipe"


def _lock_file(known: _Known, layout: Layout) -> dict[str, Any]:
    path = layout.root / LOCK
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    why = f"{LOCK.as_posix()} is not in the workspace"
    return {"path": LOCK.as_posix(), "sha256": known("lock_file.sha256", digest, why)}


def _machine(known: _Known) -> dict[str, Any]:
    """Return what the process that writes this runs on: the gate's machine."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "of": "the process that judged the version; training.torch and training.precision are of "
        "the training",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": known("machine.processor", _processor(), "the system does not name it"),
        "processors": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": known("machine.gpus", gpus or None, "torch sees no CUDA device"),
    }


def _processor() -> str:
    """Return the processor's name as the system has it; "" where it names none."""
    table = Path("/proc/cpuinfo")
    rows = table.read_text().splitlines() if table.is_file() else []
    named = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
    return named[0] if named else platform.processor()


def _installed(name: str) -> tuple[str | None, str]:
    try:
        return version_of(name), ""
    except PackageNotFoundError:
        return None, "not installed as a package"


def _runs(known: _Known, version: Version) -> dict[str, Any]:
    tags, why = version.tags, "the version has no such tag"
    pages = {
        name: known(f"runs.{name}", tags.get(name), why)
        for name in ("mlflow_run_url", "flow_run_url")
    }
    return {
        "mlflow_run": known("runs.mlflow_run", version.run_id, "MLflow names none"),
        "version_url": version.url,
        "flow_run": known("runs.flow_run", tags.get("flow_run"), why),
        **pages,
    }
