"""The `generate` flow: mint a campaign's batch from one exact version, watch it, deliver it.

Started by hand, by schedule, and by every change of the champion (`flows.schedules.deploy`).
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import ValidationError

from flows import delivery, ledger, minting, registry, release, watch
from flows.artifacts import show_batch
from flows.registry import Version
from flows.schedules import due
from flows.schedules.slots import timing_of
from flows.settings import load_settings, workspace
from flows.story import Mill, lineage, log_to_run, say, shown
from gan.errors import ApprovalError, BudgetError, BusyError, GateError, UsageError
from gan.recipe import load_recipe
from gan.sections import DEFAULT_CAMPAIGN, AssetsSpec, CampaignSpec

if TYPE_CHECKING:
    from gan.assets.batch import Minted
    from gan.assets.request import Request
    from gan.bundle import Bundle

_WAIT_SECONDS, _POLL_SECONDS = 600.0, 0.5


@flow(name="generate", flow_run_name="generate-{recipe}-{campaign}", validate_parameters=False)
def generate(
    recipe: str,
    count: int | None = None,
    seed: int | None = None,
    slot: str | None = None,
    campaign: str = DEFAULT_CAMPAIGN,
) -> Path | State[None]:
    """Mint a batch and return its folder; a complete batch of the same request stays as it is.

    Args:
        recipe: A recipe of `params.yaml` that has a champion.
        count: Accepted assets wanted; the campaign's own count by default.
        seed: Of the latents; the campaign's own by default.
        slot: The occasion; one batch each. By default the day, or the minute that a schedule set.
        campaign: One of `assets.campaigns`; what `assets` itself says by default.

    Raises:
        UsageError: There is no champion yet, or no such campaign.
        ApprovalError: Production is on hold.
        GateError: The watch held the batch.
        BudgetError: The batch is delivered, but short of what was wanted.
        DamagedError: Champion, ledger and registered files do not agree.
    """
    layout, settings = workspace(), load_settings()
    loaded = load_recipe(layout.params, recipe)
    if passed_over := due.instead(layout, timing_of(loaded, "generate", campaign)):
        return passed_over
    if due.started_by_schedule() and release.serving(layout, settings, recipe) is None:
        return due.pass_over("no champion yet; the first retraining makes one")
    mill = Mill(layout, settings, loaded, lineage(settings))
    minted, version = mint_batch(mill, campaign=campaign, count=count, seed=seed, slot=slot)
    state = "was complete already" if minted.already else f"minted in {minted.seconds:.1f} s"
    say(f"  {minted.accepted} assets of {recipe} v{version.number} {state}: {shown(minted.folder)}")
    if minted.short:
        raise BudgetError(
            f"{recipe}: batch {minted.batch_id} has {minted.accepted} of {minted.wanted} wanted "
            f"assets: the budget of {minted.candidates} candidates ended. Look at those set aside: "
            f"{shown(minted.folder / 'index.html')}"
        )
    return minted.folder


def mint_batch(
    mill: Mill,
    *,
    campaign: str = DEFAULT_CAMPAIGN,
    count: int | None = None,
    seed: int | None = None,
    slot: str | None = None,
) -> "tuple[Minted, Version]":
    """Mint from the campaign's model, tie batch, version and flow run to each other, and watch.

    Raises:
        UsageError: There is no such model or campaign.
        ApprovalError: Production is on hold; the batches made so far stay as they are.
        GateError: The batch is minted, but held: the watch put production on hold over it, or the
            champion before this one back.
        DamagedError: The champion is not the one that the ledger names, or its files are not those
            that were registered.
        ServiceError: MLflow did not answer.
    """
    from gan.bundle import open_bundle

    recipe, settings = mill.recipe, mill.settings
    _require_production(mill)
    spec = campaign_of(recipe.name, recipe.assets, campaign, count=count, seed=seed)
    version = version_of(mill, spec)
    files = registry.fetch(settings, version, mill.layout.bundle_store)
    request = request_of(mill, spec, campaign, version, slot)
    minted = _mint(open_bundle(files), mill, request)
    tag = f"batch.{minted.batch_id}"
    if tag not in version.tags:  # also where a kill came between the batch and its tag
        registry.tag_version(settings, version, {tag: str(minted.folder)})
    if not minted.already:
        show_batch(minted, version)
    if spec.model == "champion":  # the watch judges what production uses
        _watch(mill, version, files, minted)
    delivery.deliver(mill, spec, version, minted)
    return minted, version


def campaign_of(
    recipe: str, assets: AssetsSpec, campaign: str, *, count: int | None, seed: int | None
) -> CampaignSpec:
    """Return a campaign, with another count and seed where they are given.

    Raises:
        UsageError: There is no such campaign, or its segments say how many.
    """
    try:
        spec = assets.campaign(campaign)
    except KeyError:
        known = ", ".join([DEFAULT_CAMPAIGN, *assets.campaigns])
        raise UsageError(
            f"params.yaml: recipes.{recipe}.assets.campaigns has no {campaign!r}. Known: {known}."
        ) from None
    if count is not None and spec.segments:
        raise UsageError(
            f"count: the segments of campaign {campaign!r} say how many assets each of them gets; "
            f"change them in params.yaml: recipes.{recipe}.assets."
        )
    asked = {"count": count, "seed": seed}
    given = {key: value for key, value in asked.items() if value is not None}
    try:
        return CampaignSpec.model_validate({**spec.model_dump(), **given})
    except ValidationError as error:  # say from the form in Prefect, which takes anything
        first = error.errors()[0]
        raise UsageError(
            f"{first['loc'][0]} is {first['input']!r}; it must be: {first['msg']}."
        ) from error


def version_of(mill: Mill, spec: CampaignSpec) -> Version:
    """Return the version that a campaign is minted from, as it is at this moment.

    Raises:
        UsageError: There is none.
        DamagedError: Champion, ledger and registered files do not agree.
    """
    name = mill.recipe.name
    champion = release.serving(mill.layout, mill.settings, name)
    if champion is None:
        raise UsageError(
            f"{name}: no champion yet, so there is nothing to mint from. "
            f"Run: ganmill retrain {name}"
        )
    if spec.model == "champion":
        return champion
    challenger = registry.by_alias(mill.settings, name, spec.model)
    if challenger is None:
        raise UsageError(
            f"{name}: there is no challenger at present, which the campaign is minted from. "
            f"See: ganmill status"
        )
    return challenger


def request_of(
    mill: Mill, spec: CampaignSpec, campaign: str, version: Version, slot: str | None
) -> "Request":
    """Return what is asked of a version for a slot, or for the one that this run was due at."""
    from gan.assets.request import Request

    return Request(
        recipe=mill.recipe.name,
        spec=spec,
        slot=slot or due.slot_name(mill.recipe, campaign),
        campaign=campaign,
        lineage=_lineage(mill, version),
    )


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

    layout, name = mill.layout, mill.recipe.name
    deadline, told = time.monotonic() + _WAIT_SECONDS, False
    while True:
        try:
            return mint(
                bundle,
                request,
                layout.batches(name),
                minting.marks(layout, mill.settings),
                minting.references(mill, bundle),
                past=minting.past_batches(layout, name, request.spec.screens.past),
                run=minting.workers(mill.settings),
            )
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                say(f"  {error} Waiting for it.")
                told = True
            time.sleep(_POLL_SECONDS)


def _watch(mill: Mill, champion: Version, files: Path, minted: "Minted") -> None:
    """Have the batch watched.

    Raises:
        GateError: It is held.
    """
    name = mill.recipe.name
    seen = watch.observe(mill, champion, files, minted)
    log_to_run(f"{name}: {seen.says}")
    if seen.row.violated:
        say(f"  {seen.says}")
    if seen.then != "delivered":
        delivery.tell_held(mill, champion, minted, seen)
        raise GateError(f"{name}: batch {minted.batch_id} is held: {seen.says}")


def _lineage(mill: Mill, version: Version) -> dict[str, str]:
    return {
        "model_version": str(version.number),
        "model_version_url": version.url,
        "mlflow_run": version.run_id,
        "mlflow_run_url": version.tags.get("mlflow_run_url", ""),
        "flow_run": mill.lineage.flow_run,
        "flow_run_url": mill.lineage.flow_run_url,
        "data_version": version.tags.get("data_version", ""),
    }
