"""What a change did to the metrics, for a pull request: `ganmill report`, `ganmill trial`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flows.session import place
from gan.errors import UsageError

commands = typer.Typer()


@commands.command(epilog="Example: ganmill report --against main --md > report.md")
def report(
    recipe: Annotated[
        list[str] | None, typer.Argument(help="Recipes; all of params.yaml if not given.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="A revision of git: a branch, tag or commit.")
    ] = "HEAD",
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Print the recipes whose stages a change touches, no more."),
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--md", help="Print Markdown for a pull request.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """What is different since a revision: parameters, images, and every metric with its interval.

    The figures of then come out of git, or out of DVC's cache or remote by the dvc.lock of then;
    those of now lie in the workspace. Nothing is run.
    """
    if as_markdown and as_json:
        raise UsageError("report: --md or --json, not both.")
    layout, _ = place()
    from flows.revisions import changed_recipes, revision

    since = revision(layout, against)
    if changed:
        found = {n: why for n, why in changed_recipes(since).items() if not recipe or n in recipe}
        print(json.dumps(found, indent=2) if as_json else "\n".join(found))
        return
    from flows.report import report as reporting
    from flows.report.page import markdown, text

    done = reporting.report(layout, since, recipe or ())
    if as_json:
        print(json.dumps(asdict(done), indent=2))
    else:
        print(markdown(done) if as_markdown else text(done))


@commands.command(epilog="Example: ganmill trial stickers && dvc repro evaluate@stickers")
def trial(
    recipe: Annotated[list[str], typer.Argument(help="Recipes of params.yaml.")],
    kimg: Annotated[
        float, typer.Option(min=0.1, help="Thousands of images that the training is shown.")
    ] = 8.0,
) -> None:
    """Shrink recipes in params.yaml to what two cores train in minutes, to see what a change does.

    The network becomes `tiny`, the training starts from scratch. git checkout params.yaml brings
    the recipes back.
    """
    layout, _ = place()
    from flows.report.trial import shrink

    shrink(layout, recipe, kimg)
    for name in recipe:
        print(f"{name}: tiny, {kimg:g} kimg from scratch. Next: dvc repro evaluate@{name}")
