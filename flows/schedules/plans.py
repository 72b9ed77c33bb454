"""What of a workspace is deployed to Prefect, as `params.yaml` has it; no server is asked.

    retrain/<recipe>              by its cron line, and when its images drifted or others came, as
                                  the recipe says
    generate/<recipe>[:campaign]  by its cron line, and whenever the recipe's champion changed
    drift/<recipe>                by its cron line
    approve/<recipe>              asked for by a retraining that needs a person's word
    reconcile/ganmill             every ten minutes

Without a cron line a deployment waits for the Run button.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.notices import BATCH, RETRAIN
from flows.schedules.slots import RECONCILING
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes

if TYPE_CHECKING:
    from gan.sections import CronSpec

TAG = "ganmill"
TRAIN_POOL, POOL = "ganmill-train", "ganmill"
ENTRYPOINTS = {
    "retrain": "flows.retrain.retrain",
    "drift": "flows.drift_flow.drift",
    "generate": "flows.generate.generate",
    "approve": "flows.approve.approve",
    "reconcile": "flows.reconcile.reconcile",
}


@dataclass(frozen=True)
class Follow:
    """What an event starts: those of one recipe whose label says `wanted`.

    Attributes:
        name: What it does, for people; Prefect's automation has it too.
        recipe: Whose events.
        label: The label that has to say `wanted`.
        events: Any of these.
    """

    name: str
    recipe: str
    label: str
    events: tuple[str, ...]

    @property
    def match(self) -> dict[str, str]:
        """What Prefect holds an event's resource against."""
        return {"prefect.resource.id": f"ganmill.recipe.{self.recipe}", self.label: "wanted"}


@dataclass(frozen=True)
class Plan:
    """One deployment.

    Attributes:
        flow: The name of its flow.
        name: Its own name: that of the recipe, with `:campaign` where it has one.
        description: One sentence for Prefect's page.
        parameters: What each of its runs is given.
        cron: When it runs by itself; None never.
        timezone: What the cron line is read in, an IANA name.
        follows: The events that start it.
        limit: How many of its runs may go on at once; None as many as come.
    """

    flow: str
    name: str
    description: str
    parameters: Mapping[str, Any]
    cron: str | None = None
    timezone: str = "UTC"
    follows: tuple[Follow, ...] = ()
    limit: int | None = 1

    @property
    def full_name(self) -> str:
        """Prefect's name for it, `flow/name`."""
        return f"{self.flow}/{self.name}"

    @property
    def tags(self) -> list[str]:
        """The tags of it and of its runs."""
        return [TAG, *([str(self.parameters["recipe"])] if self.parameters else [])]

    @property
    def entrypoint(self) -> str:
        """Where its flow is, as a module's path."""
        return ENTRYPOINTS[self.flow]

    @property
    def pool(self) -> str:
        """The work pool. Retrainings take hours and the whole machine: nothing waits for them."""
        return TRAIN_POOL if self.flow == "retrain" else POOL


def plans(layout: Layout) -> list[Plan]:
    """Return all deployments: four or more of every recipe, and the reconciling.

    Raises:
        RecipeError: `params.yaml` holds something impossible.
    """
    made = [each for recipe in load_recipes(layout.params).values() for each in _of_recipe(recipe)]
    description = "Finish what a kill left half done: runs, promotions, batches, locks."
    return [*made, Plan("reconcile", TAG, description, {}, RECONCILING.entry.cron)]


def _of_recipe(recipe: Recipe) -> Iterator[Plan]:
    name, given, schedule = recipe.name, {"recipe": recipe.name}, recipe.schedule
    yield Plan(
        "retrain",
        name,
        f"Check the data of {name}, train, measure, gate, promote, mint a batch.",
        # Nobody watches a schedule: what it finds half done under other data it sets aside.
        {**given, "fresh": True},
        *_when(recipe, schedule.retrain),
        tuple(_starting_retrain(recipe)),
    )
    yield Plan(
        "drift",
        name,
        f"Tell whether the images of {name} are still like those of its champion.",
        given,
        *_when(recipe, schedule.drift),
    )
    yield Plan(
        "generate",
        name,
        f"Mint a batch of {recipe.assets.wanted} assets from the champion of {name}.",
        given,
        *_when(recipe, schedule.generate),
        tuple(_starting_generate(recipe)),
    )
    for campaign, entry in schedule.campaigns.items():
        yield Plan(
            "generate",
            f"{name}:{campaign}",  # no recipe's name holds a colon
            f"Mint {recipe.assets.campaign(campaign).wanted} assets for {campaign}.",
            {**given, "campaign": campaign},
            *_when(recipe, entry),
        )
    yield Plan(
        "approve",
        name,
        f"Ask a person whether the challenger of {name} becomes its champion.",
        given,
        limit=None,  # no answer waits for a question that nobody answers
    )


def _when(recipe: Recipe, entry: "CronSpec | None") -> tuple[str | None, str]:
    return (entry.cron, recipe.schedule.timezone_of(entry)) if entry else (None, "UTC")


def _starting_retrain(recipe: Recipe) -> Iterator[Follow]:
    name, on = recipe.name, recipe.schedule.on
    if "drift" in on:
        yield Follow(f"{name}: a retraining follows a drift", name, RETRAIN, ("data.drifted",))
    if "data.accepted" in on:
        title = f"{name}: a retraining follows other images"
        yield Follow(title, name, RETRAIN, ("data.accepted",))


def _starting_generate(recipe: Recipe) -> Iterator[Follow]:
    name = recipe.name
    if "model.promoted" in recipe.schedule.on:
        title, events = f"{name}: generation follows the champion", ("model.promoted",)
        yield Follow(title, name, BATCH, (*events, "model.rolled_back"))
