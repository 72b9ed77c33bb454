"""Schedules and triggers: Prefect deployments, served by one process beside the servers.

    python -m flows.deploy        started by `ganmill up`, ended by `ganmill down`

    retrain/<recipe>     by its cron line, and when its images drifted and the recipe says so
    generate/<recipe>    by its cron line, and whenever the recipe's champion changed
    drift/<recipe>       by its cron line
    approve/<recipe>     asked for by a retraining that needs a person's word
    reconcile/ganmill    every ten minutes

Without a cron line a deployment waits for the Run button. Prefect being away costs what was due in
the meantime, which is late then; this process waits for it, and what runs goes on.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psutil
from httpx import HTTPError
from prefect.exceptions import PrefectException, TerminationSignal

from flows.notices import BATCH, RETRAIN
from flows.settings import load_settings, quiet_environment, workspace
from gan.errors import GanmillError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes

CHANGES = frozenset({"model.promoted", "model.rolled_back"})  # what generation follows
_TAG = "ganmill"
_POLL_SECONDS = 5.0
_AGAIN_SECONDS = 10.0
_RETRAININGS_AT_ONCE, _OTHERS_AT_ONCE = 2, 4
# Prefect's 5 tries end a runner, and with it what it runs, after some three minutes without an
# answer; each further try doubles that.
_TRIES = "8"


def deployments(layout: Layout) -> list[Any]:
    """Return the Prefect deployments: four of every recipe, and the reconciling.

    Raises:
        RecipeError: `params.yaml` holds something impossible.
    """
    from prefect.schedules import Cron

    from flows.reconcile import reconcile

    made = [each for recipe in load_recipes(layout.params).values() for each in _of_recipe(recipe)]
    description = "Finish what a kill left half done: runs, promotions, batches, locks."
    schedule = Cron("*/10 * * * *", timezone="UTC")
    return [*made, _deployment(reconcile, _TAG, description, {}, schedule)]


def main() -> int:
    """Serve the deployments until stopped; return the exit code."""
    try:
        layout = workspace()
        os.environ.update(quiet_environment(load_settings(), layout))
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", _TRIES)
        os.chdir(layout.root)
        asyncio.run(_serve(layout))
    except GanmillError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, TerminationSignal):
        print("stopped", file=sys.stderr)
    return 0


def _of_recipe(recipe: Recipe) -> list[Any]:
    from prefect.events import DeploymentEventTrigger
    from prefect.schedules import Cron

    from flows.approve import approve
    from flows.drift_flow import drift
    from flows.generate import generate
    from flows.retrain import retrain

    name, given = recipe.name, {"recipe": recipe.name}

    def cron(line: str | None) -> Any:
        return Cron(line, timezone=recipe.schedule.timezone) if line else None

    follows = DeploymentEventTrigger(
        name=f"{name}: generation follows the champion",
        match={"prefect.resource.id": f"ganmill.recipe.{name}", BATCH: "wanted"},
        expect=set(CHANGES),
    )
    drifted = DeploymentEventTrigger(
        name=f"{name}: a retraining follows a drift",
        match={"prefect.resource.id": f"ganmill.recipe.{name}", RETRAIN: "wanted"},
        expect={"data.drifted"},
    )
    return [
        _deployment(
            retrain,
            name,
            f"Check the data of {name}, train, measure, gate, promote, mint a batch.",
            # Nobody watches a schedule: what it finds half done under other data it sets aside.
            {**given, "fresh": True},
            cron(recipe.schedule.retrain),
            triggers=[drifted],
        ),
        _deployment(
            drift,
            name,
            f"Tell whether the images of {name} are still like those of its champion.",
            given,
            cron(recipe.schedule.drift),
        ),
        _deployment(
            generate,
            name,
            f"Mint a batch of {recipe.assets.wanted} assets from the champion of {name}.",
            given,
            cron(recipe.schedule.generate),
            triggers=[follows],
        ),
        *(
            _deployment(
                generate,
                f"{name}:{campaign}",  # no recipe's name holds a colon
                f"Mint {recipe.assets.campaign(campaign).wanted} assets for {campaign}.",
                {**given, "campaign": campaign},
                cron(line),
            )
            for campaign, line in recipe.schedule.campaigns.items()
        ),
        _deployment(
            approve,
            name,
            f"Ask a person whether the challenger of {name} becomes its champion.",
            given,
            concurrency_limit=None,  # no answer waits for a question that nobody answers
        ),
    ]


def _deployment(
    flow: Any,
    name: str,
    description: str,
    parameters: Mapping[str, Any],
    schedule: Any = None,
    triggers: Sequence[Any] = (),
    concurrency_limit: int | None = 1,
) -> Any:
    from prefect.types.entrypoint import EntrypointType

    return flow.to_deployment(
        name=name,
        description=description,
        parameters=dict(parameters),
        tags=[_TAG, *([str(parameters["recipe"])] if parameters else [])],
        schedule=schedule,
        triggers=list(triggers),
        concurrency_limit=concurrency_limit,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


@dataclass(frozen=True)
class _Runners:
    """Who starts the runs that are due.

    Retrainings have a runner of their own: they take hours and the whole machine, and nothing else
    may wait for them. Approvals suspend, so that none takes up a place while a person thinks.
    """

    retrain: Any
    others: Any

    async def add(self, deployment: Any) -> UUID:
        """Make a deployment known to the server, and its runs to the one who starts them."""
        runner = self.retrain if deployment.flow_name == "retrain" else self.others
        found: UUID = await runner.aadd_deployment(deployment)
        return found


async def _serve(layout: Layout) -> None:
    """Serve for ever; a Prefect server that is away for long, or new, is met again."""
    while True:
        try:
            await _serve_while_answered(layout)
        except* (OSError, HTTPError, PrefectException, RuntimeError) as problems:
            said = f"Prefect does not answer; trying again: {_first(problems)}"
            print(said, file=sys.stderr, flush=True)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _serve_while_answered(layout: Layout) -> None:
    """Run what is due, and follow the recipes as `params.yaml` changes."""
    from prefect.runner import Runner

    runners = _Runners(
        Runner(name="ganmill-retrain", pause_on_shutdown=False, limit=_RETRAININGS_AT_ONCE),
        Runner(
            name="ganmill",
            pause_on_shutdown=False,
            limit=_OTHERS_AT_ONCE,
            query_seconds=_POLL_SECONDS,
        ),
    )
    seen = layout.params.stat().st_mtime_ns
    await _renew(runners, layout)
    async with asyncio.TaskGroup() as group:
        group.create_task(_follow(runners, layout, seen))
        group.create_task(_notice_absence())
        group.create_task(runners.retrain.start())
        group.create_task(runners.others.start())


async def _notice_absence() -> None:
    """End the serving after the server was away, once nothing runs.

    Prefect's runners give up hearing of cancellations after seconds without an answer, for good;
    new ones hear again.

    Raises:
        RuntimeError: The server was away, and is back.
    """
    from prefect import get_client

    was_away = False
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        async with get_client() as client:
            is_away = await client.api_healthcheck() is not None
        was_away = was_away or is_away
        if was_away and not is_away and not psutil.Process().children():
            raise RuntimeError("it was away; serving anew")


async def _follow(runners: _Runners, layout: Layout, seen: int) -> None:
    """Renew the deployments whenever `params.yaml` was written; a mistake in it is said once."""
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            now = layout.params.stat().st_mtime_ns
            if now == seen:
                continue
            seen = now
            await _renew(runners, layout)
        except (OSError, GanmillError, HTTPError, PrefectException) as error:
            print(f"the schedules stay as they are: {error}", file=sys.stderr, flush=True)


async def _renew(runners: _Runners, layout: Layout) -> None:
    """Make the server's deployments those of the recipes: new, changed, and gone ones."""
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    wanted = [await runners.add(each) for each in await asyncio.to_thread(deployments, layout)]
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG]))
    async with get_client() as client:
        for known in await client.read_deployments(deployment_filter=ours):
            if known.id not in wanted:  # the server would leave its triggers behind
                await client.delete_resource_owned_automations(f"prefect.deployment.{known.id}")
                await client.delete_deployment(known.id)
    print(f"serving {len(wanted)} deployments", file=sys.stderr, flush=True)


def _first(problems: BaseException) -> str:
    """Return the first line of the first real error in a group."""
    while isinstance(problems, BaseExceptionGroup):
        problems = problems.exceptions[0]
    return f"{type(problems).__name__}: {problems}".split("\n", 1)[0]


if __name__ == "__main__":
    sys.exit(main())
