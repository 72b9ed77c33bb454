"""`ganmill`: the product's commands. Nothing heavy is imported before a command needs it."""

import contextlib
import sys
from typing import Annotated

import typer

from flows.commands import (
    assets,
    data,
    deploying,
    drift,
    extractors,
    keeping,
    measuring,
    monitor,
    releasing,
    report,
    stack,
)
from flows.session import look_at_source, place, require_recipe, servers, stages
from gan.errors import ContractError, GanmillError, PreemptedError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Turn a folder of images into a self-refreshing supply of synthetic social-media assets.",
    epilog="First time? make demo    Your own images? ganmill init my-pets --images ~/pets",
)
app.add_typer(stack.commands)
app.add_typer(deploying.commands)
app.add_typer(monitor.commands)
app.add_typer(keeping.commands)
app.add_typer(report.commands)
app.add_typer(assets.commands)
app.add_typer(measuring.commands)
app.add_typer(releasing.commands)
app.add_typer(drift.commands)
app.add_typer(extractors.commands, name="extractor")
app.add_typer(data.commands, name="data")
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """Run the command line; every error that a user can mend is one line and an exit code."""
    try:
        app()
    except GanmillError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; the same command goes on from here.", PreemptedError.exit_code)
    except PermissionError as error:
        _fail(f"{error.filename}: no permission. Mend its owner or mode.", UsageError.exit_code)


@app.command(epilog="Example: ganmill demo")
def demo() -> None:
    """Start everything, run the stickers recipe from end to end, and show what came out."""
    retrain("stickers", force=False, as_json=False)


@app.command(epilog="Example: ganmill init my-avatars --images ~/avatars.zip --pixel-art")
def init(
    name: Annotated[str, typer.Argument(help="Of the new recipe: a-z 0-9 . _ -")],
    images: Annotated[
        str | None,
        typer.Option(
            help="A folder, zip, tar, WebDataset or parquet, or the address (s3, http) of one."
        ),
    ] = None,
    known: Annotated[
        str | None,
        typer.Option("--from", help="A set that torchvision knows: cifar10, fashion ..."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="folder, none, or a column; several columns make a class of each combination. "
            "Found by itself if not given."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="The column of images that belong together: none is held out alone."),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(help="16, 28, 32, 64, 128 or 256 px; read from the images if not given."),
    ] = None,
    kimg: Annotated[float, typer.Option(help="Training budget in thousands of images.")] = 40.0,
    licence: Annotated[
        str | None, typer.Option(help="Under which licence the images are; unknown if not given.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(help="Lay transparent images on this colour; else they keep their alpha."),
    ] = None,
    pixel_art: Annotated[
        bool, typer.Option("--pixel-art", help="Hard pixels: never smooth them.")
    ] = False,
) -> None:
    """Add a recipe for your own images, or for a well-known set."""
    from flows import show
    from flows.newcomer import propose, propose_from

    layout, settings = place()
    if known is not None:
        if label or group or background or pixel_art:
            raise UsageError("--from knows its labels and pixels; leave the other options out.")
        found = propose_from(
            layout,
            name,
            known,
            images=images,
            resolution=resolution,
            kimg=kimg,
            licence=licence,
            download=settings.download,
        )
    elif images is not None:
        found = propose(
            layout,
            name,
            images,
            label=label or (),
            group=group,
            resolution=resolution,
            kimg=kimg,
            licence=licence or "unknown",
            background=background,
            pixel_art=pixel_art,
        )
    else:
        raise UsageError("init: give --images PATH or --from NAME, say --from cifar10.")
    show.proposal(*found)


@app.command(epilog="Example: ganmill recipes --json")
def recipes(as_json: AsJson = False) -> None:
    """List the recipes of params.yaml."""
    from flows import show
    from gan.recipe import load_recipes

    layout, _ = place()
    show.recipes(load_recipes(layout.params), as_json=as_json)


@app.command(epilog="Example: ganmill summary stickers --json")
def summary(recipe: RecipeName, as_json: AsJson = False) -> None:
    """Print a recipe's networks: layers, parameters, FLOPs and memory; nothing is trained."""
    from flows.commands import summary as show
    from gan.recipe import load_recipe

    layout, _ = place()
    found = load_recipe(layout.params, recipe)  # before torch: a misspelt name answers at once
    from gan.summary import summarise

    show.summary(summarise(layout, found), as_json=as_json)


@app.command(epilog="Example: ganmill validate stickers")
def validate(
    recipe: RecipeName,
    suggest: Annotated[
        bool,
        typer.Option("--suggest", help="Propose a contract that these images meet, and why."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the images in and hold the data contract over them."""
    from flows import show

    layout, settings = place()
    look_at_source(layout, settings, recipe)
    if suggest:
        with contextlib.suppress(ContractError):  # the contract of now may well be the wrong one
            stages(layout, recipe, ("ingest", "validate"))
        show.suggestion(layout, recipe, as_json=as_json)
        return
    try:
        stages(layout, recipe, ("ingest", "validate"))
    finally:
        show.verdict(layout, recipe, as_json=as_json)


@app.command(epilog="Example: ganmill retrain stickers --force")
def retrain(
    recipe: RecipeName,
    force: Annotated[
        bool,
        typer.Option("--force", help="Train although nothing changed, from the champion of now."),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Leave a stopped training of other parameters; start anew."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would run, measure what it takes, and stop."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the champion up to date: check, train, measure, register, gate, promote, mint.

    Killed at any moment, the same command goes on where it was.
    """
    from flows import show

    layout, settings = place()
    require_recipe(layout, recipe)
    if dry_run:
        from flows.commands import outlook
        from gan.recipe import load_recipe

        found = outlook.outlook(layout, load_recipe(layout.params, recipe))
        outlook.show(found, as_json=as_json)
        return
    with servers(layout, settings) as run:
        print(f"retrain {recipe}", file=sys.stderr)
        outcome = run("flows.retrain", "retrain", recipe, force=force, fresh=fresh)
        show.outcome(layout, settings, outcome, as_json=as_json)


def _fail(line: str, code: int) -> None:
    print(f"ganmill: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
