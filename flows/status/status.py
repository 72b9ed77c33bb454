"""`ganmill status`: how the mill is, on one screen, whatever of it is away.

--json has these keys, and keeps them; times are UTC in ISO 8601, or null:

    servers     {name: {state, url}}; up, down, given (by the environment)
    pools       [{name, kind, paused, queued, running, workers}]; null: Prefect did not say
    recipes     [{recipe, champion, since, challenger, waiting, production, batch, assets,
                  champion_since, asked, retraining, batches}]
      champion, challenger  `v3`, or `-` for none; since: the champion's age
      waiting     number of the version that waits for a person's word, or null; asked: since when
      production  `runs`, or `on hold by ...`
      retraining  {state, at, share, eta_seconds, message, url}; null: none is known
      batches     [{name, state, assets, made}], the newest first; batch, assets: of the newest
    schedules   [{name, recipe, next, paused}], the soonest first; null: Prefect did not say
    alerts      [{recipe, rule, about, since, says, mend}], the open ones
    disk        {free_bytes, total_bytes, folders: {name: {bytes, complete}}}, or null
    problems    [what could not be looked at, and why]
    next        [{why, command}]; command is null where the line says all
"""

import json
from datetime import datetime
from typing import Any

from flows.settings import Settings
from flows.status.facts import Product, Scheduled, Status, look
from flows.status.page import age, show_status
from gan.paths import Layout

Want = tuple[str, str | None]
_FRESH_SECONDS = 60.0  # two beats of a worker
_FAILED = frozenset({"failed", "crashed", "timedout"})


def show(layout: Layout, settings: Settings, *, as_json: bool) -> None:
    """Print how the mill is.

    Raises:
        RecipeError: `params.yaml` holds something impossible.
    """
    found = look(layout, settings)
    if as_json:
        print(json.dumps(document(found), indent=2, ensure_ascii=False))
        return
    show_status(found, wanted(found))


def document(found: Status) -> dict[str, Any]:
    """Return it as `--json` prints it."""
    stack, scheduled, disk = found.stack, found.scheduled, found.disk
    servers = (stack.prefect, stack.mlflow, *stack.others)
    return {
        "servers": {each.name: {"state": each.state, "url": each.url} for each in servers},
        "pools": None if scheduled is None else _pools(scheduled),
        "recipes": [_row(product, scheduled, found.time) for product in found.products],
        "schedules": None if scheduled is None else _schedules(scheduled),
        "alerts": [{**vars(alert), "since": _iso(alert.since)} for alert in found.alerts],
        "disk": disk
        and {
            "free_bytes": disk.free_bytes,
            "total_bytes": disk.total_bytes,
            "folders": {
                name: {"bytes": size.bytes, "complete": size.is_complete}
                for name, size in disk.folders.items()
            },
        },
        "problems": found.problems,
        "next": [{"why": why, "command": command} for why, command in wanted(found)],
    }


def wanted(found: Status) -> list[Want]:
    """Return what wants somebody, as why and the command; the most pressing first."""
    lines: list[Want] = []
    if "down" in {found.stack.prefect.state, found.stack.mlflow.state}:
        lines.append(("a server is down", "ganmill up"))
    elif found.scheduled:
        idle = [] if _has_fresh_worker(found) else found.scheduled.idle
        lines += [(f"no worker looks after {', '.join(idle)}", "ganmill up")] if idle else []
        paused = [pool.name for pool in found.scheduled.pools if pool.is_paused]
        lines += [(f"{name} is paused", f"prefect work-pool resume {name}") for name in paused]
    lines += [line for product in found.products for line in _wanted(product)]
    if found.problems:
        lines.append(("something is not as it should be", "ganmill doctor"))
    if not lines and found.products:
        name = found.products[0].recipe
        lines.append(("nothing needs you; for another batch", f"ganmill generate {name}"))
    return lines


def _has_fresh_worker(found: Status) -> bool:
    """Tell whether a worker was started just now, of which Prefect has not heard yet."""
    return any(
        each.name == "worker" and (each.uptime_seconds or 0.0) < _FRESH_SECONDS
        for each in found.stack.others
    )


def _wanted(product: Product) -> list[Want]:
    """Return what wants somebody in one recipe."""
    name, decided, run = product.recipe, product.decided, product.retraining
    lines: list[Want] = []
    if decided.hold:
        why = f"{name}: production is on hold by {decided.hold}"
        lines.append((why, f'ganmill resume {name} --reason "..."'))
    if decided.waiting:
        why = f"{name} v{decided.waiting} passed the gate and waits for a person's word"
        lines.append((why, f'ganmill approve {name} --reason "..."   (or reject)'))
    torn = product.champions.torn if product.champions else ""
    if torn:
        lines.append((f"{name}: {torn}", None))
    if run and run.state in _FAILED and not product.training:
        why = f"{name}: its last retraining {run.state}" + (
            f": {run.message}" if run.message else ""
        )
        lines.append((why, f"ganmill retrain {name}"))
    elif product.champion is None and not product.training and not torn:
        lines.append((f"{name} has no model yet", f"ganmill retrain {name}"))
    for batch in product.batches:
        if batch.state == "in review":
            why = f"{name}: batch {batch.name} waits for a person to look at it"
            lines.append((why, f"ganmill review assets/{name}/{batch.name}"))
    if any(batch.state == "unfinished" for batch in product.batches):
        lines.append((f"{name}: a batch was begun and not finished", "ganmill reconcile"))
    return lines


def _pools(scheduled: Scheduled) -> list[dict[str, Any]]:
    return [
        {
            "name": pool.name,
            "kind": pool.kind,
            "paused": pool.is_paused,
            "queued": pool.queued,
            "running": pool.running,
            "workers": pool.workers,
        }
        for pool in scheduled.pools
    ]


def _schedules(scheduled: Scheduled) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "recipe": each.recipe, "next": _iso(each.at), "paused": each.is_paused}
        for each in scheduled.coming
    ]


def _row(product: Product, scheduled: Scheduled | None, now: datetime) -> dict[str, Any]:
    decided, told, newest = product.decided, product.champions, product.batches[:1]
    return {
        "recipe": product.recipe,
        "champion": _numbered(product.champion),
        "since": age(product.since, now) if product.since else "-",
        "champion_since": _iso(product.since),
        "challenger": _numbered(told.challenger if told else None),
        "waiting": decided.waiting,
        "asked": _iso(decided.asked),
        "production": f"on hold by {decided.hold}" if decided.hold else "runs",
        "retraining": _retraining(product, scheduled),
        "batch": newest[0].name if newest else "-",
        "assets": (newest[0].assets or 0) if newest else 0,
        "batches": [{**vars(batch), "made": _iso(batch.made)} for batch in product.batches],
    }


def _retraining(product: Product, scheduled: Scheduled | None) -> dict[str, Any] | None:
    """Return the last retraining; one that goes on here is known without Prefect."""
    run, training = product.retraining, product.training
    if run is None and training is None:
        return None
    pages = scheduled.pages if scheduled else ""
    return {
        "state": "running" if training else run.state if run else "",
        "at": _iso(run.at) if run else None,
        "share": training.share if training else None,
        "eta_seconds": training.eta_seconds if training else None,
        "message": run.message if run and not training else "",
        "url": f"{pages}/runs/flow-run/{run.id}" if run else None,
    }


def _numbered(number: int | None) -> str:
    return "-" if number is None else f"v{number}"


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
