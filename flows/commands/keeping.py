"""What is kept: `ganmill backup`, `restore`, `retain`, `upgrade`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.session import place

commands = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Target = Annotated[Path, typer.Argument(help="A folder, or a file that ends in .tar or .tar.gz.")]


@commands.command(epilog="Example: ganmill backup ~/backups/2026-11-22")
def backup(
    target: Target,
    verify: Annotated[
        bool, typer.Option("--verify", help="Take none: check one, every byte of it.")
    ] = False,
    with_assets: Annotated[
        bool,
        typer.Option("--with-assets", help="All of each batch, not its manifests alone."),
    ] = False,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="The local key that signs; whoever has it can sign.")
    ] = False,
    with_data: Annotated[
        bool | None,
        typer.Option(
            "--with-data/--without-data",
            help="Data and models as DVC keeps them; if not given: where the DVC remote is missing "
            "or lies in this workspace.",
        ),
    ] = None,
    list_artifacts: Annotated[
        bool,
        typer.Option("--list-artifacts", help="Name MLflow's artifacts by digest, copy none."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a backup while everything runs: databases, artifacts, ledger, releases, data.

    Killed at any moment, the same command finishes it. What is missing is named, and so is what
    is not in it on purpose.
    """
    from flows.keeping import telling

    target = target.absolute()
    if verify:
        _verify(target, as_json=as_json)
        return
    layout, settings = place()
    from flows.keeping import archives
    from flows.keeping.backup import finished, make
    from flows.keeping.sources import Wants
    from gan.errors import UsageError

    wants = Wants(
        assets=with_assets,
        keys=with_keys,
        data=with_data,
        artifacts="listed" if list_artifacts else "copied",
    )
    packed = archives.is_archive(target)
    if packed and target.exists():
        raise UsageError(f"{target}: is there already. Name another file.")
    folder = archives.parts(target) if packed else target
    made = (finished(folder) if packed else None) or make(layout, settings, folder, wants)
    if packed:
        archives.pack(folder, target)
    telling.backup(made, target, as_json=as_json)


@commands.command(epilog="Example: ganmill restore ~/backups/2026-11-22")
def restore(
    source: Annotated[Path, typer.Argument(help="What `ganmill backup` made.")],
    into: Annotated[
        Path | None, typer.Option(help="A clone of the code; this workspace if not given.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Move aside what is in the way, also if it is newer."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back: then `ganmill up` has its champions, runs, models and batches.

    The servers must be down. Killed at any moment, the same command finishes it.
    """
    source = source.absolute()
    if into is not None:
        _go_to(into)
    layout, settings = place()
    from flows.keeping import archives, telling
    from flows.keeping.restore import restore as put_back

    with archives.unpacked(source) as folder:
        done = put_back(layout, settings, folder, replace=replace)
    telling.restored(done, layout.root, as_json=as_json)


@commands.command(epilog="Example: ganmill retain --dry-run")
def retain(
    recipe: Annotated[str | None, typer.Argument(help="One recipe; all if not given.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go and why, and touch nothing.")
    ] = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="Take old data from DVC's remote, too.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="Who says so; GANMILL_ACTOR or the login name if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let go what is older than `keep` in params.yaml says, and that nothing kept needs.

    Neither a champion, nor what could become one again, nor what a kept or published batch was
    made from ever goes. Killed at any moment, the same command goes on.
    """
    layout, settings = place()
    from flows.keeping import telling
    from flows.keeping.disposing import LINES
    from flows.keeping.letting_go import let_go
    from flows.keeping.retention import planned

    fates = planned(layout, settings, recipe, with_remote=remote)
    if not as_json:
        telling.plan(fates, is_dry=dry_run)
    done = None
    if not dry_run and (as_json or any(fate.goes for fate in fates)):
        done = let_go(layout, settings, fates, actor=by or settings.actor)
    if as_json:
        print(json.dumps(telling.plan_document(fates, done), indent=2, ensure_ascii=False))
    elif done:
        telling.let_go(done, layout.state / LINES)


@commands.command(epilog="Example: ganmill upgrade --dry-run")
def upgrade(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which tables are older, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the databases to the form that the installed servers want; copies are taken first."""
    layout, settings = place()
    from flows.keeping import telling
    from flows.keeping import upgrade as upgrades
    from flows.story import shown

    found = upgrades.look(layout, settings)
    telling.tables(found, as_json=as_json)
    upgrades.require_known(found)
    older = [tables.owner for tables in found if tables.state == "older"]
    if not older:
        print("Nothing is to be upgraded.", file=sys.stderr)
    elif dry_run:
        print(f"Upgrade {', '.join(older)}: ganmill down; ganmill upgrade", file=sys.stderr)
    else:
        kept = upgrades.upgrade(layout, settings, found)
        if kept:
            print(f"upgraded {', '.join(older)}; as they were: {shown(kept)}", file=sys.stderr)


def _verify(target: Path, *, as_json: bool) -> None:
    """Print whether a backup is what it was.

    Raises:
        DamagedError: It is not.
    """
    from flows.keeping import archives, checking, telling
    from gan.errors import DamagedError

    with archives.unpacked(target) as folder:
        whole, called, problems = checking.check(folder)
    telling.verified(whole, called, problems, target, as_json=as_json)
    if problems:
        raise DamagedError(f"{target}: {len(problems)} things are not as they were. Use another.")


def _go_to(folder: Path) -> None:
    """Work in another workspace from here on.

    Raises:
        UsageError: There is none.
    """
    import os

    from gan.errors import UsageError

    if not (folder / "params.yaml").is_file():  # else a workspace above it would be meant
        raise UsageError(f"{folder}: has no params.yaml. Clone the code there first.")
    os.chdir(folder)
