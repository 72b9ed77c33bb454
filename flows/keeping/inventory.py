"""Finds out what a workspace has: from registry, ledger, servers, folders and DVC.

Where the lineage cannot be known nothing is let go: a server that does not answer, or a ledger that
does not hold, is an error, and a batch that cannot be read may be of any model.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows import disposal, ledger, pins, registry, stores
from flows.datasets import descent
from flows.disposal import SeenRun
from flows.gate.records import RECORD, anchor_of
from flows.held import is_training
from flows.keeping.artifact_store import open_artifacts
from flows.keeping.facts import Checkpoints, Facts, FlowRun, Model, Pages, Run
from flows.keeping.flow_runs import ended
from flows.keeping.inventory_batches import batches
from flows.keeping.inventory_objects import Objects, expanded, objects, referred
from flows.keeping.standing import standing
from flows.ledger import Entry
from flows.registry import Version
from flows.settings import Settings
from flows.transaction import CHAMPION
from gan.durable import read_json
from gan.errors import DamagedError, GanmillError
from gan.paths import Layout
from gan.recipe import Recipe
from gan.training.identity import RECORD as TRAINING
from gan.training.identity import is_stopped, run_folder

_CHALLENGER = "challenger"


@dataclass(frozen=True)
class _World:
    """What all recipes share."""

    layout: Layout
    settings: Settings
    entries: list[Entry]
    artifact_bytes: Mapping[str, int]
    flow_runs: Mapping[str, list[tuple[str, datetime]]]
    referred: frozenset[str]


def gather(
    layout: Layout,
    settings: Settings,
    recipes: Collection[Recipe],
    now: datetime,
    *,
    with_remote: bool = False,
) -> list[Facts]:
    """Return what each recipe has.

    Args:
        layout: The workspace.
        settings: Where the servers are.
        recipes: All of the workspace.
        now: With its time zone.
        with_remote: Whether DVC's remote counts.

    Raises:
        DamagedError: The ledger, or a record of data, is not what it was.
        ServiceError: A server or store does not answer.
    """
    limits = [recipe.keep.flow_runs_days for recipe in recipes]
    least = min((limit for limit in limits if limit is not None), default=None)
    names = [recipe.name for recipe in recipes]
    before = None if least is None else now - timedelta(days=least)
    with stores.opened(layout) as opened:
        world = _World(
            layout=layout,
            settings=settings,
            entries=ledger.read(layout.ledger),
            artifact_bytes=_artifact_bytes(layout, settings),
            flow_runs=ended(settings, names, before) if before else {},
            referred=expanded(opened, referred(layout)),
        )
        return [
            _facts(world, recipe, objects(layout, opened, recipe.name, with_remote=with_remote))
            for recipe in recipes
        ]


def _facts(world: _World, recipe: Recipe, kept: Objects) -> Facts:
    layout, name = world.layout, recipe.name
    known, _ = descent.models(layout, world.settings, name)
    versions = registry.versions(world.settings, name)
    data_of = {model.digest: model.data_digest for model in known}
    pinned = standing_now(layout, world.settings, world.entries, name, versions)
    seen = disposal.runs(world.settings, name)
    runs = [*world.flow_runs.get(name, ()), *world.flow_runs.get("", ())]
    return Facts(
        recipe=name,
        models=[
            Model(
                number=version.number,
                digest=version.digest,
                run=version.run_id,
                flow_run=version.tags.get("flow_run", ""),
                data=data_of.get(version.digest, ""),
                objects=kept.of_model.get(version.number, frozenset()),
                pinned=pinned.get(version.number, ""),
            )
            for version in versions
        ],
        batches=batches(layout, world.entries, name, data_of),
        runs=[_run(world, recipe, run) for run in seen],
        flow_runs=[FlowRun(run_id, moment) for run_id, moment in runs],
        checkpoints=_checkpoints(world, recipe, seen),
        decisions=list(_decisions(layout, name)),
        reports=list(_reports(layout, name)),
        bundles=_bundles(layout, name),
        data=kept.data,
        objects=kept.cache,
        remote=kept.remote,
        referred=world.referred,
        start=pins.read_pin(layout, name) or "" if layout.pin(name).exists() else "",
    )


def standing_now(
    layout: Layout, settings: Settings, entries: list[Entry], recipe: str, known: list[Version]
) -> dict[int, str]:
    """Return the versions of a recipe that stay whatever their age, and why.

    Raises:
        ServiceError: MLflow does not answer.
    """
    if is_training(layout, recipe):
        return {version.number: f"{recipe} is being retrained" for version in known}
    champion = registry.by_alias(settings, recipe, CHAMPION)
    challenger = registry.by_alias(settings, recipe, _CHALLENGER)
    return standing(
        known,
        entries,
        recipe,
        layout.batches(recipe),
        champion=champion.number if champion else None,
        challenger=challenger.number if challenger else None,
        best=anchor_of(layout, recipe, entries, champion.digest) if champion else "",
    )


def _run(world: _World, recipe: Recipe, seen: SeenRun) -> Run:
    let_go = seen.let_go
    if seen.is_hidden and recipe.keep.training_runs_days is not None:
        let_go = let_go or "was deleted in MLflow"
    return Run(
        id=seen.id,
        ended=seen.ended,
        bytes=world.artifact_bytes.get(seen.place, 0),
        pinned="goes on" if seen.is_alive else "",
        let_go=let_go,
    )


def _artifact_bytes(layout: Layout, settings: Settings) -> dict[str, int]:
    """Return what each run's files take, by where they lie; nothing where the store is not ours."""
    store = open_artifacts(layout, settings)
    found: dict[str, int] = {}
    for path, seen in store.listing().items() if store else ():
        place = "/".join(path.split("/")[:2])
        found[place] = found.get(place, 0) + seen.bytes
    return found


def _checkpoints(world: _World, recipe: Recipe, runs: list[SeenRun]) -> list[Checkpoints]:
    layout = world.layout
    by_key = {run.training_key: run.id for run in runs if run.training_key}
    try:
        present = run_folder(layout, recipe).name
    except GanmillError:  # no data or no pin yet, so no training that could go on
        present = ""
    found = []
    for record in sorted(layout.run(recipe.name).glob(f"*/{TRAINING}")):
        folder = record.parent
        said: dict[str, Any] = read_json(record)
        pinned = "the next training goes on from it" if folder.name == present else ""
        if said["state"] == "begun" and is_stopped(folder):
            pinned = "its training has not ended"
        if is_training(layout, recipe.name):
            pinned = f"{recipe.name} is being retrained"
        found.append(
            Checkpoints(
                name=folder.name,
                changed=datetime.fromtimestamp(record.stat().st_mtime, UTC),
                bytes=size_of(folder),
                start=str(said["determinants"].get("start") or ""),
                run=by_key.get(folder.name, "") if pinned else "",
                pinned=pinned,
            )
        )
    return found


def _decisions(layout: Layout, recipe: str) -> Iterator[Pages]:
    """Yield the decisions of which more is there than the record."""
    for record in sorted(layout.gate(recipe).glob(f"*/{RECORD}")):
        rest = size_of(record.parent) - record.stat().st_size
        if rest and not record.parent.name.startswith("."):
            yield Pages(record.parent.name, record.parent.name.partition("-")[0], rest)


def _reports(layout: Layout, recipe: str) -> Iterator[Pages]:
    for folder in sorted(layout.version_report(recipe, "-").parent.glob("*")):
        if folder.is_dir():
            yield Pages(folder.name, folder.name, size_of(folder))


def _bundles(layout: Layout, recipe: str) -> dict[str, int]:
    """Return the bundles of a recipe in the local store; those in the making are none."""
    found = {}
    for card in sorted(layout.bundle_store.glob("*/card.json")):
        try:
            is_ours = read_json(card).get("recipe") == recipe
        except (DamagedError, AttributeError):
            continue
        if is_ours and not card.parent.name.startswith("."):
            found[card.parent.name] = size_of(card.parent)
    return found


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
