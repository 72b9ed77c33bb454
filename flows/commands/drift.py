"""`ganmill drift`: are the images still like those that the champion was trained on?"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.session import place, require_recipe, servers

if TYPE_CHECKING:
    from flows.drift.findings import Drift
    from gan.metrics.intervals import Interval

commands = typer.Typer()
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@commands.command(epilog="Example: ganmill drift stickers --json")
def drift(recipe: RecipeName, as_json: AsJson = False) -> None:
    """Tell whether the images are still like those that the champion was trained on.

    They are brought in and validated first; nothing is trained. The limits are the recipe's
    `drift` section; exit code 3 where they are exceeded and it says `then: stop`.
    """
    layout, settings = place()
    require_recipe(layout, recipe)
    with servers(layout, settings) as run:
        found: Drift | None = run("flows.drift_flow", "drift", recipe)
    if found is not None:
        tell(found, as_json=as_json)


def tell(found: "Drift", *, as_json: bool) -> None:
    """Print the outcome, every figure, and what may come next."""
    from flows.drift.drift_page import commands as next_commands
    from flows.drift.findings import FACTS_COMPARED
    from flows.story import shown

    if as_json:
        print(json.dumps(_document(found), indent=2))
        return
    print(f"{found.recipe}: {found.outcome}. {found.says}")
    for reason in found.reasons:
        print(f"  {reason}")
    figures = found.figures
    if figures is not None:
        rows = {"classes": figures.labels.interval}
        rows |= {FACTS_COMPARED[name]: shift.interval for name, shift in figures.facts.items()}
        for name, interval in rows.items():
            print(f"  shift of {name:<20} {_shown(interval)}")
        if figures.features is None:
            print(f"  what a network sees could not be compared: {figures.absent}")
        else:
            times = _shown(figures.features.times)
            print(f"  {'what a network sees':<29} {times} distances between halves of the old")
    print(f"Page: {shown(found.page)}")
    for why, command in next_commands(found):
        print(f"{why}\n  {command}")


def _document(found: "Drift") -> dict[str, Any]:
    figures = found.figures
    features = figures.features if figures else None
    return {
        "recipe": found.recipe,
        "outcome": found.outcome,
        "says": found.says,
        "reasons": found.reasons,
        "champion": found.champion,
        "data": found.data,
        "baseline": found.baseline,
        "label_shift": vars(figures.labels.interval) if figures else None,
        "fact_shifts": {
            name: vars(shift.interval) for name, shift in (figures.facts if figures else {}).items()
        },
        "feature_shift": vars(features.times) if features else None,
        "feature_shift_absent": figures.absent if figures else "",
        "page": str(found.page),
    }


def _shown(interval: "Interval") -> str:
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"
