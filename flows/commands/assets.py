"""Commands about assets: mint a batch, whose is this file, make one again, look, publish."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from flows.session import place, require_recipe, servers
from gan.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from flows.settings import Settings
    from gan.assets.manifest import BatchCard
    from gan.paths import Layout
    from gan.sections import CampaignSpec

commands = typer.Typer()
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
By = Annotated[str | None, typer.Option(help="Who says so; the login name if not given.")]
BatchName = Annotated[Path, typer.Argument(help="The folder of a batch: assets/<recipe>/<batch>")]


@commands.command(epilog="Example: ganmill generate stickers --campaign daily --dry-run")
def generate(
    recipe: RecipeName,
    campaign: Annotated[
        str, typer.Option(help="One of assets.campaigns; what `assets` itself says if not given.")
    ] = "default",
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Accepted assets wanted; the campaign's count if not given."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the latents; the campaign's if not given.")
    ] = None,
    slot: Annotated[
        str | None, typer.Option(help="The occasion, one batch each; today if not given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made and what it takes, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mint a batch of assets; killed at any moment, the same command finishes it.

    A batch that is short of what was wanted is there, and the command ends with exit code 6.
    """
    layout, settings = place()
    require_recipe(layout, recipe)
    with servers(layout, settings) as run:
        if dry_run:
            _expect(layout, settings, recipe, campaign, count, seed, slot, as_json=as_json)
            return
        folder = run("flows.generate", "generate", recipe, count, seed, slot, campaign)
    if as_json:
        print((folder / "batch.json").read_text())
        return
    print(f"Contact sheet: {folder / 'index.html'}")


@commands.command(epilog="Example: ganmill verify downloads/sticker.webp")
def verify(
    paths: Annotated[
        list[Path], typer.Argument(help="Files, folders of files, or folders of batches.")
    ],
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Ask every layer; look for the watermark at any scale."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether files are ours and what made them; of a batch, whether it is as it was minted.

    A batch that is not ends the command with exit code 1; of files the answer is printed.
    """
    layout, settings = place()
    from flows.commands import verifying
    from flows.minting import marks
    from flows.provenance import looking
    from gan.assets.manifest import BATCH

    signs = marks(layout, settings)
    asked = (layout, signs.signing, signs.key())
    broken = []
    for path in paths:
        if (path / BATCH).is_file():
            if _tell(path, looking.verify_batch(signs.signing, path), as_json=as_json):
                broken.append(path)
        elif path.is_dir():
            verifying.show_all(looking.look_all(*asked, path, thorough=thorough), as_json=as_json)
        else:
            verifying.show(looking.look(*asked, path, thorough=thorough), as_json=as_json)
    if broken:
        raise DamagedError(
            f"{broken[0]}: is not as it was minted; nothing of it is published. Mend it: delete "
            "its batch.json and mint the same request again."
        )


@commands.command(epilog="Example: ganmill regenerate 4f1c09ab7d3e2516 --out again")
def regenerate(
    asset: Annotated[str, typer.Argument(help="An asset's id, 16 hex digits.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; ./<asset> if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an asset again from its row in a manifest, and say whether it is the same."""
    layout, settings = place()
    from flows.commands.regenerating import regenerate as make_again

    done = make_again(layout, settings, asset, out or Path(asset))
    if as_json:
        found = {
            "asset": asset,
            "is_identical": done.identical,
            "deviation": done.deviation,
            "files": [str(path) for path in done.files],
        }
        print(json.dumps(found, indent=2))
        return
    for path in done.files:
        print(path)
    if done.identical:
        print("the same, byte for byte")
    elif done.deviation is None:
        print("made by another kind of machine; nothing is here to compare it with")
    else:
        print(f"not the same bytes; the pictures differ by {done.deviation:.3f} levels of 255")


@commands.command(epilog="Example: ganmill review assets/stickers/2026-11-22-1a2b3c4d --by ada")
def review(
    batch: BatchName,
    accept: Annotated[
        list[str] | None, typer.Option(help="An asset that may go out, or `all` of the rest.")
    ] = None,
    reject: Annotated[list[str] | None, typer.Option(help="An asset that may not.")] = None,
    by: By = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any free.")] = 0,
) -> None:
    """Look at a batch in the browser and say which assets may go out, or say it here."""
    _, settings = place()
    from flows.review import review as reviews

    actor = by or settings.actor
    if accept or reject:
        said = reviews.decide(batch, accept=accept or (), reject=reject or (), actor=actor)
    else:
        from flows.review.server import serve

        served = serve(batch, actor=actor, port=port)
        if served is None:
            print("Nothing was said.", file=sys.stderr)
            return
        said = served
    words = list(said.decisions.values())
    left = len(reviews.undecided(reviews.reviewable(batch), said))
    print(f"{words.count('accept')} may go out, {words.count('reject')} may not, {left} undecided")
    if not left:
        print(f"Publish the batch with: ganmill publish {batch}")


@commands.command(epilog="Example: ganmill publish assets/stickers/2026-11-22-1a2b3c4d --form zip")
def publish(
    batch: BatchName,
    to: Annotated[
        str | None,
        typer.Option(help="A folder or s3:// address; the campaign's sink if not given."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(help="folder, zip, webdataset or imagefolder; the campaign's if not given."),
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Put the assets of a batch where they go: verified, within limits, reviewed if asked for."""
    layout, settings = place()
    from flows.minting import marks
    from flows.publish import publish as let_out
    from gan.assets.manifest import read_batch
    from gan.sections import CampaignSpec

    if form is not None and form not in get_args(CampaignSpec.model_fields["form"].annotation):
        raise UsageError(f"--form is {form!r}; it must be folder, zip, webdataset or imagefolder.")
    spec = _delivery(layout, read_batch(batch))
    if to is not None and "://" not in to:
        to = str(Path(to).absolute())  # as it is typed here; a recipe's is below the workspace
    changes = {key: value for key, value in {"sink": to, "form": form}.items() if value}
    spec = spec.model_copy(update=changes)
    signs = marks(layout, settings)
    done = let_out(layout, batch, spec, actor=by or settings.actor, marks=signs)
    if as_json:
        print(done.line.model_dump_json(indent=2))
        return
    state = "was there already" if done.already else "published"
    kept = f", {done.rejected} kept back by a person" if done.rejected else ""
    files = "1 file" if done.files == 1 else f"{done.files} files"
    print(f"{state}: {done.line.assets} assets, {files}{kept}: {done.line.target}")


@commands.command(epilog="Example: ganmill detector stickers")
def detector(recipe: RecipeName, as_json: AsJson = False) -> None:
    """Bring up to date what tells a recipe's synthetic images from real ones; say how well it can.

    A retraining does it by itself. `ganmill verify` asks it about files that carry no mark.
    """
    layout, settings = place()
    require_recipe(layout, recipe)
    from flows.detector import step
    from gan.recipe import load_recipe

    done = step.bring_up_to_date(layout, settings, load_recipe(layout.params, recipe))
    if as_json:
        card = done.card.model_dump(mode="json") if done.card else None
        print(json.dumps({"state": done.state, "note": done.note, "card": card}, indent=2))
        return
    print(f"{done.state}: {done.note}")


def _tell(folder: Path, found: list[str], *, as_json: bool) -> bool:
    """Print what is wrong with a batch; return whether anything is."""
    if as_json:
        print(json.dumps({"batch": str(folder), "is_whole": not found, "problems": found}))
    else:
        print("\n".join(f"{folder}: {each}" for each in found or ["every byte is as minted"]))
    return bool(found)


def _delivery(layout: "Layout", card: "BatchCard") -> "CampaignSpec":
    """Return a batch's campaign; where it goes is as the recipe has it today, if it still does."""
    from gan.assets.regenerate import campaign
    from gan.recipe import load_recipes
    from gan.sections import DEFAULT_CAMPAIGN

    then = campaign(card)
    recipe = load_recipes(layout.params).get(card.recipe)
    if recipe is None or card.campaign not in {DEFAULT_CAMPAIGN, *recipe.assets.campaigns}:
        return then
    now = recipe.assets.campaign(card.campaign)
    review = then.review or now.review  # a promise to look is not taken back
    return then.model_copy(update={"sink": now.sink, "form": now.form, "review": review})


def _expect(
    layout: "Layout",
    settings: "Settings",
    recipe: str,
    campaign: str,
    count: int | None,
    seed: int | None,
    slot: str | None,
    *,
    as_json: bool,
) -> None:
    """Print what the request would give."""
    from flows.commands import minting_outlook
    from flows.story import Lineage, Mill
    from gan.recipe import load_recipe

    mill = Mill(layout, settings, load_recipe(layout.params, recipe), Lineage("", "", ""))
    found = minting_outlook.expect(mill, campaign, count=count, seed=seed, slot=slot)
    minting_outlook.show(found, as_json=as_json)
