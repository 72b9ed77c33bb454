"""The page of a detector: what it can and cannot tell, with every figure. A card in, HTML out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.detector.plots import STYLE, curve, reliability
from flows.page_style import cell, frame, head, image, next_steps, table, text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gan.detector.cards import Condition, DetectorCard, Example, Rate, Unseen

PAGE = "index.html"
_CHANCE = 0.6  # an average precision below it is next to nothing
_MEANING = {
    "as made": "What leaves the model, pixel by pixel.",
    "delivered": "Enlarged to 256 px, as an asset is written.",
    "delivered, JPEG q75": "An asset that a platform saved anew as JPEG.",
    "screenshot": "A part of it, rescaled, saved as JPEG of quality 85.",
    "own size, JPEG q75": "Saved as JPEG at the model's own small size, where a trace is a pixel.",
}


def render(recipe: str, card: "DetectorCard", pictures: "NDArray[np.uint8]") -> str:
    """Return the page; every name in it is shown as text, whatever it holds.

    Args:
        recipe: Whose detector.
        card: What it can tell.
        pictures: Of the card's examples, uint8 [n, 1 or 3, R, R].
    """
    body = (
        f"<h1>Can it tell what {text(recipe)} made?</h1>\n"
        f'<div class="verdict"><p>{_headline(card)}</p>'
        f"<p>{_unknown(card)}</p></div>\n"
        f"{_limits(card)}{_conditions(card)}{_models(card)}"
        f'<h2>Its scores</h2>\n<div class="curves">{curve(card)}{reliability(card)}</div>\n'
        f"{_examples(card, pictures)}{next_steps(_commands(recipe))}{_footer(card)}"
    )
    return frame(f"Detector: {recipe}", body, STYLE)


def _headline(card: "DetectorCard") -> str:
    usual = _usual(card)
    older = f", and {_percent(usual.older)} of what earlier ones made" if usual.older else ""
    return (
        f"Of {usual.real.n:,} real images that {_strangers(card)} it takes "
        f"<b>{_percent(usual.real)}</b> for synthetic. It finds <b>{_percent(usual.champion)}</b> "
        f"of what the champion makes{older}."
    )


def _strangers(card: "DetectorCard") -> str:
    """Return which real images it was measured on."""
    known = any("none is held out" in note for note in card.notes)
    return "the models know but it does not" if known else "no training saw"


def _unknown(card: "DetectorCard") -> str:
    """Return in a sentence what it makes of models that it was not shown."""
    if not card.unseen:
        return "What it makes of any other model is not known: it was shown one alone."
    least = min(card.unseen, key=lambda each: each.average_precision.value)
    value = least.average_precision.value
    if value < _CHANCE:
        said = "is next to nothing for at least one model: do not ask it about other generators"
    else:
        said = "holds up for these models; it says nothing of generators made elsewhere"
    return (
        f"Its average precision on a model that it was not shown is {value:.2f} at the least "
        f"(0.5 is chance). What it knows of strangers {said}."
    )


def _limits(card: "DetectorCard") -> str:
    worst = min(card.conditions, key=lambda each: each.champion.value)
    count, error = len(card.models), card.calibration_error.value
    known = "the one model" if count == 1 else f"one of the {count} models"
    odds = f"A probability, off by {error:.1%} on average where half of all pictures are synthetic."
    least = f"No more than it could check: never under {1 - card.surest:.1%}, nor over"
    missed = f"Find everything: of the champion&rsquo;s images it finds {_percent(worst.champion)}"
    can = [
        f"Whether a picture without marks looks like the work of {known} of this recipe.",
        f"{odds} Where fewer are, fewer of those it names are, too.",
        f"{least} {card.surest:.1%}.",
    ]
    cannot = [
        "Prove anything. A signed manifest, content credentials and the watermark do.",
        f"{missed} after &ldquo;{text(worst.name)}&rdquo;.",
        "Speak of photographs, drawings or generators unlike this recipe&rsquo;s own.",
        *(text(note) for note in card.notes),
    ]
    sides = (("What it can tell", can), ("What it cannot", cannot))
    lists = "".join(
        f'<section class="class"><h3>{name}</h3><ul>'
        f"{''.join(f'<li>{each}</li>' for each in said)}</ul></section>\n"
        for name, said in sides
    )
    return f'<div class="classes limits">\n{lists}</div>\n'


def _conditions(card: "DetectorCard") -> str:
    rows = "".join(
        f'<tr role="row">{_named(each.name)}{cell("Real", _rate(each.real))}'
        f"{cell('Champion', _rate(each.champion))}"
        f"{cell('Earlier', _rate(each.older) if each.older else '&ndash;')}</tr>\n"
        for each in card.conditions
    )
    names = ("After", "Real, wrongly called synthetic", "Champion&rsquo;s, found", "Earlier, found")
    return (
        "<h2>How often it is right</h2>\n"
        f'<p class="faded">It says &ldquo;synthetic&rdquo; from {card.threshold:.0%} on: that was '
        "set so that after no journey more than 5 % of the real images kept for it pass. "
        "Measured on others, each share with its 95 % interval. Real and generated images went "
        f"through the same.</p>\n{table(names, rows, 'rates')}"
    )


def _models(card: "DetectorCard") -> str:
    unseen = {each.digest: each for each in card.unseen}
    rows = "".join(
        f'<tr role="row">{head("Champion" if place == 0 else "Earlier")}'
        f"{cell('Bundle', f'<code>{model.digest[:12]}</code>')}"
        f"{_asked_blind(unseen.get(model.digest))}</tr>\n"
        for place, model in enumerate(card.models)
    )
    names = ("Model", "Bundle", "Average precision, not shown", "Found, not shown")
    return (
        "<h2>The models, asked by a detector that was not shown them</h2>\n"
        '<p class="faded">Two more detectors were shown every other model each, for half as long, '
        "and asked about the rest. A model that was trained from one of those is a near relative, "
        "and easier.</p>\n"
        f"{table(names, rows, 'rates')}"
        f'<p class="faded">The radial spectrum alone tells the champion&rsquo;s images from real '
        f"ones with an AUC of {card.spectrum_auc.value:.2f} [{card.spectrum_auc.low:.2f}, "
        f"{card.spectrum_auc.high:.2f}]; near 1 would be an artefact of its upsampling.</p>\n"
    )


def _asked_blind(found: "Unseen | None") -> str:
    if found is None:
        return cell("Precision", "not measured") + cell("Found", "not measured")
    precision = found.average_precision
    relative = "<small>a near relative was shown</small>" if found.is_relative else ""
    value = f"{precision.value:.3f} <small>[{precision.low:.3f}, {precision.high:.3f}]</small>"
    return cell("Precision", f"{value}{relative}") + cell("Found", _rate(found.true_positives))


def _examples(card: "DetectorCard", pictures: "NDArray[np.uint8]") -> str:
    """Return pictures with what was said of them, what it got wrong first."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for place, each in enumerate(card.examples):
        is_right = (each.probability >= card.threshold) == (each.kind == "synthetic")
        groups.setdefault((each.kind, is_right), []).append(place)
    shown = ""
    for kind, is_right, title in (
        ("real", False, "Real, called synthetic"),
        ("synthetic", False, "Synthetic, not found: the surest mistakes"),
        ("real", True, "Real, called real"),
        ("synthetic", True, "Synthetic, found"),
    ):
        places = groups.get((kind, is_right), [])
        figures = "".join(_example(card.examples[each], pictures[each]) for each in places)
        shown += (
            f'<section class="class"><h3>{title}</h3><div class="album">'
            f"{figures or '<p class=faded>None among those measured.</p>'}</div></section>\n"
        )
    return (
        '<h2>Examples</h2>\n<p class="faded">As the network reads them, with the probability of '
        f"being synthetic, each after one of the journeys above.</p>\n<div class=classes>{shown}"
        "</div>\n"
    )


def _example(example: "Example", picture: "NDArray[np.uint8]") -> str:
    from gan.image.encode import enlarge, png

    scale = max(1, 64 // picture.shape[1])
    kind = "A real image" if example.kind == "real" else "A generated image"
    alt = f"{kind} after {example.journey}: {example.probability:.1%} synthetic"
    return (
        f"<figure>{image(png(enlarge(picture[None], scale)[0]), alt)}<figcaption>"
        f"{example.probability:.1%}<small>{text(example.journey)}</small></figcaption></figure>"
    )


def _commands(recipe: str) -> Sequence[tuple[str, str]]:
    return [
        ("Ask about a file; marks are read first, and they are proof:", "ganmill verify FILE"),
        ("After new images or models; it does nothing where all is as it was:",
         f"ganmill detector {recipe}"),
    ]  # fmt: skip


def _footer(card: "DetectorCard") -> str:
    counts, error = card.real, card.calibration_error
    facts = (
        f"data <code>{card.data_digest[:12]}</code>",
        f"{card.images_shown:,} images shown",
        f"{card.resolution} px",
        f"real images: {counts['learnt']:,} learnt from",
        f"{counts['calibration']:,} kept to calibrate",
        f"{counts['measured']:,} to measure",
        f"calibration error {error.value:.3f} [{error.low:.3f}, {error.high:.3f}], N {error.n:,}",
        f"seed {card.seed}",
    )
    return f"<footer>{' &middot; '.join(facts)}</footer>\n"


def _usual(card: "DetectorCard") -> "Condition":
    from gan.detector.measuring import USUAL

    return next(each for each in card.conditions if each.name == USUAL)


def _named(name: str) -> str:
    return head(f"{text(name[:1].upper() + name[1:])}<small>{text(_MEANING.get(name, ''))}</small>")


def _percent(rate: "Rate") -> str:
    return f"{rate.value:.1%}"


def _rate(rate: "Rate") -> str:
    """Return a share as a number, its interval and N, and a bar."""
    return (
        f"{rate.value:.1%} <small>[{rate.low:.1%}, {rate.high:.1%}], N {rate.n:,}</small>"
        f'<i class="bar"><i style="left:{100 * rate.low:.1f}%;'
        f'width:{100 * (rate.high - rate.low):.1f}%"></i>'
        f'<b style="left:{100 * rate.value:.1f}%"></b></i>'
    )
