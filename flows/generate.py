"""The `generate` flow: mint a batch of assets from the champion, resolved once to a version."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from flows import registry, release
from flows.artifacts import show_batch
from flows.registry import Version
from flows.settings import load_settings, workspace
from flows.story import Mill, lineage, say, shown
from gan.errors import UsageError
from gan.recipe import load_recipe

if TYPE_CHECKING:
    from gan.assets.batch import Minted


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
    """Mint from the champion, and tie batch, version and flow run to each other.

    Raises:
        UsageError: There is no champion yet.
        DamagedError: The champion's files are not those that were registered.
        ServiceError: MLflow did not answer.
    """
    from gan.assets.batch import mint
    from gan.assets.manifest import Request
    from gan.bundle import open_bundle

    recipe, settings = mill.recipe, mill.settings
    champion = registry.by_alias(settings, recipe.name, release.CHAMPION)
    if champion is None:
        raise UsageError(
            f"{recipe.name}: no champion yet, so there is nothing to mint from. "
            f"Run: ganmill retrain {recipe.name}"
        )
    bundle = open_bundle(registry.fetch(settings, champion, mill.layout.bundle_store))
    request = Request(
        recipe=recipe.name,
        count=count or recipe.assets.count,
        seed=recipe.assets.seed if seed is None else seed,
        slot=slot or _slot_of_the_day(),
        lineage=_lineage(mill, champion),
    )
    minted = mint(bundle, recipe.assets, request, mill.layout.batches(recipe.name))
    if not minted.already:
        registry.tag_version(settings, champion, {f"batch.{minted.batch_id}": str(minted.folder)})
        show_batch(minted, champion)
    return minted, champion


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
