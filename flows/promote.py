"""The `promote` flow: a person makes a registered version the champion, if the gate passes it."""

from prefect import flow

from flows import deciding, registry, release
from flows.deciding import CHALLENGER
from flows.gate import judging
from flows.release import Promoted
from flows.settings import load_settings, workspace
from gan.errors import UsageError
from gan.recipe import load_recipe


@flow(name="promote", flow_run_name="promote-{recipe}", validate_parameters=False)
def promote(recipe: str, version: int | None, by: str, reason: str) -> Promoted:
    """Gate a version against the champion of the moment and, on a pass, move the champion.

    It also puts right an alias that was moved by hand, once the gate has seen where it points.

    Args:
        recipe: A recipe of `params.yaml`.
        version: A registered version; None takes the challenger.
        by: Who promotes.
        reason: Why.

    Raises:
        UsageError: There is no such version, or it is champion already.
        GateError: The gate did not say `pass`.
        ApprovalError: Nobody or no reason is named, or the champion changed meanwhile.
    """
    layout, settings = workspace(), load_settings()
    loaded = load_recipe(layout.params, recipe)
    release.finish(layout, settings, recipe)
    champion, alias = deciding.standing(layout, settings, recipe)
    candidate = (
        registry.by_alias(settings, recipe, CHALLENGER)
        if version is None
        else registry.by_number(settings, recipe, version)
    )
    if candidate is None:
        raise UsageError(f"{recipe}: no challenger. Run: ganmill retrain {recipe}")
    if champion and champion.number == candidate.number == alias:
        raise UsageError(f"{recipe} v{candidate.number} is the champion already.")
    judged = deciding.decide(layout, settings, loaded, candidate, champion)
    judging.require_pass(recipe, candidate, judged)
    return deciding.promote(layout, settings, candidate, alias, judged, actor=by, reason=reason)
