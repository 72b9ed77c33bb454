"""What Prefect is to have: deployments, pools with a worker, limits, the watch for dead runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows import brief_http
from flows.doctor.finding import Finding, bad, few, ok, unknown, warn
from flows.schedules import prefect_view
from flows.schedules.automations import ZOMBIES
from flows.schedules.plans import POOL, TRAIN_POOL, Plan, plans
from flows.schedules.prefect_view import Pool
from flows.settings import Settings
from gan.errors import RecipeError, ServiceError
from gan.paths import Layout

_DEPLOY = "ganmill deploy"


@dataclass(frozen=True)
class Prefect:
    """What the server has.

    Attributes:
        deployed: Our deployments, as Prefect describes them.
        pools: Our work pools.
        watch: The automation for dead runs; None: there is none.
        late: Runs that should have begun.
    """

    deployed: Sequence[Mapping[str, Any]]
    pools: Sequence[Pool]
    watch: Mapping[str, Any] | None
    late: int


def schedules(layout: Layout, settings: Settings) -> list[Finding]:
    """Look at what `ganmill deploy` makes, and at who works for it."""
    try:
        wanted = plans(layout)
    except RecipeError:  # `recipes` tells of it
        wanted = []
    try:
        found = _ask(settings)
    except ServiceError as error:
        return [unknown("schedules", f"Prefect does not say: {error}")]
    by_clock = [plan for plan in wanted if plan.cron and plan.pool in {TRAIN_POOL, POOL}]
    return [
        _deployments(wanted, found.deployed),
        *(_pool(name, found.pools, by_clock) for name in (TRAIN_POOL, POOL)),
        _limits(wanted, found.deployed),
        _watch(found.watch),
        *_late(found.late),
    ]


def _ask(settings: Settings) -> Prefect:
    """Return what the server has.

    Raises:
        ServiceError: It does not answer, or refuses.
    """
    prefect = brief_http.prefect(settings)
    named = {"automations": {"name": {"any_": [ZOMBIES]}}}
    with prefect.understood():
        watches = prefect.read("/automations/filter", named)
        return Prefect(
            deployed=prefect_view.deployments(prefect),
            pools=prefect_view.pools(prefect, (TRAIN_POOL, POOL)),
            watch=watches[0] if watches else None,
            late=prefect_view.late(prefect),
        )


def _deployments(wanted: Sequence[Plan], deployed: Sequence[Mapping[str, Any]]) -> Finding:
    there = {f"{each['flow_name']}/{each['name']}": each for each in deployed}
    missing = [plan.full_name for plan in wanted if plan.full_name not in there]
    if missing:
        says = f"{len(missing)} of {len(wanted)} are not there: {few(missing)}"
        return bad("deployments", says, _DEPLOY)
    other = [
        plan.full_name for plan in wanted if _schedule(there[plan.full_name]) != _planned(plan)
    ]
    if other:
        return bad("deployments", f"with another schedule than params.yaml: {few(other)}", _DEPLOY)
    paused = [plan.full_name for plan in wanted if plan.cron and _is_paused(there[plan.full_name])]
    if paused:
        return warn("deployments", f"paused: {few(paused)}", _resume(paused[0]))
    return ok("deployments", f"{len(wanted)}, as params.yaml wants them")


def _pool(name: str, pools: Sequence[Pool], by_clock: Sequence[Plan]) -> Finding:
    pool = next((each for each in pools if each.name == name), None)
    if pool is None:
        return bad(f"pool {name}", "is not there: nothing scheduled begins", _DEPLOY)
    says = f"queued {pool.queued}, running {pool.running}, workers {pool.workers}"
    title = f"pool {name}"
    if pool.is_paused:
        return warn(title, f"{says}; it is paused", f"prefect work-pool resume {name}")
    if pool.limit == 0:
        mend = f"prefect work-pool clear-concurrency-limit {name}"
        return bad(title, f"{says}; its limit is 0, so nothing begins", mend)
    if not pool.workers:
        said = f"no worker gives a sign of life{_since(pool.seen)}; {pool.queued} runs wait"
        waited = pool.queued or any(plan.pool == name for plan in by_clock)
        return (bad if waited else warn)(title, said, "ganmill up   (or ganmill worker)")
    return ok(title, says)


def _limits(wanted: Sequence[Plan], deployed: Sequence[Mapping[str, Any]]) -> Finding:
    """Look at whether each deployment runs no more at once than it may."""
    there = {f"{each['flow_name']}/{each['name']}": each for each in deployed}
    free = [
        plan.full_name
        for plan in wanted
        if plan.limit is not None
        and plan.full_name in there
        and _limit(there[plan.full_name]) != plan.limit
    ]
    if free:
        return warn("limits", f"not as they should be: {few(free)}", _DEPLOY)
    return ok("limits", "one run of each deployment at once")


def _watch(found: Mapping[str, Any] | None) -> Finding:
    if found is None:
        says = "is not there: a killed run looks alive until `reconcile` comes"
        return warn("dead-run watch", says, _DEPLOY)
    if not found["enabled"]:
        return warn("dead-run watch", "is switched off in Prefect", "switch it on: Automations")
    return ok("dead-run watch", "marks runs whose heartbeat stopped")


def _late(count: int) -> list[Finding]:
    if not count:
        return []
    return [warn("late runs", f"{count} should have begun", "ganmill status; ganmill up")]


def _schedule(deployed: Mapping[str, Any]) -> tuple[str | None, str]:
    each = deployed["schedules"][0]["schedule"] if deployed["schedules"] else {}
    return each.get("cron"), each.get("timezone") or "UTC"


def _planned(plan: Plan) -> tuple[str | None, str]:
    return plan.cron, plan.timezone if plan.cron else "UTC"


def _is_paused(deployed: Mapping[str, Any]) -> bool:
    return bool(deployed["paused"]) or not any(each["active"] for each in deployed["schedules"])


def _resume(name: str) -> str:
    """Return the command that resumes a deployment, `flow/recipe` or `generate/recipe:campaign`."""
    flow, _, rest = name.partition("/")
    recipe, mark, campaign = rest.partition(":")
    return f"ganmill schedule {recipe} --resume {flow}{mark}{campaign}"


def _limit(deployed: Mapping[str, Any]) -> int | None:
    found = deployed.get("global_concurrency_limit") or {}
    return found.get("limit") if found.get("active") else None


def _since(seen: datetime | None) -> str:
    return f" since {seen.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if seen else ""
