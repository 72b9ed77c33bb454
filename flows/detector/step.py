"""The detector of a recipe, brought up to date: which models it is shown, and whether it must be.

It learns from the recipe's prepared images and from what the champion and the versions before it
make. A detector of the same models, images and length stays as it is, so this may be asked for at
any time: after a promotion, and by `ganmill detector RECIPE`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows import ledger, registry, release
from flows.registry import Version
from flows.settings import Settings
from flows.story import Mill, say, shown
from gan.durable import run_lock
from gan.errors import DamagedError, SourceError
from gan.paths import Layout
from gan.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gan.bundle import Bundle
    from gan.detector.cards import DetectorCard
    from gan.modality import Items
    from gan.progress import Say

TRAINED, UNCHANGED, SKIPPED = "trained", "unchanged", "skipped"


@dataclass(frozen=True)
class Done:
    """What became of a recipe's detector.

    Attributes:
        state: `trained`, `unchanged` or `skipped`.
        note: What it can tell, or why there is none.
        card: Its card; None where it was skipped.
    """

    state: str
    note: str
    card: "DetectorCard | None"


def step(mill: Mill) -> tuple[str, str, None]:
    """Bring the detector up to date, as a step of a flow.

    Raises:
        ServiceError: MLflow did not answer.
        DamagedError: The champion or the prepared images are not what they were.
    """
    done = bring_up_to_date(mill.layout, mill.settings, mill.recipe)
    return done.state, done.note, None


def bring_up_to_date(
    layout: Layout, settings: Settings, recipe: Recipe, progress: "Say" = say
) -> Done:
    """Train the recipe's detector, unless the one that is there is of the same models and images.

    Raises:
        BusyError: Another process trains it.
        ServiceError: MLflow did not answer.
        DamagedError: The champion or the prepared images are not what they were.
    """
    if recipe.detector.kimg <= 0:
        return Done(SKIPPED, "detector.kimg is 0", None)
    with run_lock(layout.lock(f"detector-{recipe.name}"), f"detector {recipe.name}"):
        champion = release.serving(layout, settings, recipe.name)
        if champion is None:
            return Done(SKIPPED, "no champion yet", None)
        from gan.image.dataset import open_dataset

        real = open_dataset(layout.train_data(recipe.name))
        bundles, left_out = _bundles(layout, settings, recipe, champion, real)
        if not bundles:
            return Done(SKIPPED, left_out[0], None)
        card, state = _present(layout, recipe, real, bundles), UNCHANGED
        if card is None:
            try:
                card, state = _train(layout, recipe, real, bundles, progress), TRAINED
            except SourceError as error:
                return Done(SKIPPED, str(error), None)
    return Done(state, "; ".join([_told(layout, recipe, card), *left_out]), card)


def _bundles(
    layout: Layout, settings: Settings, recipe: Recipe, champion: Version, real: "Items"
) -> "tuple[list[Bundle], list[str]]":
    """Return the champion's bundle and those before it, and why others are left out.

    Those before it are older versions, and newer ones that were champion until a rollback: what
    they made is out there too.

    Raises:
        DamagedError: The champion's files are not those that were registered.
    """
    from gan.bundle import open_bundle

    known = registry.versions(settings, recipe.name)  # newest first
    served = {
        entry.to_version
        for entry in ledger.read(layout.ledger)
        if entry.recipe == recipe.name and entry.event in {"done", "rollback"}
    }
    others = [each for each in known if each.number != champion.number]
    earlier = [each for each in others if each.number < champion.number or each.number in served]
    bundles: list[Bundle] = []
    left_out: list[str] = []
    for version in (champion, *earlier):
        if len(bundles) > recipe.detector.models:
            break
        try:
            bundle = open_bundle(registry.fetch(settings, version, layout.bundle_store))
        except DamagedError as error:
            if version is champion:
                raise
            left_out.append(f"v{version.number} is left out: {error}")
            continue
        card = bundle.card
        if (card.resolution, card.channels) == (real.resolution, real.channels):
            bundles.append(bundle)
        else:
            left_out.append(
                f"v{version.number} is left out: it makes {card.resolution} px images with "
                f"{card.channels} channels, the data has {real.resolution} px with {real.channels}"
            )
            if version is champion:
                return [], left_out
    return bundles, left_out


def _present(
    layout: Layout, recipe: Recipe, real: "Items", bundles: "Sequence[Bundle]"
) -> "DetectorCard | None":
    """Return the card of the detector that is there, if it is what would be trained now."""
    from gan.detector.cards import read_card

    try:
        _, card = read_card(layout.detector(recipe.name))
    except DamagedError:
        return None
    there = (card.data_digest, [each.digest for each in card.models], card.spec, card.seed)
    spec = recipe.detector.model_dump()
    wanted = (real.digest, [each.digest for each in bundles], spec, recipe.train.seed)
    return card if there == wanted else None


def _train(
    layout: Layout, recipe: Recipe, real: "Items", bundles: "Sequence[Bundle]", progress: "Say"
) -> "DetectorCard":
    """Train, measure, and write the page beside the card."""
    from flows.detector.page import PAGE, render
    from gan.detector import train_detector
    from gan.detector.opening import open_examples
    from gan.durable import write_atomically, write_sums

    folder = layout.detector(recipe.name)
    card = train_detector(folder, real, bundles, recipe.detector, recipe.train.seed, progress)
    page = render(recipe.name, card, open_examples(folder, card))
    write_atomically(folder / PAGE, page.encode())
    write_sums(folder)  # killed before it, the folder counts as damaged and is made again
    return card


def _told(layout: Layout, recipe: Recipe, card: "DetectorCard") -> str:
    """Return the two rates that matter most, and where to read the rest."""
    from flows.detector.page import PAGE

    usual = card.conditions[1]
    return (
        f"{usual.real.value:.1%} of {usual.real.n:,} real images taken for synthetic, "
        f"{usual.champion.value:.1%} of the champion's found; "
        f"{shown(layout.detector(recipe.name) / PAGE)}"
    )
