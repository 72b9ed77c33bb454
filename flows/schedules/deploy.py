"""Deploy to Prefect: work pools, deployments, what starts them, and the watch for dead runs.

    python -m flows.schedules.deploy        by the worker, whenever `params.yaml` changed

`apply` makes the server have what `plans` says, and nothing of ours that it does not say. What
is there already stays as it is, with its id, its planned runs, and whether a person paused it.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flows._prefect import brief_client
from flows.schedules import automations
from flows.schedules.plans import POOL, TAG, TRAIN_POOL, Plan, plans
from flows.settings import Settings, load_settings, quiet_environment, workspace
from gan.durable import run_lock
from gan.errors import GanmillError, ServiceError
from gan.paths import Layout

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

START = "python -m flows.schedules.start prefect.engine"
_SECONDS, _AGAIN = 30.0, 3
_TURN_SECONDS = 120.0
_POOLS = {
    TRAIN_POOL: "Retrainings of ganmill. A worker runs as many at once as GANMILL_TRAININGS says.",
    POOL: "All that ganmill runs beside its retrainings: batches, drift, approvals, reconciling.",
}


@dataclass(frozen=True)
class Applied:
    """What Prefect has now.

    Attributes:
        deployments: How many.
        pools: The names of the work pools.
    """

    deployments: int
    pools: tuple[str, ...]


def apply(layout: Layout, settings: Settings) -> Applied:
    """Make Prefect's pools, deployments, triggers and zombie watch those of the workspace.

    Twice is as good as once. A deployment of a recipe or campaign that is gone from `params.yaml`
    goes, with its triggers; those of other workspaces on the same server stay.

    Raises:
        BusyError: Another process deploys from this workspace, and does not come to an end.
        RecipeError: `params.yaml` holds something impossible; nothing was changed.
        ServiceError: Prefect does not answer, or refuses.
    """
    wanted = plans(layout)
    with _turn(layout), _prefect(settings) as client:
        kinds = {name: _pool(client, name) for name in _POOLS}
        known = _known(client)
        starting = automations.starting(client)
        kept = set()
        for plan in wanted:
            variables = job_variables(layout, kinds[plan.pool])
            deployment = _deploy(client, plan, variables, known.get(plan.full_name))
            automations.follow(client, plan, deployment, starting[deployment])
            kept.add(deployment)
        for each in known.values():
            if each.id not in kept and _is_ours(each, layout):
                # The server would leave its triggers behind.
                client.delete_resource_owned_automations(f"prefect.deployment.{each.id}")
                client.delete_deployment(each.id)
        automations.watch_for_the_dead(client)
    return Applied(len(wanted), tuple(_POOLS))


@contextmanager
def _turn(layout: Layout) -> Iterator[None]:
    """Wait for another who deploys from here: together they would make triggers twice."""
    with run_lock(layout.lock("deploy"), "deploying", patience_seconds=_TURN_SECONDS):
        yield


@contextmanager
def _prefect(settings: Settings) -> Iterator["SyncPrefectClient"]:
    try:
        with brief_client(settings, seconds=_SECONDS, tries_again=_AGAIN) as client:
            yield client
    except ServiceError as error:
        raise ServiceError(f"Prefect: {error}. Start it with: ganmill up") from error


def job_variables(layout: Layout, kind: str) -> dict[str, Any]:
    """Return how a pool of a kind is to start runs of this workspace.

    Where a process is started, it is in the workspace, whoever hosts the worker.
    """
    return {"command": START, "working_dir": str(layout.root)} if kind == "process" else {}


def _pool(client: "SyncPrefectClient", name: str) -> str:
    """Return the type of a pool, which is made if there is none."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        return str(client.read_work_pool(name).type)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        made = WorkPoolCreate(
            name=name, type="process", description=_POOLS[name], base_job_template=template
        )
        client.create_work_pool(made)
        return "process"


def _known(client: "SyncPrefectClient") -> dict[str, Any]:
    """Return the deployments with our tag by full name."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    read = partial(client.read_deployments, deployment_filter=ours)
    flows = cache(lambda flow_id: client.read_flow(flow_id).name)
    return {f"{flows(each.flow_id)}/{each.name}": each for each in automations.all_pages(read)}


def _deploy(
    client: "SyncPrefectClient", plan: Plan, variables: Mapping[str, Any], known: Any
) -> "UUID":
    """Make one deployment as planned; return its id. One that is so already is not touched.

    Prefect forgets the planned runs and the pauses of what is written again.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.utilities.callables import parameter_schema

    module, _, name = plan.entrypoint.rpartition(".")
    asks = parameter_schema(getattr(import_module(module), name)).model_dump(exclude_unset=True)
    if known is not None and _is_as_planned(known, plan, variables, asks):
        return known.id  # type: ignore[no-any-return]  # as Prefect's client has it
    is_active = all(each.active for each in known.schedules) if known is not None else True
    schedule = plan.cron and DeploymentScheduleCreate(
        schedule=CronSchedule(cron=plan.cron, timezone=plan.timezone), active=is_active
    )
    return client.create_deployment(
        client.create_flow_from_name(plan.flow),
        plan.name,
        schedules=[schedule] if schedule else [],
        concurrency_limit=plan.limit,
        parameters=dict(plan.parameters),
        description=plan.description,
        work_pool_name=plan.pool,
        tags=plan.tags,
        entrypoint=plan.entrypoint,
        parameter_openapi_schema=asks,
        pull_steps=[],
        enforce_parameter_schema=True,
        job_variables=dict(variables),
    )


def _is_as_planned(
    known: Any, plan: Plan, variables: Mapping[str, Any], asks: Mapping[str, Any]
) -> bool:
    """Return whether a deployment is what is planned; a pause is no difference."""
    limit = known.global_concurrency_limit
    has = (
        known.parameters,
        known.description,
        known.work_pool_name,
        sorted(known.tags),
        known.entrypoint,
        known.parameter_openapi_schema,
        known.job_variables,
        known.pull_steps or [],
        limit.limit if limit else None,
        [
            (getattr(each.schedule, "cron", None), getattr(each.schedule, "timezone", None))
            for each in known.schedules
        ],
    )
    return has == (
        plan.parameters,
        plan.description,
        plan.pool,
        sorted(plan.tags),
        plan.entrypoint,
        asks,
        variables,
        [],
        plan.limit,
        [(plan.cron, plan.timezone)] if plan.cron else [],
    )


def _is_ours(known: Any, layout: Layout) -> bool:
    """Return whether a deployment was made from this workspace, as far as it tells."""
    return known.job_variables.get("working_dir") in {None, str(layout.root)}


def main() -> int:
    """Apply once, and say so; return the exit code."""
    try:
        layout, settings = workspace(), load_settings()
        os.environ.update(quiet_environment(settings, layout))
        done = apply(layout, settings)
    except GanmillError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{done.deployments} deployments on work pools {', '.join(done.pools)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
