"""What the Prefect server knows of the mill: pools, schedules, runs. Read only, and quick.

By its HTTP API and nothing else, so that `ganmill status` does not wait for Prefect's library. Each
function raises ServiceError when the server is away or refuses.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flows.brief_http import Asked
from flows.schedules.plans import TAG

SKIPPED = "Skipped"  # how a run is named that its schedule passed over
_AT_WORK = ("RUNNING", "CANCELLING", "PENDING")
_PAGE = 200  # Prefect's own limit
_AT_ONCE = 8


@dataclass(frozen=True)
class Pool:
    """A work pool.

    Attributes:
        name: Of the pool.
        kind: process, kubernetes ...
        is_paused: Whether somebody paused it.
        limit: How many of its runs may go on at once; None: as many as come.
        queued: Runs that are due and have not begun.
        running: Runs that have begun and not ended.
        workers: Those that gave a sign of life lately.
        seen: When the last sign of a worker came, if there ever was one.
    """

    name: str
    kind: str
    is_paused: bool
    limit: int | None
    queued: int
    running: int
    workers: int
    seen: datetime | None


@dataclass(frozen=True)
class Run:
    """A flow run.

    Attributes:
        id: As its page's address ends.
        name: Of the run.
        recipe: It is about, "" of all.
        state: Of Prefect, in lower case: completed, failed, crashed, running ...
        at: When it ended, or began if it has not ended.
        message: What its state says.
    """

    id: str
    name: str
    recipe: str
    state: str
    at: datetime
    message: str


@dataclass(frozen=True)
class Coming:
    """A deployment with a schedule.

    Attributes:
        name: `flow/deployment`, as Prefect's own command names it.
        flow: Of it.
        recipe: It is about, "" of all.
        is_paused: Whether it, or each of its schedules, is paused.
        at: When it runs next; None: it does not.
    """

    name: str
    flow: str
    recipe: str
    is_paused: bool
    at: datetime | None


def deployments(prefect: Asked) -> list[dict[str, Any]]:
    """Return the deployments that are ours, as Prefect describes them, with their flow's name."""
    rule = {"deployments": {"tags": {"all_": [TAG]}}}
    found = _all(prefect, "/deployments/filter", rule)
    ids = sorted({each["flow_id"] for each in found})
    flows = _all(prefect, "/flows/filter", {"flows": {"id": {"any_": ids}}}) if ids else []
    names = {each["id"]: each["name"] for each in flows}
    return [{**each, "flow_name": names.get(each["flow_id"], "")} for each in found]


def pools(prefect: Asked, names: Iterable[str]) -> list[Pool]:
    """Return the work pools of these names that there are."""
    wanted = sorted(set(names))
    if not wanted:
        return []
    rule = {"work_pools": {"name": {"any_": wanted}}}
    found = prefect.read("/work_pools/filter", rule)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(lambda each: _pool(prefect, each), found))


def coming(prefect: Asked, deployed: Iterable[Mapping[str, Any]]) -> list[Coming]:
    """Return the deployments that have a schedule, with their next run, the soonest first."""
    scheduled = [each for each in deployed if each["schedules"]]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = list(threads.map(lambda each: _next(prefect, each), scheduled))
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda each: (each.at or never, each.name))


def last_runs(prefect: Asked, flow: str) -> dict[str, Run]:
    """Return the newest run of a flow for each recipe that had one among the last 200.

    One that its schedule passed over does not count.
    """
    rule = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"start_time": {"is_null_": False}},
        "sort": "START_TIME_DESC",
        "limit": _PAGE,
    }
    newest: dict[str, Run] = {}
    for each in prefect.read("/flow_runs/filter", rule):
        if each["state_name"] != SKIPPED:
            run = _run(each)
            newest.setdefault(run.recipe, run)
    return newest


def late(prefect: Asked) -> int:
    """Return how many runs of ours should have begun and did not, by Prefect's own reckoning."""
    rule = {
        "deployments": {"tags": {"all_": [TAG]}},
        "flow_runs": {"state": {"name": {"any_": ["Late"]}}},
    }
    return int(prefect.read("/flow_runs/count", rule))


def moment(text: str | None) -> datetime | None:
    """Return a time of Prefect's as UTC, None for none."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _all(prefect: Asked, path: str, rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every row of a filter; Prefect gives at most 200 at a time."""
    rows: list[dict[str, Any]] = []
    while True:
        page = prefect.read(path, {**rule, "limit": _PAGE, "offset": len(rows)})
        rows += page
        if len(page) < _PAGE:
            return rows


def _pool(prefect: Asked, found: Mapping[str, Any]) -> Pool:
    name = found["name"]
    workers = prefect.read(f"/work_pools/{name}/workers/filter", {})
    signs = [moment(each["last_heartbeat_time"]) for each in workers]
    due = {"before_": datetime.now(UTC).isoformat()}
    return Pool(
        name=name,
        kind=found["type"],
        is_paused=bool(found["is_paused"]),
        limit=found["concurrency_limit"],
        queued=_count(prefect, name, ("SCHEDULED",), {"expected_start_time": due}),
        running=_count(prefect, name, _AT_WORK, {}),
        workers=sum(each["status"] == "ONLINE" for each in workers),
        seen=max((sign for sign in signs if sign), default=None),
    )


def _count(prefect: Asked, pool: str, states: Iterable[str], more: Mapping[str, Any]) -> int:
    rule = {
        "work_pools": {"name": {"any_": [pool]}},
        "flow_runs": {"state": {"type": {"any_": list(states)}}, **more},
    }
    return int(prefect.read("/flow_runs/count", rule))


def _next(prefect: Asked, found: Mapping[str, Any]) -> Coming:
    paused = bool(found["paused"]) or not any(each["active"] for each in found["schedules"])
    rule = {
        "deployments": {"id": {"any_": [found["id"]]}},
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": datetime.now(UTC).isoformat()},
        },
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    ahead = [] if paused else prefect.read("/flow_runs/filter", rule)
    return Coming(
        name=f"{found['flow_name']}/{found['name']}",
        flow=found["flow_name"],
        recipe=str((found["parameters"] or {}).get("recipe", "")),
        is_paused=paused,
        at=moment(ahead[0]["expected_start_time"]) if ahead else None,
    )


def _run(found: Mapping[str, Any]) -> Run:
    at = moment(found["end_time"] or found["start_time"])
    return Run(
        id=str(found["id"]),
        name=found["name"],
        recipe=str((found["parameters"] or {}).get("recipe", "")),
        state=str(found["state_name"] or found["state_type"]).lower(),
        at=at or datetime.now(UTC),
        message=" ".join(str((found["state"] or {}).get("message") or "").split()),
    )
