"""The `reconcile` flow: finish what a kill left half done. Harmless at any time, and quick."""

from prefect import flow

from flows import release
from flows.settings import load_settings, workspace
from flows.story import say
from gan.recipe import load_recipes


@flow(name="reconcile", validate_parameters=False)
def reconcile() -> dict[str, str]:
    """Close every promotion that was begun and not ended; return what became of each recipe.

    Raises:
        DamagedError: The ledger, or a version's digest in the registry, is not what it was.
        ServiceError: MLflow did not answer.
    """
    layout, settings = workspace(), load_settings()
    found = {name: release.finish(layout, settings, name) for name in load_recipes(layout.params)}
    for name, outcome in found.items():
        say(f"  {name}: {'nothing to finish' if outcome == 'nothing' else f'promotion {outcome}'}")
    return dict(found)
