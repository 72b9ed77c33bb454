"""The screen of `ganmill status`, for people."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from flows import show
from flows.disk_use import in_units
from flows.status.facts import Disk, Product, Scheduled, Status

_COMING, _FEW = 8, 2
_console = Console(highlight=False, markup=False)


def show_status(found: Status, wanted: Sequence[tuple[str, str | None]]) -> None:
    """Print it.

    Args:
        found: What is so.
        wanted: What wants somebody: why, and the command unless the line says all.
    """
    show.servers(found.stack)
    if found.scheduled:
        _pools(found.scheduled)
    _products(found)
    _batches(found)
    if found.scheduled:
        _coming(found.scheduled, found.time)
    print()
    if found.disk:
        _console.print(Padding(_disk(found.disk), (0, 0, 0, 2)))
    for problem in found.problems:
        print(f"  not known: {problem}")
    for alert in found.alerts:
        print(f"  alert, for {age(alert.since, found.time)}: {alert.says} {alert.mend}")
    for why, command in wanted:  # never wrapped: a command must stay whole to be copied
        print(f"  {why}" if command is None else f"  {why}: {command}")


def age(time: datetime, now: datetime) -> str:
    """Return how long ago something was, or how far ahead it is, in its largest fitting unit."""
    return lasting(abs((now - time).total_seconds()))


def lasting(seconds: float) -> str:
    """Return a time in its largest fitting unit, say `3 h`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _pools(scheduled: Scheduled) -> None:
    rows = [
        (
            pool.name + (" (paused)" if pool.is_paused else ""),
            str(pool.queued),
            str(pool.running),
            str(pool.workers),
        )
        for pool in scheduled.pools
    ]
    _print(("pool", "queued", "running", "workers"), rows)


def _products(found: Status) -> None:
    rows = [
        (
            each.recipe,
            "-" if each.champion is None else f"v{each.champion}",
            age(each.since, found.time) if each.since else "-",
            _challenger(each),
            _retraining(each, found.time),
        )
        for each in found.products
    ]
    _print(("recipe", "champion", "since", "challenger", "retraining"), rows)


def _challenger(product: Product) -> str:
    told = product.champions
    if told is None or told.challenger is None:
        return "-"
    return f"v{told.challenger}" + (" waits" if told.challenger == product.decided.waiting else "")


def _retraining(product: Product, now: datetime) -> str:
    run, training = product.retraining, product.training
    if training is None:
        return f"{run.state}, {age(run.at, now)} ago" if run else "-"
    if training.share is None or training.eta_seconds is None:
        return "running"
    return f"running, {training.share:.0%}, {lasting(training.eta_seconds)} left"


def _batches(found: Status) -> None:
    count = None if len(found.products) <= _FEW else 1
    rows = [
        (
            product.recipe,
            batch.name,
            batch.state,
            "-" if batch.assets is None else str(batch.assets),
            f"{age(batch.made, found.time)} ago",
        )
        for product in found.products
        for batch in product.batches[:count]
    ]
    _print(("recipe", "batch", "state", "assets", "made"), rows)


def _coming(scheduled: Scheduled, now: datetime) -> None:
    ours = [each for each in scheduled.coming if each.recipe]
    rows = []
    for each in ours[:_COMING]:
        when, ahead = "paused" if each.is_paused else "never", ""
        if each.at:
            when, ahead = f"{each.at.astimezone():%a %Y-%m-%d %H:%M %Z}", age(each.at, now)
        rows.append((each.name, when, f"in {ahead}" if ahead else ""))
    _print(("schedule", "next run", ""), rows)
    if len(ours) > _COMING:
        print(f"  ... and {len(ours) - _COMING} more: ganmill schedule")


def _disk(disk: Disk) -> str:
    parts = ", ".join(f"{name} {size.shown}" for name, size in disk.folders.items())
    free, total = in_units(disk.free_bytes), in_units(disk.total_bytes)
    return f"disk: {free} of {total} free; {parts}"


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table below an empty line, nothing where it has no rows."""
    if not rows:
        return
    table = Table(box=None, padding=(0, 2))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console.print()
    _console.print(table)
