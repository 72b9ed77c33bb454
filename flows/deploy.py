"""Schedules: every recipe's flows as Prefect deployments, served by one process beside the servers.

    python -m flows.deploy        started by `ganmill up`, ended by `ganmill down`

A recipe's `schedule` gives cron lines; without them the deployments wait for the Run button.
"""

import asyncio
import os
import sys
from typing import Any

from httpx import HTTPError
from prefect.exceptions import PrefectException, TerminationSignal

from flows.settings import load_settings, quiet_environment, workspace
from gan.errors import GanmillError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes

_TAG = "ganmill"
_POLL_SECONDS = 5.0


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
        # Nobody watches a schedule: what it finds half done under other data it sets aside.
        for verb, cron, more in (
            (retrain, recipe.schedule.retrain, {"fresh": True}),
            (generate, recipe.schedule.generate, {}),
        ):
            made.append(
                verb.to_deployment(
                    name=recipe.name,
                    description=_description(recipe, verb.name),
                    parameters={"recipe": recipe.name, **more},
                    tags=[_TAG, recipe.name],
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
        asyncio.run(_serve(layout))
    except GanmillError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, TerminationSignal):
        print("stopped", file=sys.stderr)
    return 0


async def _serve(layout: Layout) -> None:
    """Run what is due, and follow the recipes as `params.yaml` changes."""
    from prefect.runner import Runner

    runner = Runner(name="ganmill", pause_on_shutdown=False, limit=2)
    seen = layout.params.stat().st_mtime_ns
    await _renew(runner, layout)
    following = asyncio.create_task(_follow(runner, layout, seen))
    try:
        await runner.start()
    finally:
        following.cancel()


async def _follow(runner: Any, layout: Layout, seen: int) -> None:
    """Renew the deployments whenever `params.yaml` was written; a mistake in it is said once."""
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            now = layout.params.stat().st_mtime_ns
            if now == seen:
                continue
            seen = now
            await _renew(runner, layout)
        except (OSError, GanmillError, HTTPError, PrefectException) as error:
            print(f"the schedules stay as they are: {error}", file=sys.stderr, flush=True)


async def _renew(runner: Any, layout: Layout) -> None:
    """Make the server's deployments those of the recipes: new, changed, and gone ones."""
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    wanted = [
        await runner.aadd_deployment(each) for each in await asyncio.to_thread(deployments, layout)
    ]
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG]))
    async with get_client() as client:
        for known in await client.read_deployments(deployment_filter=ours):
            if known.id not in wanted:
                await client.delete_deployment(known.id)
    print(f"serving {len(wanted)} deployments", file=sys.stderr, flush=True)


def _description(recipe: Recipe, verb: str) -> str:
    if verb == "retrain":
        return f"Check the data of {recipe.name}, train, measure, gate, promote, mint a batch."
    return f"Mint a batch of {recipe.assets.count} assets from the champion of {recipe.name}."


if __name__ == "__main__":
    sys.exit(main())
