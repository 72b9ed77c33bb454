"""`ganmill data`: every version of the images, what descends from one of them, taking it out."""

import json
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from flows.session import place, require_recipe

if TYPE_CHECKING:
    from flows.datasets.catalog import DatasetRecord
    from flows.settings import Settings
    from gan.paths import Layout

commands = typer.Typer(
    no_args_is_help=True,
    help="Versions of the images: list, compare, bring back, check, trace, take out.",
)
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
VersionName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE[@VERSION]",
        help="VERSION: latest, the beginning of a data digest, or a model: champion, v3.",
    ),
]
SampleName = Annotated[
    str,
    typer.Argument(
        help="An image file, the beginning of a file's SHA-256, or the image's name in its source."
    ),
]
OneRecipe = Annotated[str | None, typer.Option(help="Look in this recipe alone.")]


@commands.command("list", epilog="Example: ganmill data list stickers")
def list_versions(recipe: RecipeName, as_json: AsJson = False) -> None:
    """List the versions of a recipe's images, oldest first, and the models trained on each."""
    layout, settings = place()
    require_recipe(layout, recipe)
    from flows.datasets import catalog, data_story, descent

    known = catalog.records(layout, recipe)
    models, _ = descent.models(layout, settings, recipe)
    data_story.listed(known, models, as_json=as_json)
    if as_json:
        return
    if known:
        print(f"See what one holds: ganmill data card {recipe}@{known[-1].digest[:12]}")
    else:
        print(f"{recipe} has no data version yet. Make one: ganmill retrain {recipe}")


@commands.command(epilog="Example: ganmill data diff stickers@champion")
def diff(
    before: VersionName,
    after: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE][@VERSION]",
            help="The same, or @VERSION of the same recipe; the latest if not given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what became different from one version to another; of a recipe alone, since its last."""
    layout, settings = place()
    from flows.datasets import catalog, comparing, data_story

    recipe, at, _ = before.partition("@")
    if not at and after is None:
        known = catalog.records(layout, recipe)
        if len(known) > 1:
            before = f"{recipe}@{known[-2].digest}"
    old = _version(layout, settings, before)
    after = after or recipe
    new = _version(layout, settings, recipe + after if after.startswith("@") else after)
    found = comparing.diff(old, new)
    data_story.differing(old, new, found, as_json=as_json)
    if not as_json:
        print(f"See what it holds: ganmill data card {new.recipe}@{new.digest[:12]}")


@commands.command(epilog="Example: ganmill data card stickers@champion --open")
def card(
    version: VersionName,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where the data card of a version is: counts, licence, sources, known gaps, pictures."""
    layout, settings = place()
    found = _version(layout, settings, version)
    from flows.datasets import data_card
    from flows.datasets.catalog import CROISSANT
    from flows.story import shown

    home = found.folder / data_card.CARD
    files = {
        "page": home / data_card.PAGE,
        "markdown": home / data_card.TEXT,
        "croissant": found.folder / CROISSANT,
    }
    if open_page:
        webbrowser.open(files["page"].as_uri())
    if as_json:
        print(json.dumps({"digest": found.digest, **{k: str(p) for k, p in files.items()}}))
        return
    for name, path in files.items():
        print(f"  {name:<10} {shown(path)}")
    print(f"Bring the images back: ganmill data checkout {found.recipe}@{found.digest[:12]}")


@commands.command(epilog="Example: ganmill data checkout stickers@v3")
def checkout(version: VersionName, as_json: AsJson = False) -> None:
    """Bring an earlier version of the images back, beside the present one, every byte checked."""
    layout, settings = place()
    found = _version(layout, settings, version)
    from flows.datasets import checkout as checking_out
    from flows.story import shown

    folder = checking_out.checkout(layout, found.recipe, found.digest)
    if as_json:
        print(json.dumps({"digest": found.digest, "folder": str(folder)}))
        return
    print(f"{found.recipe}@{found.digest[:12]}: {found.accepted:,} images in {shown(folder)}")
    print(f"How to load them: ganmill data card {found.recipe}@{found.digest[:12]}")


@commands.command(epilog="Example: ganmill data verify stickers --mend")
def verify(
    version: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE[@VERSION]", help="As for checkout; every version if none is given."
        ),
    ],
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Put cache and remote right from each other or from a file."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every byte of a version, in workspace, checkout, cache and remote, and check it."""
    layout, settings = place()
    from flows.datasets import catalog, data_story, verifying
    from gan.errors import DamagedError

    recipe, at, _ = version.partition("@")
    require_recipe(layout, recipe)
    known = [_version(layout, settings, version)] if at else catalog.records(layout, recipe)
    if mend:
        for each in known:
            verifying.mend(layout, each)
    found = [(each, verifying.verify(layout, each)) for each in known]
    data_story.verified(found, as_json=as_json)
    if damaged := [each for each, damage in found if damage]:
        raise DamagedError(
            f"{recipe}: {len(damaged)} of {len(known)} data versions are not as they were, say "
            f"{damaged[0].digest[:12]}. Put right what can be: ganmill data verify {recipe} --mend"
        )


@commands.command(epilog="Example: ganmill data trace ~/complaint/cat-0012.png")
def trace(sample: SampleName, recipe: OneRecipe = None, as_json: AsJson = False) -> None:
    """Say what became of one image: the data versions, models and batches that descend from it.

    It is also found as the same pixels in another file, and as a near copy.
    """
    layout, settings = place()
    from flows.datasets import data_story, tracing

    found = tracing.trace(layout, settings, _recipes(layout, recipe), sample)
    data_story.traced(found, as_json=as_json)
    if not as_json and found.files(near=False):
        digest = found.sample.sha256[:16]
        recipes = ", ".join(f"ganmill retrain {name}" for name in found.files(near=False))
        print(
            f"It is left out from now on; for data without it: {recipes}"
            if found.is_removed
            else f'Take it out: ganmill data remove {digest} --reason "..."'
        )


@commands.command(epilog='Example: ganmill data remove cats/0012.png --reason "the owner asked"')
def remove(
    sample: SampleName,
    reason: Annotated[str, typer.Option(help="Why; it stands in params.yaml and on record.")],
    by: Annotated[
        str | None,
        typer.Option(help="Who says so; GANMILL_ACTOR or the login name if not given."),
    ] = None,
    recipe: OneRecipe = None,
    near: Annotated[
        bool, typer.Option("--near", help="Its near copies, too; look at them before: trace.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Never let an image in again: it, and every file of the same pixels.

    Nothing that was made from it is deleted; what descends from it is named.
    """
    layout, settings = place()
    from flows.datasets import data_story, removal, tracing
    from gan.errors import UsageError

    found = tracing.trace(layout, settings, _recipes(layout, recipe), sample)
    files = found.files(near=near)
    if not files:  # a file that nobody has seen yet may be kept out beforehand
        if recipe is None:
            raise UsageError(
                f"{sample}: no data version has it. To keep it out of a recipe that it never was "
                "in, name that with --recipe."
            )
        files = {recipe: {found.sample.sha256: ""}}
    actor = by or settings.actor
    made = [
        each
        for name, theirs in files.items()
        for each in removal.remove(layout, name, theirs, reason=reason, by=actor)
    ]
    data_story.removed(layout, found, made, files, as_json=as_json)


def _recipes(layout: "Layout", recipe: str | None) -> list[str]:
    """Return the recipes that are meant: one, or all.

    Raises:
        RecipeError: There is no such recipe.
    """
    from gan.recipe import load_recipes

    if recipe is not None:
        require_recipe(layout, recipe)
        return [recipe]
    return list(load_recipes(layout.params))


def _version(layout: "Layout", settings: "Settings", text: str) -> "DatasetRecord":
    """Return the data version that `RECIPE[@VERSION]` means.

    Raises:
        RecipeError: There is no such recipe.
        UsageError: There is no such version or model.
    """
    from flows.datasets import catalog, descent

    recipe, _, word = text.partition("@")
    require_recipe(layout, recipe)
    if word == "champion" or (word.startswith("v") and word[1:].isdecimal()):
        word = descent.data_of(layout, settings, recipe, word)
    return catalog.find(layout, recipe, word or catalog.LATEST)
