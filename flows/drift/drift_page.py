"""The page of a drift check: are the new images like the old ones? Facts in, one HTML file out."""

from flows.drift.findings import CLASSES, FACTS_COMPARED, FEATURES, Drift, Figures
from flows.drift.plots import STYLE as PLOTS
from flows.drift.plots import bars, histogram, shares, strip
from flows.drift.samples import Sample
from flows.page_style import cell, frame, head, image, minus, next_steps, table, text
from gan.image.verdict import Finding
from gan.metrics.intervals import Interval
from gan.sections import DriftSpec

PAGE = "index.html"
_ACROSS, _CLASSES_SHOWN, _BARS_SHOWN = 7, 12, 40
_STYLE = (
    PLOTS
    + """
.verdict.pass { border-left-color: #1a7f4b; } .verdict.drifted { border-left-color: #c0392b; }
.verdict.unknown { border-left-color: #b7791f; }
.met { color: #1a7f4b; font-weight: 600; } .broken { color: #c0392b; font-weight: 600; }
@media screen and (prefers-color-scheme: dark) { .met { color: #5ecb93; }
  .broken { color: #ff8f7d; } }
.row .side { width: 32px; font-size: 13px; }
@media (min-width: 701px) { .figures tbody th { width: 40%; } }
"""
)
_WORDS = {
    "pass": "Like the old ones",
    "drifted": "Drifted",
    "unknown": "Cannot be told",
    "unjudged": "Not judged",
    "no-baseline": "Nothing to compare with",
}
_MEANING = {
    CLASSES: "Half the sum of what the classes' shares differ by: 0 is equal shares, 1 no class "
    "in common.",
    "luminance": "How bright an image is on average.",
    "contrast": "How much light and dark differ within an image.",
    "sharpness": "How much neighbouring pixels differ: low is soft or blurred.",
    "entropy": "How many shades an image makes use of.",
    "alpha_share": "The share of pixels that one can see through.",
    "aspect": "The shape of the file's picture.",
    FEATURES: "How far apart the recipe's own network, which knows what such images show, sees "
    "old and new; 1 is what two random halves of the old images differ by. What counts is how far "
    "they are shown to be: the lower end.",
}


def render(found: Drift, spec: DriftSpec) -> str:
    """Return the page; every name in it is shown as text, whatever it holds."""
    figures = found.figures
    parts = "" if figures is None else _compared(found, figures, spec) + _pictures(figures)
    if figures is not None:
        parts += _histograms(figures) + _classes(figures)
    body = (
        f"<h1>Are the images of {text(found.recipe)} still what they were?</h1>\n"
        f'<div class="verdict {found.outcome}"><p><b>{_WORDS[found.outcome]}.</b> '
        f"{text(found.says)}</p>{''.join(f'<p>{text(each)}</p>' for each in found.reasons)}"
        f"</div>\n{_who(found)}{parts}{next_steps(commands(found))}{_footer(found)}"
    )
    return frame(f"Drift: {found.recipe}", body, _STYLE)


def commands(found: Drift) -> list[tuple[str, str]]:
    """Return what may come next: (why, command)."""
    name = found.recipe
    if found.outcome == "no-baseline":
        return [
            ("A model trained here on these images makes a baseline:", f"ganmill retrain {name}")
        ]
    if found.data == found.baseline:
        return []
    return [
        (
            "Which images came, went or changed:",
            f"ganmill data diff {name}@{found.baseline[:12]} @{found.data[:12]}",
        ),
        ("Train on the images as they are now:", f"ganmill retrain {name}"),
    ]


def _who(found: Drift) -> str:
    """Return which two sets are told of, and their colours."""
    figures = found.figures
    if figures is None:
        return ""
    return (
        f'<p><b class="a">Old</b>: the {len(figures.old.labels):,} images that the model in use '
        f'(v{found.champion}) was trained on. <b class="b">New</b>: the '
        f"{len(figures.new.labels):,} images that the recipe has now.</p>\n"
    )


def _compared(found: Drift, figures: Figures, spec: DriftSpec) -> str:
    answers = {finding.name: finding for finding in found.findings}
    rows = _figure(
        "How the classes are shared",
        _MEANING[CLASSES],
        figures.labels.interval,
        f"up to {figures.labels.by_chance:.3f}",
        spec.max_label_shift,
        answers.get(CLASSES),
    )
    for name, words in FACTS_COMPARED.items():
        shift = figures.facts[name]
        rows += _figure(
            words.capitalize(),
            _MEANING[name],
            shift.interval,
            f"up to {shift.by_chance:.3f}",
            spec.max_fact_shift,
            answers.get(f"shift of {words}"),
        )
    features = figures.features
    rows += _figure(
        "What a network sees",
        _MEANING[FEATURES],
        features.times if features else None,
        "about 0" if features else "",
        spec.max_feature_shift,
        answers.get(FEATURES),
    )
    note = (
        "Each figure with its 95 % interval. Of the classes 0 is no difference and 1 all; of "
        "brightness to width by height it is the most that the shares of images below any one "
        "value differ, again 0 to 1. Even two sets of one source differ a little: by chance up to "
        "so much in 19 of 20 cases."
    )
    absent = f"<p>What a network sees was not compared: {text(figures.absent)}</p>\n"
    names = ("Compared", "Found", "By chance", "Allowed", "Answer")
    return (
        f'<h2>What was compared</h2>\n<p class="faded">{note}</p>\n'
        f"{table(names, rows, 'figures')}{'' if features else absent}"
    )


def _figure(
    name: str,
    meaning: str,
    found: Interval | None,
    chance: str,
    limit: float | None,
    answer: Finding | None,
) -> str:
    said = "&ndash;"
    if answer is not None:
        said = (
            '<span class="met">near enough</span>'
            if answer.success
            else (
                '<span class="broken">too far</span>'
                if answer.observed is not None
                else '<span class="broken">not measured</span>'
            )
        )
    return (
        f'<tr role="row">{head(f"{text(name)}<small>{text(meaning)}</small>")}'
        f"{cell('Found', _interval(found) if found else '&ndash;')}"
        f"{cell('By chance', chance or '&ndash;')}"
        f"{cell('Allowed', 'any' if limit is None else f'at most {limit:g}')}"
        f"{cell('Answer', said)}</tr>\n"
    )


def _interval(found: Interval) -> str:
    digits = 3 if abs(found.value) < 10 else 1
    value, low, high = (
        minus(f"{each:z.{digits}f}") for each in (found.value, found.low, found.high)
    )
    return f"{value} <small>[{low}, {high}]</small>"


def _pictures(figures: Figures) -> str:
    """Return old and new images side by side by class, and those least like the other side."""
    if figures.features is None:
        return ""
    old, new = figures.seen
    changed, count = _by_change(figures)
    blocks = "".join(
        f'<section class="class"><h3><bdi>{text(name)}</bdi></h3>'
        f"{_strip('Old', old, _of_class(old, name), f'class {name}')}"
        f"{_strip('New', new, _of_class(new, name), f'class {name}')}</section>\n"
        for name, _, _ in changed[:_CLASSES_SHOWN]
    )
    only = f"; {_CLASSES_SHOWN} of {count} classes are shown" if count > _CLASSES_SHOWN else ""
    strangest, missed = figures.features.strangest, figures.features.missed
    return (
        "<h2>Side by side</h2>\n"
        '<p class="faded">Some images of each class, the class whose share changed most first'
        f'{only}.</p>\n<div class="classes">\n{blocks}</div>\n'
        "<h2>Least alike</h2>\n"
        '<p class="faded">New images that the network finds least like the old ones, and old ones '
        "that have least of their kind among the new. There always are some.</p>\n"
        f'<section class="class">{_strip("New", new, list(strangest[: 2 * _ACROSS]), "strangest")}'
        f"{_strip('Old', old, list(missed[: 2 * _ACROSS]), 'missed most')}</section>\n"
    )


def _of_class(sample: Sample, name: str) -> list[int]:
    """Return places of a few images of a class, spread over all of them."""
    every = [place for place, label in enumerate(sample.labels) if label == name]
    return every[:: max(1, len(every) // _ACROSS)][:_ACROSS]


def _strip(side: str, sample: Sample, places: list[int], what: str) -> str:
    letter = "a" if side == "Old" else "b"
    shown = '<span class="faded">none</span>'
    if places:
        shown = image(strip(sample.pictures[places]), f"{side} images, {what}")
    return f'<div class="row"><span class="side {letter}">{side}</span>{shown}</div>'


def _histograms(figures: Figures) -> str:
    plots = "".join(
        histogram(words.capitalize(), figures.old.fact(name), figures.new.fact(name))
        for name, words in FACTS_COMPARED.items()
    )
    return (
        "<h2>The facts of the images</h2>\n"
        '<p class="faded">How many images have which value: <b class="a">old</b> filled, '
        '<b class="b">new</b> as a line. The few at either end are in the outermost bars.</p>\n'
        f'<div class="plots">\n{plots}</div>\n'
    )


def _classes(figures: Figures) -> str:
    changed, count = _by_change(figures)
    shown = changed[:_BARS_SHOWN]
    more = f" {_BARS_SHOWN} of {count} are shown." if count > _BARS_SHOWN else ""
    names, before, after = (list(each) for each in zip(*shown, strict=True))
    return (
        "<h2>The classes</h2>\n"
        f'<p class="faded">Share of all images, <b class="a">old</b> above <b class="b">new</b>, '
        f"the largest change first.{more}</p>\n{bars(names, before, after)}"
    )


def _by_change(figures: Figures) -> tuple[list[tuple[str, float, float]], int]:
    """Return (class, old share, new share), the largest change first, and how many there are."""
    old, new = shares(figures.old), shares(figures.new)
    every = [(name, old.get(name, 0.0), new.get(name, 0.0)) for name in sorted({*old, *new})]
    every.sort(key=lambda each: -abs(each[1] - each[2]))
    return every, len(every)


def _footer(found: Drift) -> str:
    said = {"data now": found.data[:12], "data of the champion": found.baseline[:12]}
    facts = (f"{name} <code>{text(value)}</code>" for name, value in said.items() if value)
    return f"<footer>{' &middot; '.join(facts)}</footer>\n"
