"""Prefect's automations of ours: events that start deployments, and the watch for dead runs.

They are kept by `flows.schedules.deploy`, each as it is where nothing about it changed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from flows.schedules.plans import TAG, Follow, Plan

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

_PAGE = 200  # Prefect's own limit
# Ten beats of `settings.quiet_environment`, so that a busy machine is not taken for a dead one: a
# worker tells of a run that dies at once, and this is for machines that are gone.
DEAD_AFTER_SECONDS = 300
ZOMBIES = "ganmill: a run without a heartbeat is marked as crashed"
# An approval is suspended: no process, no beat, and it is alive for days.
_BEATING = ("retrain", "generate", "drift", "reconcile")
_HEARTBEAT = "prefect.flow-run.heartbeat"
# The names of states in which no more beats come. `Skipped` is a late run that was passed over.
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Skipped", "Cached",
         "RolledBack", "Paused", "Suspended", "AwaitingRetry")  # fmt: skip


def starting(client: "SyncPrefectClient") -> dict[Any, list[Any]]:
    """Return the automations that start a deployment, and do nothing else, by its id."""
    found: dict[Any, list[Any]] = defaultdict(list)
    for each in all_pages(client.read_automations):
        if len(each.actions) == 1:  # whose it is, the server does not tell
            found[getattr(each.actions[0], "deployment_id", None)].append(each)
    return found


def follow(
    client: "SyncPrefectClient", plan: Plan, deployment: "UUID", known: Sequence[Any]
) -> None:
    """Make the automations of a deployment those that are planned."""
    wanted = [_trigger(each, deployment) for each in plan.follows]
    prefix = f"{plan.tags[-1]}: "  # a person may have made others
    ours = [_gist(each) for each in known if each.name.startswith(prefix)]
    if sorted(ours, key=str) == sorted([_gist(each) for each in wanted], key=str):
        return
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")
    for each in wanted:
        client.create_automation(each)


def _trigger(follow: Follow, deployment: "UUID") -> "AutomationCore":
    from prefect.events import DeploymentEventTrigger

    trigger = DeploymentEventTrigger(
        name=follow.name, match={**follow.match}, expect=set(follow.events)
    )
    trigger.set_deployment_id(deployment)
    return trigger.as_automation()


def watch_for_the_dead(client: "SyncPrefectClient") -> None:
    """Have the server mark a run of ours as crashed whose heartbeats stopped.

    A run that ended is none of its business: the server takes no crash of those.
    """
    wanted = _zombie_watch()
    known = client.read_automations_by_name(wanted.name)
    if not known:
        client.create_automation(wanted)
    elif _gist(known[0]) != _gist(wanted):
        client.update_automation(known[0].id, wanted)


def _zombie_watch() -> "AutomationCore":
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name=ZOMBIES,
        description="Kept by `ganmill deploy`.",
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in _ENDS)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[
                {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
                {"prefect.resource.role": "flow", "prefect.resource.name": list(_BEATING)},
            ],
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=timedelta(seconds=DEAD_AFTER_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message=f"Its process is dead: no heartbeat for {DEAD_AFTER_SECONDS} s.",
            )
        ],
    )


def _gist(automation: "AutomationCore") -> tuple[Any, ...]:
    """Return what an automation does, without its id."""
    return automation.name, automation.trigger, automation.actions


def all_pages(read: Callable[..., list[Any]]) -> Iterator[Any]:
    """Yield what a reading of the client's has, however many pages that is."""
    for offset in count(0, _PAGE):
        page = read(limit=_PAGE, offset=offset)
        yield from page
        if len(page) < _PAGE:
            return
