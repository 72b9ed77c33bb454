"""Schedules: every recipe's flows as Prefect deployments, served by one process beside the servers.

    python -m flows.deploy        started by `ganmill up`, ended by `ganmill down`

A recipe's `schedule` gives cron lines; without them the deployments wait for the Run button.
"""

import os
import sys
from typing import Any

from flows.settings import load_settings, quiet_environment, workspace
from gan.errors import GanmillError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes


def deployments(layout: Layout) -> list[Any]:
    """Return the Prefect deployments of every recipe, two each.

    Raises:
        RecipeError: `params.yaml` holds something impossible.
    """
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from flows.generate import generate
    from flows.retrain import retrain

    made = []
    for recipe in load_recipes(layout.params).values():
        for verb, cron in (
            (retrain, recipe.schedule.retrain),
            (generate, recipe.schedule.generate),
        ):
            made.append(
                verb.to_deployment(
                    name=recipe.name,
                    description=_description(recipe, verb.name),
                    parameters={"recipe": recipe.name},
                    tags=["ganmill", recipe.name],
                    schedule=Cron(cron, timezone=recipe.schedule.timezone) if cron else None,
                    concurrency_limit=1,
                    entrypoint_type=EntrypointType.MODULE_PATH,
                )
            )
    return made


def main() -> int:
    """Serve the deployments until stopped; return the exit code."""
    try:
        layout = workspace()
        os.environ.update(quiet_environment(load_settings(), layout))
        os.chdir(layout.root)
        from prefect import serve

        serve(*deployments(layout), pause_on_shutdown=False, limit=2)
    except GanmillError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _description(recipe: Recipe, verb: str) -> str:
    if verb == "retrain":
        return f"Check the data of {recipe.name}, train, measure, gate, promote, mint a batch."
    return f"Mint a batch of {recipe.assets.count} assets from the champion of {recipe.name}."


if __name__ == "__main__":
    sys.exit(main())
