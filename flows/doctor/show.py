"""What `ganmill doctor` prints."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.doctor.finding import Finding, State, worst

_STYLES: dict[State, str] = {"ok": "green", "warn": "yellow", "bad": "bold red", "unknown": "cyan"}


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print findings: for people, a line each, and below them what to type."""
    if as_json:
        document = {"state": worst(findings), "findings": [asdict(each) for each in findings]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in findings:
        table.add_row(Text(each.state, _STYLES[each.state]), Text(each.name), Text(each.says))
    Console(highlight=False).print(table)
    mends = [each for each in findings if each.mend and each.state != "ok"]
    if mends:
        print("\nTo mend:")
    for each in mends:  # never wrapped: a command must stay whole to be copied
        print(f"  {each.name}: {each.mend}")
    print(f"\n{_summary(findings)}")


def _summary(findings: Sequence[Finding]) -> str:
    count = {state: sum(each.state == state for each in findings) for state in _STYLES}
    parts = [f"{number} {state}" for state, number in count.items() if number]
    return f"{', '.join(parts)}."
