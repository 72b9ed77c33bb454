"""`ganmill extractor`: bring weights in, show what measures a recipe, renew it.

A renewal replaces the pinned extractor by one stage of DVC, and then measures the champion with the
new one, so that the next decision has a figure to compare with. What it replaces is noted in
`.ganmill/renewals/` before anything changes and forgotten when the champion is measured: killed or
without MLflow, the same command goes on where it was and makes no third extractor.
"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.session import place, servers, stages

if TYPE_CHECKING:
    from flows.settings import Settings
    from gan.metrics.cards import ExtractorCard
    from gan.paths import Layout
    from gan.recipe import Recipe

commands = typer.Typer(
    no_args_is_help=True, help="What models are measured with: bring it in, show it, renew it."
)
RecipeName = Annotated[str, typer.Argument(help="A recipe of params.yaml; see: ganmill recipes")]
_SETTING = "GANMILL_INCEPTION_WEIGHTS"


@dataclass(frozen=True)
class Renewal:
    """What a renewal replaces.

    Attributes:
        old: Digest of the extractor before, None where there was none.
        new: Digest of the one after, None until it is there.
        before: What the old one said, by bundle digest: the distance's name, value, low, high.
    """

    old: str | None
    new: str | None
    before: dict[str, dict[str, Any]]


@commands.command(
    epilog="Example: ganmill extractor add inception --weights ~/pt_inception-2015-12-05.pth"
)
def add(
    name: Annotated[str, typer.Argument(help="inception, or a network of torchvision.")],
    weights: Annotated[
        str | None,
        typer.Option(help=f"A path, or an address of http(s); for inception else ${_SETTING}."),
    ] = None,
) -> None:
    """Fetch the weights of a feature network once, check their SHA-256 and store them converted.

    The distance is called FID with the standard weights alone. Every other file is safetensors.
    """
    from gan.durable import run_lock
    from gan.errors import UsageError
    from gan.sections import EXTRACTORS

    layout, settings = place()
    known = [each for each in EXTRACTORS if each != "domain"]
    if name not in known:
        raise UsageError(f"extractor {name!r}: unknown. Known: {', '.join(known)}.")
    default = settings.inception_weights if name == "inception" else None
    source = weights or (default.get_secret_value() if default else None)
    if not source:
        also = f", or set {_SETTING}" if name == "inception" else ""
        raise UsageError(f"extractor {name}: where are its weights? Give --weights{also}.")
    from gan.metrics.weights import add_extractor

    with run_lock(layout.lock(f"extractor-{name}"), f"extractor add {name}"):
        digest, card = add_extractor(name, source, layout.extractor_store(name))
    print(f"{name}@{digest[:8]}: {card.dims} features; its distance is called {card.distance}")
    print(
        f"Measure with it: set evaluate.extractor to {name} in params.yaml, then run "
        "ganmill extractor renew RECIPE"
    )


@commands.command(epilog="Example: ganmill extractor show stickers --json")
def show(
    recipe: RecipeName,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Print what a recipe is measured with, and whether it still fits the recipe."""
    from gan.metrics.cards import read_card
    from gan.recipe import load_recipe

    layout, _ = place()
    wanted = load_recipe(layout.params, recipe).evaluate.extractor
    digest, card = read_card(layout.extractor(recipe))
    if as_json:
        named = {"distance": card.distance, "kernel": card.kernel, "wanted": wanted}
        print(json.dumps({"digest": digest, **named, "card": card.model_dump()}, indent=2))
        return
    for key, value in _described(card, digest).items():
        print(f"  {key:<14} {value}")
    if card.name != wanted:
        print(f"params.yaml asks for {wanted}. Change to it: ganmill extractor renew {recipe}")


@commands.command(epilog="Example: ganmill extractor renew stickers")
def renew(recipe: RecipeName) -> None:
    """Replace the pinned extractor, and measure the champion with the new one.

    Figures of the old and the new extractor cannot be compared. The next retrain trains anew,
    because its training is watched with the extractor.
    """
    from gan.durable import run_lock
    from gan.errors import ServiceError
    from gan.recipe import load_recipe

    layout, settings = place()
    loaded = load_recipe(layout.params, recipe)
    with run_lock(layout.lock(f"retrain-{recipe}"), f"extractor renew {recipe}"):
        if _noted(layout, recipe) is None:
            stages(layout, recipe, ("ingest", "validate", "prepare"))
        done = replace_extractor(layout, loaded)
        _tell_digests(recipe, done)
        try:
            with servers(layout, settings):
                found = measure_champion(layout, settings, loaded)
        except ServiceError as error:
            raise ServiceError(
                f"{error} The extractor is renewed; the champion is not measured with it yet. "
                f"Run again: ganmill extractor renew {recipe}"
            ) from error
        _tell_champion(layout, recipe, done, found)
        forget(layout, recipe)
    print(f"Next: ganmill retrain {recipe}    it trains anew, watched with the new extractor")


def replace_extractor(layout: "Layout", recipe: "Recipe") -> Renewal:
    """Make the recipe's extractor anew by its stage, and return what it replaces.

    Where a renewal stopped before its champion was measured, its extractor stands.

    Raises:
        GanmillError: The stage failed; the note stays, and the same call goes on.
    """
    from flows.versions import reproduce
    from gan.durable import verify_sums, write_json

    name, noted = recipe.name, _noted(layout, recipe.name)
    if noted is not None and noted.new is not None and _is_there(layout, recipe, noted.new):
        return noted
    if noted is None:
        present = _present(layout, name)
        noted = (
            Renewal(present[0], None, _figures(layout, name, *present))
            if present
            else Renewal(None, None, {})
        )
    write_json(layout.renewal(name), asdict(noted))
    reproduce(layout, "extractor", name, force=True)
    done = Renewal(noted.old, verify_sums(layout.extractor(name)), noted.before)
    write_json(layout.renewal(name), asdict(done))
    return done


def measure_champion(
    layout: "Layout", settings: "Settings", recipe: "Recipe"
) -> tuple[str, dict[str, Any]] | None:
    """Return the champion's bundle digest and its report by the present extractor, if there is one.

    Raises:
        ServiceError: MLflow did not answer; the renewal stands.
        DamagedError: MLflow and the ledger name different champions; the renewal stands.
    """
    from flows import registry, release
    from flows.gate import judging

    champion = release.serving(layout, settings, recipe.name)
    if champion is None:
        return None
    folder = registry.fetch(settings, champion, layout.bundle_store)
    return champion.digest, judging.measure(layout, recipe, folder)


def forget(layout: "Layout", recipe: str) -> None:
    """Drop the note of a renewal that is complete."""
    from gan.durable import remove

    remove(layout.renewal(recipe))


def _noted(layout: "Layout", recipe: str) -> Renewal | None:
    """Return the renewal that did not come to its end, if there is one."""
    from gan.durable import read_json
    from gan.errors import DamagedError

    path = layout.renewal(recipe)
    if not path.exists():
        return None
    try:
        return Renewal(**read_json(path))
    except TypeError as error:
        raise DamagedError(f"{path}: is no note of a renewal. Delete it.") from error


def _is_there(layout: "Layout", recipe: "Recipe", digest: str) -> bool:
    """Return whether the extractor of a digest is pinned, and is what the recipe asks for."""
    present = _present(layout, recipe.name)
    return present is not None and (present[0], present[1].name) == (
        digest,
        recipe.evaluate.extractor,
    )


def _present(layout: "Layout", recipe: str) -> "tuple[str, ExtractorCard] | None":
    """Return the pinned extractor's digest and card; None for one that is damaged or not there."""
    from gan.errors import DamagedError
    from gan.metrics.cards import read_card

    try:
        return read_card(layout.extractor(recipe))
    except DamagedError:
        return None


def _figures(
    layout: "Layout", recipe: str, digest: str, card: "ExtractorCard"
) -> dict[str, dict[str, Any]]:
    """Return the distances by an extractor that lie here in reports, by bundle digest."""
    from gan.durable import read_json

    versions = sorted(layout.version_report(recipe, "").glob("*/metrics.json"))
    found = {}
    for path in (*versions, layout.evaluation(recipe) / "metrics.json"):
        report = read_json(path) if path.exists() else {}
        if report.get("extractor", {}).get("digest") == digest:
            entry = report["metrics"][card.distance]
            found[report["bundle_digest"]] = {"name": card.distance, **entry}
    return found


def _described(card: "ExtractorCard", digest: str) -> dict[str, str]:
    """Return the lines of `show`."""
    lines = {"extractor": f"{card.name}@{digest[:8]}", "distance": card.distance}
    if card.kind == "domain":
        told = f"{len(card.classes)} classes" if card.task == "classes" else "quarter turns"
        lines["reads"] = f"{card.resolution} px, {card.channels} channels"
        lines["learnt"] = f"{told} of data {card.data_digest[:12]}"
        lines["accuracy"] = f"{card.accuracy:.1%} on {card.held_out:,} images held out"
    else:
        lines["weights"] = f"{card.source}, SHA-256 {card.source_sha256[:12]}"
    return {**lines, "features": str(card.dims), "standard": "yes" if card.standard else "no"}


def _tell_digests(recipe: str, done: Renewal) -> None:
    new = (done.new or "")[:8]
    if done.old == done.new:
        print(f"{recipe}: extractor {new} as before: the same images give the same network")
    else:
        print(f"{recipe}: extractor {(done.old or 'none')[:8]} -> {new}")


def _tell_champion(
    layout: "Layout", recipe: str, done: Renewal, found: tuple[str, dict[str, Any]] | None
) -> None:
    """Print the champion's distance by the old extractor and by the new one."""
    from flows.story import shown
    from gan.metrics.cards import read_card

    if found is None:
        print("There is no champion yet, so nothing is measured again.")
        return
    digest, report = found
    _, card = read_card(layout.extractor(recipe))
    before = done.before.get(digest)
    print(f"  before  {_figure(before) if before else 'not measured'}")
    print(f"  now     {_figure({'name': card.distance, **report['metrics'][card.distance]})}")
    print(f"  report  {shown(layout.version_report(recipe, digest))}")


def _figure(entry: dict[str, Any]) -> str:
    return (
        f"{entry['name']} {entry['value']:.4g} [{entry['low']:.4g}, {entry['high']:.4g}], "
        f"N {entry['n']}"
    )
