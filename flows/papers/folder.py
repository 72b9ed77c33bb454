"""What goes with a registered version, for whoever asks later; written also for refused ones.

reports/<recipe>/releases/v<n>/
    model_card.md      what it is, what it is for, how it fared, what it is not; grid.png with it
    metrics.json       as evaluated
    gate.json          the decision, with gate.html and its pictures
    lineage.json       what it was made from and with
    licences.json      of the data and of the packages
    sbom.cdx.json      bill of materials, CycloneDX 1.6
    SHA256SUMS         written last

A folder without `SHA256SUMS` was cut short: the same call completes it. What a version was made
with does not change when it is judged again, so those three files stay as they were first written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import registry
from flows.gate.page_basis import measured_as
from flows.gate.records import RECORD
from flows.gate.reports import METRICS
from flows.page_style import without_login
from flows.papers import bill_of_materials, lineage, model_card
from flows.papers.bill_of_materials import Subject
from flows.registry import Version
from flows.settings import Settings
from gan.durable import SUMS, read_json, remove, sha256, write_atomically, write_sums
from gan.errors import DamagedError
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from flows.gate.judging import Judged

CARD, GATE_PAGE, GRID = "model_card.md", "gate.html", "grid.png"
LINEAGE, LICENCES, BILL = "lineage.json", "licences.json", "sbom.cdx.json"
_MADE = (LINEAGE, LICENCES, BILL)

Files = dict[str, bytes]


def write_release(
    layout: Layout, settings: Settings, recipe: Recipe, version: Version, judged: "Judged | None"
) -> Path:
    """Write the release folder of a version, or bring it up to date; return it.

    Unchanged facts give unchanged bytes.

    Args:
        layout: The workspace.
        settings: Where MLflow is, for a bundle that is not here.
        recipe: As it stands.
        version: The version.
        judged: The gate's decision on it; None: there is none.

    Raises:
        DamagedError: The decision or a picture of it is not what its digest says.
        ServiceError: The bundle is not here and MLflow did not answer.
        GanmillError: The folder cannot be written.
    """
    folder = layout.release(recipe.name, version.number)
    decision, files = _decision(judged)
    wanted = decision["evidence"]["metric_id"] if decision else None
    measured = measured_as(layout, recipe.name, version.digest, wanted or None)
    for name in (METRICS, GRID):
        if measured and (measured[0] / name).is_file():
            files[name] = (measured[0] / name).read_bytes()
    files |= _kept(folder, version) or _made(layout, settings, recipe, version)
    facts = model_card.Facts(
        recipe=recipe,
        number=version.number,
        digest=version.digest,
        lineage=json.loads(files[LINEAGE]),
        report=measured[1] if measured else None,
        decision=decision,
        evidence_digest=judged.digest if judged else "",
        files=sorted(files),
    )
    files[CARD] = model_card.render(facts).encode()
    _write(folder, files)
    return folder


def _decision(judged: "Judged | None") -> tuple[dict[str, Any] | None, Files]:
    """Return `gate.json` and the files of the decision, each checked against its digest.

    Raises:
        DamagedError: One is missing or altered.
    """
    if judged is None:
        return None, {}
    home = judged.record.parent
    files = {RECORD: _checked(judged.record, judged.digest)}
    document: dict[str, Any] = json.loads(files[RECORD])
    for name, digest in document["pictures"].items():
        files[name] = _checked(home / Path(name).name, digest)
    if judged.page.is_file():
        files[GATE_PAGE] = judged.page.read_bytes()
    return document, files


def _checked(path: Path, digest: str) -> bytes:
    found = sha256(path) if path.is_file() else "missing"
    if found != digest:
        raise DamagedError(
            f"{path}: SHA-256 is {found[:12]}, the decision says {digest[:12]}. It was altered; "
            "delete its folder and judge the version again."
        )
    return path.read_bytes()


def _kept(folder: Path, version: Version) -> Files:
    """Return the files that stay as they were first written; none if one is not to be trusted."""
    try:
        sums = _sums(folder)
        if any(sha256(folder / name) != sums[name] for name in _MADE):
            return {}
        about = read_json(folder / LINEAGE)["bundle_digest"]
    except (OSError, KeyError, ValueError):
        return {}
    return {name: (folder / name).read_bytes() for name in _MADE} if about == version.digest else {}


def _made(layout: Layout, settings: Settings, recipe: Recipe, version: Version) -> Files:
    """Return what tells of the making, as far as it is known now."""
    card, sums = _bundle(layout, settings, version)
    packages = bill_of_materials.installed()
    subject = Subject(recipe.name, version.number, version.digest, sums)
    licences = {
        "data": {"source": without_login(recipe.data.path), "licence": recipe.data.licence},
        "model": None,
        "missing": {"model": "nobody has named a licence of the weights"},
        "packages": bill_of_materials.licences(packages),
    }
    return {
        LINEAGE: _json(lineage.lineage(layout, recipe, version, card)),
        LICENCES: _json(licences),
        BILL: _json(bill_of_materials.bill(subject, packages)),
    }


def _bundle(
    layout: Layout, settings: Settings, version: Version
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Return a bundle's card and the SHA-256 of its files; nothing of a damaged one.

    Raises:
        ServiceError: It is not here and MLflow did not answer.
    """
    from gan.bundle import open_bundle

    try:
        bundle = open_bundle(registry.fetch(settings, version, layout.bundle_store))
    except DamagedError:
        return None, {}
    return bundle.card.model_dump(mode="json"), _sums(bundle.folder)


def _sums(folder: Path) -> dict[str, str]:
    rows = (folder / SUMS).read_text().splitlines()
    return {name: digest for digest, name in (row.split("  ", 1) for row in rows)}


def _json(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _write(folder: Path, files: Files) -> None:
    """Make `files` the folder's content: what is as it was is not touched, the sums come last."""
    for name, payload in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != payload:
            write_atomically(path, payload)
    for path in sorted(folder.iterdir()):
        if path.name not in files and path.name != SUMS:
            remove(path)
    write_sums(folder)
