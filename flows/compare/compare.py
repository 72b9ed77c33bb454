"""`ganmill compare`: two models measured on the same latents, told on one page."""

import io
import json
import webbrowser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.compare.facts import Page, Side, Strip, better, cost_facts, headline, pairs
from flows.compare.models import Model, Reference, open_model, require_comparable
from flows.compare.page import render
from flows.gate import judging
from flows.settings import Settings
from flows.story import shown
from flows.tracking import flat
from gan.durable import write_atomically
from gan.errors import UsageError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from gan.bundle import Bundle
    from gan.metrics.report import Comparison
    from gan.metrics.sheet import Images

_SHOWN = 8  # images of a class


@dataclass(frozen=True)
class Compared:
    """What a comparison left: the page, its headline, both models and every figure."""

    page: Path
    headline: str
    a: Side
    b: Side
    found: "Comparison"
    commands: list[tuple[str, str]]


def compare(layout: Layout, settings: Settings, a: Reference, b: Reference) -> Compared:
    """Measure two models on the data of A's recipe and write the page that tells them apart.

    Raises:
        UsageError: One is not there, both are one, or they are too unlike to be compared.
        DamagedError: A bundle, the data or the extractor are not what their digests say.
        ServiceError: MLflow did not answer.
    """
    from gan.metrics.report import compare as measure_both

    recipe = load_recipe(layout.params, a.recipe)
    _require_prepared(layout, recipe.name)
    ours, theirs = (open_model(layout, settings, reference) for reference in (a, b))
    require_comparable(ours, theirs)
    found = measure_both(ours.bundle, theirs.bundle, judging.meter(layout, recipe))
    page = _page(recipe, ours, theirs, found)
    there = theirs.file_name if a.recipe == b.recipe else f"{b.recipe}-{theirs.file_name}"
    path = layout.comparison(recipe.name) / f"{ours.file_name}-against-{there}.html"
    write_atomically(path, render(page).encode())
    return Compared(
        path, headline(page.rows, page.samples), page.a, page.b, found, list(page.commands)
    )


def tell(done: Compared, *, as_json: bool, open_page: bool) -> None:
    """Print the headline and where the page is, for scripts every figure; open it if asked."""
    if open_page:
        webbrowser.open(done.page.as_uri())
    if as_json:
        document = {
            "page": str(done.page),
            "headline": done.headline,
            "a": {"name": done.a.name, "bundle": done.a.digest},
            "b": {"name": done.b.name, "bundle": done.b.digest},
            "samples": done.found.samples,
            "data": done.found.data_digest,
            "extractor": done.found.extractor_digest,
            "metrics": [{**asdict(row), "better": better(row)} for row in done.found.rows],
        }
        print(json.dumps(document, indent=2))
        return
    print(f"A  {done.a.name}\nB  {done.b.name}\n{done.headline}")
    print(f"Page: {shown(done.page)}")
    for why, command in done.commands:
        print(f"{why}\n  {command}")


def _require_prepared(layout: Layout, recipe: str) -> None:
    """Refuse a recipe whose images or extractor were never made here.

    Raises:
        UsageError: With the command that makes them.
    """
    if not (layout.train_data(recipe).is_dir() and layout.extractor(recipe).is_dir()):
        raise UsageError(
            f"{recipe}: its images or its extractor were never prepared in this workspace. "
            f"Run: ganmill evaluate {recipe}"
        )


def _page(recipe: Recipe, a: Model, b: Model, found: "Comparison") -> Page:
    parameters = pairs(_parameters(a, b), _parameters(b, a))
    parameters.sort(key=lambda fact: fact.name)
    measured = {
        "metric id": found.rows[0].metric_id,
        "extractor": found.extractor_digest[:12],
        "data": found.data_digest[:12],
        "evaluation seed": str(recipe.evaluate.seed),
    }
    strips, note = fixed_strips(a.bundle, b.bundle)
    return Page(
        a=a.side,
        b=b.side,
        rows=found.rows,
        samples=found.samples,
        measured=list(measured.items()),
        strips=strips,
        strips_note=note,
        parameters=[fact for fact in parameters if fact.a != fact.b],
        equal_parameters=sum(fact.a == fact.b for fact in parameters),
        data=pairs(a.data_facts, b.data_facts),
        data_note=_measured_on(recipe, a, b, found.data_digest),
        cost=pairs(cost_facts(a.bundle.card, a.run), cost_facts(b.bundle.card, b.run)),
        commands=_commands(a, b, better(found.rows[0])),
    )


def _parameters(model: Model, other: Model) -> dict[str, str]:
    """Return a model's parameters: the training run's if both have one, else the card's."""
    card = model.bundle.card
    if model.run.params and other.run.params:
        given = dict(model.run.params)
    else:
        given = flat({"model": {"preset": card.preset}, "train": card.train})
    chosen = {"gamma chosen": card.gamma} if card.gamma is not None else {}
    return {name: str(value) for name, value in {**given, **chosen}.items()}


def _measured_on(recipe: Recipe, a: Model, b: Model, digest: str) -> str:
    """Return in a sentence which images decided, and who was trained on them."""
    trained = [x for x, model in zip("AB", (a, b), strict=True) if model.data_digest == digest]
    whose = {2: "both were trained on them", 0: "neither was trained on exactly these"}
    who = whose.get(len(trained)) or f"of the two only {trained[0]} was trained on exactly these"
    return (
        f"Both were measured against the images of {recipe.name} as they are prepared now (data "
        f"digest {digest[:12]}); {who}. Rows in grey are equal."
    )


def fixed_strips(a: "Bundle", b: "Bundle") -> tuple[list[Strip], str]:
    """Return images of the same latents by class, and what to say about them."""
    from gan.metrics.pictures import of_fixed_latents, spread_over

    classes = a.card.classes
    shown = [classes[place] for place in spread_over(len(classes))]
    of_a, of_b = (of_fixed_latents(bundle, shown) for bundle in (a, b))
    names = shown if len(shown) > 1 else [f"{shown[0]}, row {n + 1}" for n in range(len(of_a))]
    strips = [
        Strip(name, _png(above), _png(below))
        for name, above, below in zip(names, of_a, of_b, strict=True)
    ]
    note = "The images of a column come from one latent: A above, B below."
    if a.card.z_dim != b.card.z_dim:
        note = "The models take latents of unlike sizes, so columns do not belong together."
    if len(shown) < len(classes):
        note += f" {len(shown)} of {len(classes)} classes are shown."
    return strips, note


def _png(images: "Images") -> bytes:
    """Return images [n, C, H, W] side by side as a PNG file."""
    from PIL import Image

    from gan.metrics.sheet import GAP_PX, SMALL_PX, tile

    tiles = [tile(image, SMALL_PX) for image in images[:_SHOWN]]
    width, height = tiles[0].size
    step = width + GAP_PX
    strip = Image.new("RGBA", (len(tiles) * step - GAP_PX, height))
    for place, each in enumerate(tiles):
        strip.paste(each, (place * step, 0))
    file = io.BytesIO()
    strip.save(file, "PNG", optimize=True)
    return file.getvalue()


def _commands(a: Model, b: Model, letter: str) -> list[tuple[str, str]]:
    """Return what may come next: promoting the better model, or seeing more."""
    model = a if letter == "A" else b
    name, version = model.recipe, model.version
    if not letter:
        why = "What this number of samples can tell apart at all (params.yaml: evaluate.samples):"
        command = f"ganmill evaluate {a.recipe} --calibrate"
    elif model.is_champion:
        why, command = f"{letter} is champion and stays; mint from it:", f"ganmill generate {name}"
    elif version is None:
        why = f"Register {letter}, gate it and, on a pass, make it champion:"
        command = f"ganmill retrain {name}"
    else:
        why = f"Make {letter} the champion, if the gate passes it:"
        command = f'ganmill promote {name} --version {version.number} --by YOU --reason "..."'
    return [(why, command)]
