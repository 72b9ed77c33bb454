"""The monitor's own page: what is open, what lives, where the metrics are. It renews itself."""

from collections.abc import Iterable
from datetime import datetime

from flows.disk_use import in_units
from flows.monitor.monitor import Seen
from flows.monitor.schedules import NO_POOL
from flows.monitor.snapshot import Product, Snapshot
from flows.page_style import frame, text
from flows.settings import Settings

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def page_of(seen: Seen, settings: Settings) -> str:
    """Return the page, as HTML that stands alone."""
    parts = [_alerts(seen), _servers(seen.snapshot, settings)]
    parts += [_pools(seen.snapshot), _products(seen.snapshot), _machine(seen.snapshot)]
    looked = f"{seen.snapshot.time:%Y-%m-%d %H:%M:%S} UTC"
    foot = (
        f"<footer>Looked at {looked}, which took {seen.snapshot.seconds:.1f} s. "
        '<a href="/metrics">Metrics for Prometheus</a>. As text: <code>ganmill status</code>, '
        "<code>ganmill alerts</code>.</footer>\n"
    )
    return frame("ganmill: how the mill is", f"<h1>How the mill is</h1>\n{''.join(parts)}{foot}")


def _alerts(seen: Seen) -> str:
    if not seen.alerts:
        return '<section class="verdict b"><p>No alert is open.</p></section>\n'
    lines = [
        f"<p><b>{text(alert.says)}</b><br><small>{text(alert.mend)}</small></p>"
        for alert in seen.alerts
    ]
    return f'<section class="verdict a">{"".join(lines)}</section>\n'


def _servers(seen: Snapshot, settings: Settings) -> str:
    pages = {"prefect": settings.prefect_pages, "mlflow": settings.mlflow_pages}
    rows = []
    for server in seen.servers:
        known = server.answer_seconds
        state = "does not answer" if known is None else f"answers in {1000 * known:.0f} ms"
        url = text(pages.get(server.name, server.url))
        rows.append((text(server.name), f'<a href="{url}">{url}</a>', state))
    return _table("Servers", ("server", "address", "state"), rows)


def _pools(seen: Snapshot) -> str:
    if seen.schedules is None:
        return ""
    rows = [
        (
            "by hand" if pool.name == NO_POOL else text(pool.name),
            "" if pool.workers is None else str(pool.workers),
            str(pool.waiting),
            str(pool.running),
            _age(pool.oldest_due, seen.time),
        )
        for pool in seen.schedules.pools
    ]
    heads = ("pool", "workers", "waiting", "running", "oldest waits")
    return _table("Work", heads, rows)


def _products(seen: Snapshot) -> str:
    rows = [_product(each, seen.time) for each in seen.products or ()]
    heads = ("recipe", "champion", "last batch", "passed the screens", "production", "training")
    return _table("Recipes", heads, rows)


def _product(product: Product, now: datetime) -> tuple[str, ...]:
    champion, batch, training = product.champion, product.batch, product.training
    passed = f"{batch.passed_share:.0%} of {batch.candidates:,}" if batch else ""
    going = ""
    if training and training.is_running:
        distance = f", fd {training.distance:.2f}" if training.distance is not None else ""
        going = f"{training.share:.0%}, {training.images / 1000:.1f} kimg{distance}"
    return (
        text(product.name),
        f"v{champion.version}, {_age(champion.since, now)} old" if champion else "none yet",
        f"{batch.accepted:,} assets, {_age(batch.made, now)} ago" if batch else "none yet",
        passed,
        f"on hold for {_age(product.held, now)}" if product.held else "runs",
        going,
    )


def _machine(seen: Snapshot) -> str:
    if seen.machine is None:
        return ""
    free, total = in_units(seen.machine.free_bytes), in_units(seen.machine.total_bytes)
    rows = [("free on the disk", f"{free} of {total}")]
    rows += [(text(name), in_units(size)) for name, size in sorted(seen.machine.folders.items())]
    for gpu in seen.machine.gpus:
        share = "" if gpu.utilisation is None else f"{gpu.utilisation:.0%} at work"
        used = "" if gpu.memory_used_bytes is None else f", {in_units(gpu.memory_used_bytes)} used"
        rows.append((f"GPU {gpu.index}, {text(gpu.name)}", f"{share}{used}"))
    return _table("Machine", ("what", "how much"), rows)


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of cells that are HTML already; without rows nothing."""
    lines = [_line(heads, row) for row in rows]
    if not lines:
        return ""
    head = "".join(f"<th>{each}</th>" for each in heads)
    return (
        f'<h2>{title}</h2>\n<div class="card"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def _line(heads: tuple[str, ...], row: tuple[str, ...]) -> str:
    named = zip(heads[1:], row[1:], strict=True)
    cells = "".join(f'<td data-label="{head}">{cell}</td>' for head, cell in named)
    return f"<tr><th>{row[0]}</th>{cells}</tr>"


def _age(since: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    if since is None:
        return ""
    seconds = max(0.0, (now - since).total_seconds())
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds / size:.0f} {unit}"
