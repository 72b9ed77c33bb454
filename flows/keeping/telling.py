"""What the commands about keeping print: lines for people, JSON for scripts."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.disk_use import in_units
from flows.keeping.backup import Backup
from flows.keeping.letting_go import Done
from flows.keeping.manifest import Manifest
from flows.keeping.plan import ORDER, Fate, Thing
from flows.keeping.restore import Restored
from flows.keeping.upgrade import Tables
from flows.story import shown

_MOST = 30  # lines of what goes; --json has all
_console = Console(highlight=False, soft_wrap=True)


def backup(made: Backup, target: Path, *, as_json: bool) -> None:
    """Print what a backup holds, what it lacks, and what is not in it on purpose."""
    if as_json:
        print(json.dumps(_document(made.manifest, made.id, target), indent=2))
        return
    _summary(made.manifest, made.id, target)
    for line in made.manifest.missing:
        print(f"  missing: {line}")
    for line in made.manifest.left_out:
        print(f"  not in it: {line}")
    print(f"Look at it again: ganmill backup --verify {shown(target)}")
    print(f"Put it back: ganmill restore {shown(target)}")


def verified(
    whole: Manifest, called: str, problems: Sequence[str], target: Path, *, as_json: bool
) -> None:
    """Print whether a backup is what it was."""
    if as_json:
        found = {**_document(whole, called, target), "problems": list(problems)}
        print(json.dumps(found, indent=2))
        return
    _summary(whole, called, target)
    for line in problems:
        print(f"  wrong: {line}")
    if not problems:
        print("  every byte is as it was written; databases and ledger are sound")


def restored(done: Restored, root: Path, *, as_json: bool) -> None:
    """Print what was put back, and what is to be done next."""
    if as_json:
        found = {
            **_document(done.manifest, done.id, root),
            "aside": str(done.aside) if done.aside else None,
            "lacking": done.lacking,
        }
        print(json.dumps(found, indent=2))
        return
    print(f"restored {root} from backup {done.id} of {done.manifest.made_utc}")
    for name, number in done.manifest.champions.items():
        print(f"  {name}: champion v{number}")
    for line in done.lacking:
        print(f"  lacking: {line}")
    if done.aside:
        print(f"  what was here before: {shown(done.aside)}")
    print("Start it: ganmill up    then: ganmill reconcile")


def plan(fates: Sequence[Fate], *, is_dry: bool) -> None:
    """Print what goes and what stays, by kind, and each thing that goes."""
    table = Table("kind", "stays", "goes", "bytes that go", box=None, padding=(0, 2))
    for kind in ORDER:
        of_kind = [fate for fate in fates if fate.thing.kind == kind]
        going = [fate.thing.bytes for fate in of_kind if fate.goes]
        if of_kind:
            stays = len(of_kind) - len(going)
            table.add_row(kind, f"{stays:,}", f"{len(going):,}", in_units(sum(going)))
    _console.print(table)
    goes = [fate for fate in fates if fate.goes]
    for fate in goes[:_MOST]:
        print(f"  {fate.thing.kind} {fate.thing.name}: {fate.why}")
    if len(goes) > _MOST:
        print(f"  ... and {len(goes) - _MOST:,} more; --json names all")
    if is_dry and goes:
        print("Nothing was touched. Let it go: ganmill retain")
    elif not goes:
        print("Nothing is to go.")


def let_go(done: Done, lines: Path) -> None:
    """Print what went."""
    kinds = Counter(thing.kind for thing in done.gone)
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "nothing"
    print(f"let go: {said}; {in_units(done.bytes)}. Each is a line of {shown(lines)}")
    for line in done.skipped:
        print(f"  left for the next time: {line}")


def plan_document(fates: Sequence[Fate], done: Done | None) -> dict[str, Any]:
    """Return a plan, and what was done of it, for scripts."""
    return {
        "dry_run": done is None,
        "goes": [_row(fate) for fate in fates if fate.goes],
        "stays": [_row(fate) for fate in fates if not fate.goes],
        "gone": [_named(thing) for thing in done.gone] if done else [],
        "skipped": done.skipped if done else [],
    }


def tables(found: Sequence[Tables], *, as_json: bool) -> None:
    """Print the form of each server's tables, and the one that is wanted."""
    if as_json:
        rows = [
            {"owner": t.owner, "form": t.found, "wanted": t.wanted, "state": t.state} for t in found
        ]
        print(json.dumps(rows, indent=2))
        return
    table = Table("tables of", "form", "wanted", "state", box=None, padding=(0, 2))
    for each in found:
        row = (each.owner, each.found or "-", each.wanted, each.state)
        table.add_row(*row)
    _console.print(table)


def _summary(whole: Manifest, called: str, target: Path) -> None:
    print(
        f"backup {called} of {whole.workspace}, {whole.made_utc}: {len(whole.files):,} files, "
        f"{in_units(whole.bytes)}, in {shown(target)}"
    )
    for name, database in whole.databases.items():
        if database.file:
            print(f"  database of {name}: {database.kind}, form {database.revision}")
    print(f"  artifacts: {whole.artifacts['are']}; data and models: {whole.data}")
    champions = ", ".join(f"{name} v{number}" for name, number in whole.champions.items())
    print(f"  ledger: {whole.ledger_lines} lines; champions: {champions or 'none'}")


def _document(whole: Manifest, called: str, target: Path) -> dict[str, Any]:
    said = whole.model_dump(mode="json", exclude={"files", "listed"})
    return {
        "id": called,
        "folder": str(target),
        **said,
        "num_files": len(whole.files),
        "bytes": whole.bytes,
    }


def _named(thing: Thing) -> dict[str, Any]:
    return {"kind": thing.kind, "name": thing.name, "bytes": thing.bytes}


def _row(fate: Fate) -> dict[str, Any]:
    return {**_named(fate.thing), "recipes": list(fate.thing.recipes), "why": fate.why}
