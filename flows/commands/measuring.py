"""`ganmill evaluate` and `ganmill compare`: how good a model is, and which of two is better."""

from typing import Annotated

import typer

from flows.session import place, servers, stages

commands = typer.Typer()
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@commands.command(epilog="Example: ganmill evaluate stickers --calibrate")
def evaluate(
    recipe: RecipeName,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Find out what evaluate.samples images can tell apart."),
    ] = False,
    sets: Annotated[
        int, typer.Option(min=2, help="Of --calibrate: sets of samples, an evaluation each.")
    ] = 8,
    as_json: AsJson = False,
) -> None:
    """Measure the trained model; the stages before it run only if something changed."""
    from flows import show
    from flows.versions import STAGES

    layout, _ = place()
    stages(layout, recipe, STAGES)
    if not calibrate:
        show.metrics(layout, recipe, as_json=as_json)
        return
    from flows.commands import calibrate as calibrating

    found = calibrating.measure(layout, recipe, sets)
    calibrating.show(layout, recipe, found, as_json=as_json)


@commands.command(epilog="Example: ganmill compare stickers@challenger --open")
def compare(
    a: Annotated[str, typer.Argument(help="RECIPE, RECIPE@champion, @challenger or RECIPE:3")],
    b: Annotated[
        str | None, typer.Argument(help="The same, or @champion, :3 of A's recipe; its champion.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lay two models side by side on one page: pictures, metrics, what differs, cost."""
    from flows.compare import compare as comparing
    from flows.compare.models import parse_pair

    layout, settings = place()
    references = parse_pair(layout, a, b)
    with servers(layout, settings):
        done = comparing.compare(layout, settings, *references)
    comparing.tell(done, as_json=as_json, open_page=open_page)
