"""The page of `ganmill compare`: two models side by side in one HTML file. Facts in, text out."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flows.compare.facts import Fact, Page, Side, better, digits_of, headline, meaning, others
from flows.page_style import cell, frame, head, image, links, minus, next_steps, table, text

if TYPE_CHECKING:
    from gan.metrics.intervals import Interval
    from gan.metrics.report import Row

_SAME = ' class="same"'


def render(page: Page) -> str:
    """Return the page; every name, tag and address in it is shown as text, whatever it holds."""
    title = f"{page.a.name} against {page.b.name}"
    letter = better(page.rows[0])
    body = (
        f'<h1><span><b class="a">A</b> {text(page.a.name)}</span> '
        f'<span><b class="b">B</b> {text(page.b.name)}</span></h1>\n'
        f'<div class="verdict {letter.lower()}"><p>{text(headline(page.rows, page.samples))}</p>'
        f"<p>{text(others(page.rows[1:]))}</p></div>\n"
        f"{_strips(page)}{_metrics(page)}"
        f"{_facts('Parameters that differ', page.parameters, _equal(page))}"
        f"{_facts('Data', page.data, page.data_note)}{_facts('Training and its cost', page.cost)}"
        f"{_models(page)}{next_steps(page.commands)}"
        f"<footer>{' &middot; '.join(_measured(page.measured))}</footer>\n"
    )
    return frame(title, body)


def _strips(page: Page) -> str:
    if not page.strips:
        return ""
    classes = "".join(
        f'<section class="class"><h3><bdi>{text(strip.name)}</bdi></h3>'
        f"{_picture('A', strip.name, page.a, strip.a)}{_picture('B', strip.name, page.b, strip.b)}"
        "</section>\n"
        for strip in page.strips
    )
    return (
        f"<h2>The same latents, side by side</h2>\n<p>{text(page.strips_note)}</p>\n"
        f'<div class="classes">\n{classes}</div>\n'
    )


def _picture(letter: str, name: str, side: Side, png: bytes) -> str:
    alt = f"Images of the class {name} made by {letter}, {side.name}"
    return f'<div class="row"><span class="{letter.lower()}">{letter}</span>{image(png, alt)}</div>'


def _metrics(page: Page) -> str:
    heads = ("Metric", "A", "B", "A &minus; B", "A better | B better", "Better")
    body = "".join(_metric(row) for row in page.rows)
    return (
        f'<h2>Metrics</h2>\n<p class="faded">Each with its 95 % interval, at N {page.samples:,}. '
        "The difference is paired: both models got the same latents and classes. A model is called "
        "better only where the interval of the difference leaves out 0; one in twenty does so by "
        "chance alone. Each drawing has a scale of its own.</p>\n"
        f"{table(heads, body, 'metrics')}"
    )


def _metric(row: "Row") -> str:
    letter = better(row)
    direction, undecided = "more is better", "no difference seen"
    if row.less_is_better is None:
        direction, undecided = "1 is best", "neither: 1 is best"
    elif row.less_is_better:
        direction = "less is better"
    digits = min(digits_of(row.a), digits_of(row.b))
    said = f"{meaning(row.name)}; {direction}".lstrip("; ")
    found = f'<span class="mark {letter.lower()}">{letter}</span>'
    cells = {
        "A": _interval(row.a, f"z.{digits}f"),
        "B": _interval(row.b, f"z.{digits}f"),
        "A &minus; B": _interval(row.difference, f"+z.{digits_of(row.difference)}f"),
        "A | B better": _whisker(row),
        "Better": found if letter else f"<small>{undecided}</small>",
    }
    return (
        f'<tr role="row">{head(f"{text(row.name)}<small>{text(said)}</small>")}'
        f"{''.join(cell(label, content) for label, content in cells.items())}</tr>\n"
    )


def _whisker(row: "Row") -> str:
    """Return the difference and its interval as a drawing: A's side is left, the middle is 0."""
    found, letter = row.difference, better(row)
    toward_b = 1 if row.less_is_better else -1
    reach = max(abs(found.low), abs(found.high))
    if not (math.isfinite(found.value) and math.isfinite(reach) and reach > 0):
        return "&ndash;"
    low, value, high = (
        75 + 68 * toward_b * each / reach for each in (found.low, found.value, found.high)
    )
    colour = f"var(--{letter.lower()})" if letter else "var(--faded)"
    said = f"{letter} is better" if letter else "neither is better"
    return (
        f'<svg viewBox="0 0 150 26" role="img" aria-label="{said}">'
        '<path d="M75 1V25" stroke="var(--faded)" stroke-dasharray="2 3"/>'
        f'<path d="M{low:.1f} 13H{high:.1f}M{low:.1f} 9v8M{high:.1f} 9v8" stroke="{colour}" '
        f'stroke-width="2"/><circle cx="{value:.1f}" cy="13" r="4.5" fill="{colour}"/></svg>'
    )


def _facts(title: str, facts: Sequence[Fact], note: str = "") -> str:
    rows = "".join(
        f'<tr role="row"{_SAME * (fact.a == fact.b)}>{head(text(fact.name))}'
        f"{cell('A', text(fact.a) or '&ndash;')}{cell('B', text(fact.b) or '&ndash;')}</tr>\n"
        for fact in facts
    )
    shown = table(("", "A", "B"), rows)
    note = f'<p class="faded">{text(note)}</p>\n' if note else ""
    return f"<h2>{title}</h2>\n{shown if facts else '<p>None.</p>'}{note}"


def _equal(page: Page) -> str:
    return f"Equal in both: {page.equal_parameters}." if page.equal_parameters else ""


def _models(page: Page) -> str:
    rows = "".join(
        f'<tr role="row">{_named(letter, side)}'
        f"{cell('Bundle', f'<code>{text(side.digest)}</code>')}"
        f"{cell('Pages', ' &middot; '.join(links(side.links)) or '&ndash;')}</tr>\n"
        for letter, side in (("A", page.a), ("B", page.b))
    )
    return f"<h2>The models</h2>\n{table(('Model', 'Bundle', 'Pages'), rows)}"


def _named(letter: str, side: Side) -> str:
    return head(f'<span class="{letter.lower()}">{letter}</span> {text(side.name)}')


def _measured(facts: Iterable[tuple[str, str]]) -> Iterable[str]:
    return (f"{text(name)} <code>{text(value)}</code>" for name, value in facts)


def _interval(found: "Interval", form: str) -> str:
    value, low, high = (
        minus(f"{each:{form}}" if each else "0") for each in (found.value, found.low, found.high)
    )
    return f"{value} <small>[{low}, {high}]</small>"
