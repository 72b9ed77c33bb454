"""When what runs, and who runs it: `ganmill deploy`, `worker`, `schedule`."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from flows.commands import schedule
from flows.session import place

commands = typer.Typer()
commands.add_typer(schedule.commands)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class Pools(StrEnum):
    """Which work pools a worker works for."""

    train = "train"
    main = "main"
    both = "both"


@commands.command(epilog="Example: ganmill deploy --write")
def deploy(
    write: Annotated[
        bool,
        typer.Option("--write", help="Write prefect.yaml for `prefect deploy --all`; ask nobody."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make Prefect's work pools, schedules and triggers those of params.yaml; twice is harmless.

    `ganmill up` does it, and its worker again whenever params.yaml changes.
    """
    layout, settings = place()
    if write:
        from flows.schedules.deploy_file import write as write_file

        path = write_file(layout)
        print(json.dumps({"written": str(path)}) if as_json else f"written: {path}")
        return
    from flows.schedules.deploy import apply

    done = apply(layout, settings)
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        print(f"{done.deployments} deployments on work pools {', '.join(done.pools)}")


@commands.command(epilog="Example: ganmill worker --pool train")
def worker(
    pool: Annotated[Pools, typer.Option(help="Retrainings, all else, or both.")] = Pools.both,
    name: Annotated[
        str | None, typer.Option(help="By which Prefect knows it; this machine's name if not.")
    ] = None,
) -> None:
    """Run what is due here too, until Ctrl-C: a further machine, with the workspace at this path.

    PREFECT_API_URL and MLFLOW_TRACKING_URI say where the servers are. At most GANMILL_TRAININGS
    retrainings go on here at once.
    """
    from flows.schedules.worker import name_of_machine, work

    layout, settings = place()
    work(layout, settings, pool.value, name=name or name_of_machine(), follows=False)
