"""The servers and what goes on beside them: `ganmill up`, `down`, `status`, `doctor` ..."""

import os
from typing import Annotated

import typer

from flows.session import place, servers, start_stack, wait_for_worker

commands = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@commands.command(epilog="Example: GANMILL_MLFLOW_PORT=5050 ganmill up")
def up() -> None:
    """Start the servers, a worker and the monitor, and deploy; return when all are at work.

    They stay until `ganmill down`. Twice starts only what is missing, or was started with other
    settings.
    """
    from flows import show
    from gan.recipe import load_recipes

    layout, settings = place()
    recipes = list(load_recipes(layout.params))
    started = start_stack(layout, settings, renew=True)
    if started.stack.prefect.state == "up":
        wait_for_worker(layout, settings, started.stack)
    show.servers(started.stack)
    if started.applied:
        pools = " and ".join(started.applied.pools)
        print(f"{started.applied.deployments} deployments on the work pools {pools}")
    if started.stack.prefect.state == "given":
        print("That Prefect is told what to run by: ganmill deploy; and runs it by: ganmill worker")
    for note in started.notes:
        print(note)
    if recipes:
        print(f"Next: ganmill schedule, or ganmill retrain {recipes[0]}")
    print("Stop them with: ganmill down")


@commands.command(epilog="Example: ganmill down")
def down() -> None:
    """Stop what `ganmill up` started, and nothing else."""
    from flows import stack

    layout, _ = place()
    stopped = stack.down(layout)
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@commands.command(epilog="Example: ganmill status --json")
def status(as_json: AsJson = False) -> None:
    """One screen: servers, champions and their age, last and next runs, what wants somebody."""
    layout, settings = place()
    from flows.status.status import show

    show(layout, settings, as_json=as_json)


@commands.command(epilog="Example: ganmill doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Look whether everything is in place, and say what to type where it is not.

    Nothing is created or changed. Exit code 1 where something does not work.
    """
    from flows.doctor.checkup import look
    from flows.doctor.show import show
    from flows.settings import QUIET, workspace

    os.environ.update(QUIET)
    found = look(workspace())
    show(found, as_json=as_json)
    if any(each.state == "bad" for each in found):
        raise typer.Exit(1)


@commands.command(epilog="Example: ganmill reconcile")
def reconcile() -> None:
    """Close what died half done: runs, promotions, approvals, batches; harmless at any time.

    A retraining that crashed within the last day is started once more by the scheduler.
    """
    layout, settings = place()
    with servers(layout, settings) as run:
        run("flows.reconcile", "reconcile")
