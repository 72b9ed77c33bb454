"""What Prefect knows of pools, workers and runs, asked over its REST API in a few short requests.

Not by Prefect's own client, which is most of the memory of a small process.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flows import brief_http
from flows.monitor.snapshot import FLOWS, Late, Pool, Run, RunKey, RunState, Schedules
from flows.schedules import prefect_view
from flows.schedules.prefect_view import SKIPPED
from flows.settings import Settings
from gan.errors import ServiceError
from gan.sections.production import DEFAULT_CAMPAIGN

NO_POOL = "none"
_SECONDS = 10.0  # a busy SQLite takes its time
_AT_MOST = 200  # Prefect's own limit for one answer
_NEWEST = 20  # runs that may end between two rounds
_ASKED = (*FLOWS, "approve")
_ENDS: Mapping[str, RunState] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "crashed",
    "CANCELLED": "cancelled",
}
_SERVERLESS = (":push", ":managed")  # kinds of pools whose runs Prefect itself starts
_MOVING = ("PENDING", "RUNNING", "CANCELLING")


class ScheduleReader:
    """Asks Prefect again and again; what ended before is remembered, and asked for once."""

    def __init__(self, settings: Settings) -> None:
        """Ask the server of these settings, with the login that its own clients use."""
        self._prefect = replace(brief_http.prefect(settings), seconds=_SECONDS)
        self._last: dict[RunKey, Run] = {}
        self._succeeded: dict[RunKey, datetime] = {}
        self._has_begun = False

    def read(self, products: Iterable[tuple[str, str]] | None, now: datetime) -> Schedules:
        """Return what Prefect knows at this moment.

        Args:
            products: Recipes and campaigns whose runs are told; None: all that runs name.
            now: The present.

        Raises:
            ServiceError: It does not answer, or not as Prefect does.
        """
        known = None if products is None else {("", ""), *products}
        try:
            asked = self._prefect.read("/flows/filter", {"flows": _named(_ASKED)})
            flows = {each["id"]: each["name"] for each in asked}
            self._take_ended(flows)
            waiting = self._runs(("SCHEDULED",), "EXPECTED_START_TIME_ASC", due_before=now)
            moving = self._runs(_MOVING, "EXPECTED_START_TIME_ASC")
            pools = self._pools(waiting, moving)
            late = tuple(_late(run, flows, moving) for run in waiting)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError(f"Prefect says what it never said ({error!r}).") from error

        def is_known(key: RunKey) -> bool:
            return known is None or key[1:] in known

        return Schedules(
            pools,
            {key: run for key, run in self._last.items() if is_known(key)},
            {key: ended for key, ended in self._succeeded.items() if is_known(key)},
            tuple(run for run in late if is_known(run.key)),
        )

    def _take_ended(self, flows: Mapping[str, str]) -> None:
        """Take the runs that ended lately; the first time of each flow apart, further back."""
        asks = [_ASKED] if self._has_begun else [(name,) for name in FLOWS]
        limit = _NEWEST if self._has_begun else _AT_MOST
        for names in asks:
            for found in self._runs(tuple(_ENDS), "END_TIME_DESC", names=names, limit=limit):
                if found["end_time"] and flows.get(found["flow_id"]) in FLOWS:
                    self._take(_ended(found, flows[found["flow_id"]]))
        self._has_begun = True

    def _take(self, run: Run) -> None:
        known = self._last.get(run.key)
        if run.state != "skipped" and (known is None or known.ended <= run.ended):
            self._last[run.key] = run
        if run.state == "completed":
            self._succeeded[run.key] = max(run.ended, self._succeeded.get(run.key, run.ended))

    def _pools(
        self, waiting: Sequence[Mapping[str, Any]], moving: Sequence[Mapping[str, Any]]
    ) -> tuple[Pool, ...]:
        deployed = prefect_view.deployments(self._prefect)
        scheduled = {
            each["work_pool_name"]
            for each in deployed
            if not each["paused"] and any(one["active"] for one in each["schedules"])
        }
        names = [each["work_pool_name"] for each in deployed if each["work_pool_name"]]
        pools = [
            Pool(
                name=found.name,
                has_schedules=found.name in scheduled and not found.is_paused,
                workers=None if found.kind.endswith(_SERVERLESS) else found.workers,
                waiting=found.queued,
                running=found.running,
                oldest_due=_oldest(waiting, found.name),
            )
            for found in prefect_view.pools(self._prefect, names)
        ]
        due, busy = (Counter(run["work_pool_name"] for run in each) for each in (waiting, moving))
        by_hand = Pool(
            name=NO_POOL,
            has_schedules=False,
            workers=None,
            waiting=due[None],
            running=busy[None],
            oldest_due=_oldest(waiting, None),
        )
        return (*sorted(pools, key=lambda pool: pool.name), by_hand)

    def _runs(
        self,
        states: Sequence[str],
        sort: str,
        *,
        names: Sequence[str] = _ASKED,
        limit: int = _AT_MOST,
        due_before: datetime | None = None,
    ) -> list[dict[str, Any]]:
        runs: dict[str, Any] = {"state": {"type": {"any_": list(states)}}}
        if due_before:
            runs["expected_start_time"] = {"before_": due_before.isoformat()}
        rule = {"flows": _named(names), "flow_runs": runs, "sort": sort, "limit": limit}
        found: list[dict[str, Any]] = self._prefect.read("/flow_runs/filter", rule)
        return found


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {"name": {"any_": list(names)}}


def _oldest(waiting: Sequence[Mapping[str, Any]], pool: str | None) -> datetime | None:
    due = [_time(run["expected_start_time"]) for run in waiting if run["work_pool_name"] == pool]
    return min(due, default=None)


def _ended(run: Mapping[str, Any], flow: str) -> Run:
    return Run(
        key=_key(run, flow),
        state="skipped" if run["state_name"] == SKIPPED else _ENDS[run["state_type"]],
        ended=_time(run["end_time"]),
        seconds=float(run["total_run_time"]),
        message=" ".join(str(run["state"].get("message") or "").split()),
        is_by_hand=run["deployment_id"] is None,
    )


def _late(run: Mapping[str, Any], flows: Mapping[str, str], moving: Any) -> Late:
    place = ("work_pool_name", "deployment_id")
    is_queued = any(run[part] and run[part] == other[part] for other in moving for part in place)
    return Late(_key(run, flows[run["flow_id"]]), _time(run["expected_start_time"]), is_queued)


def _key(run: Mapping[str, Any], flow: str) -> RunKey:
    given = run["parameters"] or {}
    campaign = str(given.get("campaign") or "")
    return flow, str(given.get("recipe") or ""), "" if campaign == DEFAULT_CAMPAIGN else campaign


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
