"""The `generate` flow: mint a batch of assets from the champion, resolved once to a version.

Started by hand, by schedule, and by every change of the champion (`flows.deploy`).
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from flows import delivery, ledger, registry, release, watch
from flows.artifacts import show_batch
from flows.registry import Version
from flows.settings import load_settings, workspace
from flows.story import Mill, lineage, log_to_run, say, shown
from gan.errors import ApprovalError, BusyError, GateError, UsageError
from gan.recipe import load_recipe

if TYPE_CHECKING:
    from gan.assets.batch import Minted
    from gan.assets.manifest import Request
    from gan.bundle import Bundle

_WAIT_SECONDS, _POLL_SECONDS = 600.0, 0.5


@flow(name="generate", flow_run_name="generate-{recipe}", validate_parameters=False)
def generate(
    recipe: str, count: int | None = None, seed: int | None = None, slot: str | None = None
) -> Path:
    """Mint a batch and return its folder; a complete batch of the same request stays as it is.

    Args:
        recipe: A recipe of `params.yaml` that has a champion.
        count: Assets wanted; the recipe's `assets.count` by default.
        seed: Of the latents; the recipe's `assets.seed` by default.
        slot: The occasion; one batch each. The scheduled day by default.

    Raises:
        UsageError: There is no champion yet.
        ApprovalError: Production is on hold.
        GateError: The watch held the batch.
        DamagedError: Champion, ledger and registered files do not agree.
    """
    layout, settings = workspace(), load_settings()
    loaded = load_recipe(layout.params, recipe)
    mill = Mill(layout, settings, loaded, lineage(settings))
    minted, version = mint_batch(mill, count=count, seed=seed, slot=slot)
    state = "was complete already" if minted.already else f"minted in {minted.seconds:.1f} s"
    say(f"  {minted.accepted} assets of {recipe} v{version.number} {state}: {shown(minted.folder)}")
    return minted.folder


def mint_batch(
    mill: Mill, *, count: int | None = None, seed: int | None = None, slot: str | None = None
) -> "tuple[Minted, Version]":
    """Mint from the champion, tie batch, version and flow run to each other, and watch.

    Raises:
        UsageError: There is no champion yet.
        ApprovalError: Production is on hold; the batches made so far stay as they are.
        GateError: The batch is minted, but held: the watch put production on hold over it, or the
            champion before this one back.
        DamagedError: The champion is not the one that the ledger names, or its files are not those
            that were registered.
        ServiceError: MLflow did not answer.
    """
    from gan.assets.manifest import Request
    from gan.bundle import open_bundle

    recipe, settings = mill.recipe, mill.settings
    _require_production(mill)
    champion = release.serving(mill.layout, settings, recipe.name)
    if champion is None:
        raise UsageError(
            f"{recipe.name}: no champion yet, so there is nothing to mint from. "
            f"Run: ganmill retrain {recipe.name}"
        )
    files = registry.fetch(settings, champion, mill.layout.bundle_store)
    request = Request(
        recipe=recipe.name,
        count=count or recipe.assets.count,
        seed=recipe.assets.seed if seed is None else seed,
        slot=slot or _slot_of_the_day(),
        lineage=_lineage(mill, champion),
    )
    minted = _mint(open_bundle(files), mill, request)
    tag = f"batch.{minted.batch_id}"
    if tag not in champion.tags:  # also where a kill came between the batch and its tag
        registry.tag_version(settings, champion, {tag: str(minted.folder)})
    if not minted.already:
        show_batch(minted, champion)
    _watch(mill, champion, files, minted)
    return minted, champion


def _require_production(mill: Mill) -> None:
    """Refuse while production is on hold."""
    name = mill.recipe.name
    if held := ledger.production_hold(ledger.read(mill.layout.ledger), name):
        raise ApprovalError(
            f"{name}: production is on hold since {held.time_utc[:16].replace('T', ' ')} UTC, by "
            f'{held.actor}: {held.reason}. Go on with: ganmill resume {name} --reason "..."'
        )


def _mint(bundle: "Bundle", mill: Mill, request: "Request") -> "Minted":
    """Mint a batch; one that another process mints right now is waited for."""
    from gan.assets.batch import mint

    deadline, told = time.monotonic() + _WAIT_SECONDS, False
    while True:
        try:
            return mint(bundle, mill.recipe.assets, request, mill.layout.batches(mill.recipe.name))
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                say(f"  {error} Waiting for it.")
                told = True
            time.sleep(_POLL_SECONDS)


def _watch(mill: Mill, champion: Version, files: Path, minted: "Minted") -> None:
    """Have the batch watched, and tell of it.

    Raises:
        GateError: It is held.
    """
    name = mill.recipe.name
    seen = watch.observe(mill, champion, files, minted)
    log_to_run(f"{name}: {seen.says}")
    if seen.row.violated:
        say(f"  {seen.says}")
    if seen.then != "delivered":
        delivery.tell(mill, champion, minted, seen)
        raise GateError(f"{name}: batch {minted.batch_id} is held: {seen.says}")
    if seen.is_new:
        delivery.tell(mill, champion, minted, seen)


def _slot_of_the_day() -> str:
    """Return the day the run was due (UTC): a late or repeated run is the same batch."""
    from prefect.runtime import flow_run

    due = flow_run.scheduled_start_time if os.environ.get("PREFECT__FLOW_RUN_ID") else None
    return f"{due or datetime.now(UTC):%Y-%m-%d}"


def _lineage(mill: Mill, champion: Version) -> dict[str, str]:
    return {
        "model_version": str(champion.number),
        "model_version_url": champion.url,
        "mlflow_run": champion.run_id,
        "mlflow_run_url": champion.tags.get("mlflow_run_url", ""),
        "flow_run": mill.lineage.flow_run,
        "flow_run_url": mill.lineage.flow_run_url,
        "data_version": champion.tags.get("data_version", ""),
    }
