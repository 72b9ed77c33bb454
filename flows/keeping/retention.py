"""How long things are kept, by one rule: what every recipe has, and what becomes of it."""

from dataclasses import replace
from datetime import UTC, datetime

from flows.keeping import inventory
from flows.keeping.facts import things
from flows.keeping.plan import Fate, Thing, plan
from flows.settings import Settings
from gan.errors import RecipeError
from gan.paths import Layout
from gan.recipe import load_recipes


def planned(
    layout: Layout, settings: Settings, recipe: str | None = None, *, with_remote: bool = False
) -> list[Fate]:
    """Return what becomes of all that the workspace has, by `keep` of each recipe.

    Args:
        layout: The workspace.
        settings: Where the servers are.
        recipe: Let go of its things alone; None: of all recipes'.
        with_remote: Whether DVC's remote counts, too.

    Raises:
        RecipeError: There is no such recipe.
        DamagedError: The ledger, or a record of data, is not what it was.
        ServiceError: A server or store does not answer: then nothing can be let go.
    """
    recipes = load_recipes(layout.params)
    if recipe is not None and recipe not in recipes:
        raise RecipeError(f"{layout.params.name}: no recipe {recipe!r}. See: ganmill recipes")
    now = datetime.now(UTC)
    known = inventory.gather(layout, settings, list(recipes.values()), now, with_remote=with_remote)
    keeps = {name: each.keep for name, each in recipes.items()}
    return plan([_limited(thing, recipe) for thing in things(known)], keeps, now)


def _limited(thing: Thing, recipe: str | None) -> Thing:
    """Return a thing that stays where it is not of the one recipe that is asked for alone."""
    if recipe is None or thing.recipes == (recipe,):
        return thing
    return replace(thing, must_stay=thing.must_stay or f"is not of {recipe} alone")
