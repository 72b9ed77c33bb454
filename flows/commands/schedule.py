"""`ganmill schedule`: what runs next and how the last runs went; pausing and resuming."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from flows.session import place

if TYPE_CHECKING:
    from flows.schedules.slots import Timing
    from flows.settings import Settings
    from gan.paths import Layout
    from gan.recipe import Recipe

commands = typer.Typer()

_LAST_RUNS = 3
_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """One line of a recipe's schedule.

    Attributes:
        timing: What the recipe says.
        coming: The next slots, UTC.
        state: `on`, `paused`, `not deployed`, `another line is deployed`, or `not known`.
        last: The last runs, newest first: when due, state, and why it was passed over; None where
            Prefect did not say.
    """

    timing: "Timing"
    coming: list[datetime]
    state: str = "not known"
    last: list[dict[str, str]] | None = None

    @property
    def as_json(self) -> dict[str, Any]:
        """The row for scripts."""
        timing, zone = self.timing, ZoneInfo(self.timing.timezone)
        return {
            "recipe": timing.recipe,
            "what": timing.label,
            "deployment": timing.deployment,
            **timing.entry.model_dump(exclude={"timezone"}),
            "timezone": timing.timezone,
            "state": self.state,
            "next": [slot.astimezone(zone).isoformat() for slot in self.coming],
            "last": self.last,
        }


@commands.command(epilog="Example: ganmill schedule stickers --pause retrain")
def schedule(
    recipe: Annotated[str | None, typer.Argument(help="A recipe; all by default.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Times to show of each.")] = 10,
    pause: Annotated[
        str | None,
        typer.Option(help="retrain, generate, generate:CAMPAIGN, drift, or all: stop its clock."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="The same: let its clock go on. Nothing is made up for.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Show what runs next and how the last runs went; pause and resume what the clock starts.

    A pause outlasts `ganmill down` and changes of params.yaml. It stops the clock
    alone: events and commands still start runs. `ganmill hold` stops production.
    """
    from gan.recipe import load_recipe, load_recipes

    layout, settings = place()
    found = load_recipes(layout.params)
    if recipe is not None:
        found = {recipe: load_recipe(layout.params, recipe)}
    if pause or resume:
        _switch(layout, settings, found, recipe, pause=pause, resume=resume)
    rows = _rows(settings, found, count)
    if as_json:
        print(json.dumps([row.as_json for row in rows], indent=2))
    else:
        _print(found, rows)


def _switch(
    layout: "Layout",
    settings: "Settings",
    recipes: Mapping[str, "Recipe"],
    recipe: str | None,
    *,
    pause: str | None,
    resume: str | None,
) -> None:
    """Pause or resume what was named, and say so.

    Raises:
        UsageError: No recipe was given, or nothing of that name has a cron line.
        ServiceError: Prefect does not answer, or has no such deployment.
    """
    from gan.errors import UsageError

    if recipe is None or (pause and resume):
        raise UsageError(
            "give one recipe, and either --pause or --resume: ganmill schedule stickers "
            "--pause retrain"
        )
    for timing in _named(recipes[recipe], pause or resume or ""):
        _set_paused(layout, settings, timing, paused=pause is not None)
        print(f"{'paused' if pause else 'resumed'}: {timing.label} of {recipe}", file=sys.stderr)


def _named(recipe: "Recipe", word: str) -> list["Timing"]:
    from flows.schedules.slots import timings
    from gan.errors import UsageError

    there = timings(recipe)
    found = [each for each in there if word in {each.label, "all"}]
    if not found:
        known = ", ".join(each.label for each in there) or "nothing"
        raise UsageError(
            f"{recipe.name}: {word!r} has no cron line in params.yaml. On the clock: {known}."
        )
    return found


def _set_paused(layout: "Layout", settings: "Settings", timing: "Timing", *, paused: bool) -> None:
    from prefect.exceptions import ObjectNotFound

    from flows._prefect import brief_client
    from flows.schedules import missed
    from gan.errors import ServiceError

    with brief_client(settings, seconds=_SECONDS, tries_again=2) as client:
        try:
            deployment = client.read_deployment_by_name(timing.deployment)
        except ObjectNotFound:
            raise ServiceError(
                f"Prefect has no deployment {timing.deployment} yet. Run: ganmill up"
            ) from None
        if paused:
            client.pause_deployment(deployment.id)
            return
        missed.owe_nothing(layout, timing)
        for each in deployment.schedules:
            if not each.active:  # switched off on Prefect's page
                client.update_deployment_schedule(deployment.id, each.id, active=True)
        client.resume_deployment(deployment.id)


def _rows(settings: "Settings", recipes: Mapping[str, "Recipe"], count: int) -> list[Row]:
    """Return the schedule of recipes; what only Prefect knows is left out where it is away."""
    from flows._prefect import brief_client
    from flows.schedules.slots import coming, timings
    from gan.errors import ServiceError

    now = datetime.now(UTC)
    plain = [
        Row(timing, list(islice(coming(timing, now), count)))
        for recipe in recipes.values()
        for timing in timings(recipe)
    ]
    try:
        with brief_client(settings, seconds=_SECONDS) as client:
            return [_asked(client, row) for row in plain]
    except ServiceError as error:
        print(
            f"{error}; what is paused, and how the last runs went, is not known. "
            "Start it with: ganmill up",
            file=sys.stderr,
        )
        return plain


def _asked(client: Any, row: Row) -> Row:
    """Return a row with what Prefect knows of it."""
    from prefect.exceptions import ObjectNotFound

    from flows.schedules.runs import is_on, is_paused, last_runs

    try:
        deployment = client.read_deployment_by_name(row.timing.deployment)
    except ObjectNotFound:
        return Row(row.timing, row.coming, "not deployed", [])
    state = "on" if is_on(deployment, row.timing) else "another line is deployed"
    state = "paused" if is_paused(deployment) else state
    last = [
        {
            "due": run.expected_start_time.isoformat(),
            "state": run.state_name or "",
            "why": " ".join(((run.state and run.state.message) or "").split()),
            "name": run.name,
        }
        for run in last_runs(client, deployment.id, _LAST_RUNS)
    ]
    return Row(row.timing, row.coming, state, last)


def _print(recipes: Mapping[str, "Recipe"], rows: list[Row]) -> None:
    from flows.schedules.slots import shown

    for name, recipe in recipes.items():
        print(f"{name}: events that start something: {', '.join(recipe.schedule.on) or 'none'}")
        mine = [row for row in rows if row.timing.recipe == name]
        if not mine:
            print('  no cron line; add one to params.yaml: schedule: {retrain: "0 3 * * *"}')
        for row in mine:
            timing = row.timing
            print(
                f"\n  {timing.label}   {timing.entry.cron}   {timing.timezone}   {row.state}"
                f"   missed: {timing.entry.missed}, up to {timing.entry.stale_hours:g} h late"
            )
            for slot in row.coming:
                print(f"    {slot.astimezone(ZoneInfo(timing.timezone)):%a %Y-%m-%d %H:%M %z}")
            for run in row.last or []:
                due = shown(datetime.fromisoformat(run["due"]), timing.timezone)
                print(f"    last: {due}: {run['state']}{': ' if run['why'] else ''}{run['why']}")
        print()
    if any(row.state == "another line is deployed" for row in rows):
        print("Prefect has other lines than params.yaml. Renew them with: ganmill deploy")
