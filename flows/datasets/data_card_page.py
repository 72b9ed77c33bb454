"""The data card as a page: figures in, HTML out. What somebody else wrote is shown as text."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from flows.datasets.portrait import Portrait
from flows.page_style import cell, frame, head, image, table, text
from gan.image.facts import REASONS

_STYLE = """
.gaps { padding-left: 20px; max-width: 84ch; } .gaps li { margin: 6px 0; }
.share { height: 8px; border-radius: 4px; background: var(--accent); min-width: 2px; opacity: .75; }
.examples img { display: block; max-width: 100%; height: auto; }
@media (min-width: 701px) { .wide th { width: 22%; } .wide td:nth-child(2) { width: 22%; } }
svg rect { fill: var(--accent); opacity: .75; }
"""
_BINS = 30
_FACTS = {
    "luminance": ("luminance", "0 is black, 1 is white"),
    "contrast": ("contrast", "spread of the brightness; 0 is one flat grey"),
    "sharpness": ("sharpness", "how strongly neighbouring pixels differ; near 0 is blurred"),
    "entropy": ("entropy", "bits that a pixel's brightness holds, 0 to 8; low is plain"),
    "alpha_share": ("transparent share", "share of pixels that are not opaque"),
    "width": ("width", "px, as it came"),
    "height": ("height", "px, as it came"),
    "bytes": ("file size", "bytes, as it came"),
}


def render(
    portrait: Portrait, strips: Mapping[str, bytes], loading: Sequence[tuple[str, str]]
) -> str:
    """Return the page.

    Args:
        portrait: The version.
        strips: Example images of classes as PNG files, by the class's name.
        loading: How to get at the images: (what for, what to type).
    """
    title = f"Data card: {portrait.version}"
    gaps = "".join(f"<li>{text(gap)}</li>\n" for gap in portrait.gaps)
    steps = "".join(f"<p>{text(why)}</p><pre>{text(typed)}</pre>\n" for why, typed in loading)
    body = (
        f'<h1>{text(title)}</h1>\n<div class="verdict"><p>{text(portrait.lead)}</p>'
        f'<p class="faded">Data digest <code>{portrait.meta.digest}</code></p></div>\n'
        f'<h2>Known gaps</h2>\n<ul class="gaps">\n{gaps}</ul>\n'
        f"<h2>Where the images come from</h2>\n{_origins(portrait)}"
        f"<h2>Classes</h2>\n{_classes(portrait, strips)}"
        f"<h2>Set aside, never trained on</h2>\n{_aside(portrait)}"
        f"<h2>What the accepted images are like</h2>\n{_facts(portrait.facts)}"
        f"<h2>How to load it</h2>\n{steps}"
    )
    return frame(title, body, _STYLE)


def _origins(portrait: Portrait) -> str:
    rows = "".join(
        f'<tr role="row">{head(text(each.source))}'
        f"{cell('Licence', text(each.licence) or 'unknown')}"
        f"{cell('Images', f'{each.images:,}')}</tr>"
        for each in portrait.origins
    )
    return table(("Source", "Licence", "Images"), rows)


def _classes(portrait: Portrait, strips: Mapping[str, bytes]) -> str:
    """Return a row a class, the largest first, with a bar and examples."""
    most = max(portrait.classes.values())
    rows = []
    for name, images in sorted(portrait.classes.items(), key=lambda item: (-item[1], item[0])):
        bar = f'<div class="share" style="width:{100 * images / most:.1f}%"></div>'
        shown = image(strips[name], f"Images of the class {name}") if name in strips else ""
        rows.append(
            f'<tr role="row">{head(f"<bdi>{text(name)}</bdi>")}'
            f"{cell('Accepted', f'{images:,}{bar}')}{cell('Examples', shown)}</tr>"
        )
    note = ""
    if len(strips) < len(portrait.classes):
        note = f'<p class="faded">{len(strips)} of the classes are shown with examples.</p>\n'
    heads = ("Class", "Accepted images", "Examples, as a training sees them")
    return note + table(heads, "".join(rows), "wide examples")


def _aside(portrait: Portrait) -> str:
    if not portrait.aside:
        return "<p>Nothing: every image was accepted.</p>\n"
    rows = "".join(
        f'<tr role="row">{head(text(REASONS.get(code, code)))}{cell("Code", text(code))}'
        f"{cell('Images', f'{images:,}')}</tr>"
        for code, images in portrait.aside.items()
    )
    return table(("Why", "Code", "Images"), rows)


def _facts(kept: pd.DataFrame) -> str:
    """Return a row a fact: what it is, how it is spread, where most images lie."""
    rows = []
    for column, (name, meaning) in _FACTS.items():
        values = kept[column].to_numpy(np.float64)
        low, middle, high = (float(value) for value in np.quantile(values, (0.05, 0.5, 0.95)))
        spread = _number(low) if low == high else f"{_number(low)} to {_number(high)}"
        rows.append(
            f'<tr role="row">{head(f"{name}<small>{meaning}</small>")}'
            f"{cell('Median', _number(middle))}{cell('9 of 10 lie in', spread)}"
            f"{cell('Spread', _histogram(values, f'How {name} is spread'))}</tr>"
        )
    return table(("", "Median", "9 of 10 images lie in", "Spread"), "".join(rows), "")


def _histogram(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", says: str) -> str:
    """Return a small histogram; its ends are the smallest and the largest value."""
    least, most = float(values.min()), float(values.max())
    if least == most:
        return "the same for all"
    heights, _ = np.histogram(values, bins=_BINS)
    tallest = max(1, int(heights.max()))
    bars = "".join(
        f'<rect x="{5 * place}" y="{26 - tall:.1f}" width="4" height="{tall:.1f}"/>'
        for place, tall in enumerate(26 * heights / tallest)
        if tall
    )
    ends = f"{_number(least)} to {_number(most)}"
    return (
        f'<svg role="img" viewBox="0 0 150 26"><title>{says}, {ends}</title>{bars}</svg>'
        f"<small>{ends}</small>"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.3g}"
