"""How the mill is, for programs: `ganmill metrics`, `ganmill alerts`. Neither needs the monitor."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.session import place

if TYPE_CHECKING:
    from flows.monitor.alerts import Alert
    from flows.monitor.snapshot import Snapshot

commands = typer.Typer()
_COUNT_SECONDS = 2.0  # of each folder; a larger one is left out
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@commands.command(epilog="Example: ganmill metrics > /var/lib/node_exporter/ganmill.prom")
def metrics() -> None:
    """Look once, and print what the monitor serves on 127.0.0.1:9464/metrics for Prometheus."""
    from flows.monitor.exposition import text_of

    seen, alerts = _look(counts_folders=True)
    print(text_of(seen, alerts).decode(), end="")


@commands.command(epilog="Example: ganmill alerts --json")
def alerts(as_json: AsJson = False) -> None:
    """What needs a person now, and what to do about it; exit code 1 if there is anything."""
    _, found = _look(counts_folders=False)
    if as_json:
        print(json.dumps([_as_json(alert) for alert in found], indent=2, ensure_ascii=False))
    elif not found:
        print("no alert is open")
    else:
        for alert in found:
            print(f"{alert.says}\n  {alert.mend}\n  since {alert.since:%Y-%m-%d %H:%M} UTC\n")
    raise typer.Exit(1 if found else 0)


def _look(*, counts_folders: bool) -> "tuple[Snapshot, list[Alert]]":
    """Return one look, and what is open by it; nothing is told or written."""
    from flows.monitor.alerts import Book, now_open
    from flows.monitor.monitor import ALERTS
    from flows.monitor.rounds import Watcher
    from flows.monitor.rules import findings

    layout, settings = place()
    book, watcher = Book(layout.state / ALERTS), Watcher(layout, settings)
    if counts_folders:
        watcher.machine.count_folders(seconds=_COUNT_SECONDS)
    seen = watcher.look(book.watched)
    return seen, now_open(book, findings(seen), seen.time)


def _as_json(alert: "Alert") -> dict[str, str]:
    """Return an alert; when it was told last is the monitor's own business."""
    words = {name: value for name, value in asdict(alert).items() if name != "told"}
    return {**words, "since": alert.since.isoformat()}
