"""The page of `ganmill compare`: two models side by side in one HTML file. Facts in, text out.

The file stands alone: styles inside, pictures as data URIs, no script, and a policy that lets a
browser fetch nothing. It holds no time of its own, so the same comparison is the same bytes.
"""

import base64
import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flows.compare_facts import Fact, Page, Side, better, digits_of, headline, meaning, others

if TYPE_CHECKING:
    from gan.metrics.intervals import Interval
    from gan.metrics.report import Row

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7fa; --card: #fff; --ink: #1f2430; --faded: #5d6577;
  --rule: #e4e7ee; --accent: #5b3df5; --a: #6d28d9; --b: #0f766e; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14161c; --card: #1d2029;
  --ink: #eceef4; --faded: #a3abbd; --rule: #2f3542; --accent: #a796ff; --a: #c4a7ff;
  --b: #5eead4; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { margin: 0; font-size: 28px; line-height: 1.25; letter-spacing: -0.02em; }
h2 { margin: 44px 0 12px; font-size: 19px; }
h3 { margin: 0 0 8px; font-size: 14px; }
p { margin: 8px 0; max-width: 76ch; } a { color: var(--accent); }
code, pre { font: 12.5px/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
h1, td, th, code, h3 { overflow-wrap: anywhere; }
small, .faded { color: var(--faded); } small { font-size: 13px; }
.a { color: var(--a); } .b { color: var(--b); }
.verdict { margin: 20px 0 0; padding: 18px 22px; max-width: none; background: var(--card);
  border: 1px solid var(--rule); border-left: 5px solid var(--faded); border-radius: 12px; }
.verdict.a { border-left-color: var(--a); } .verdict.b { border-left-color: var(--b); }
.verdict p { margin: 6px 0 0; } .verdict p:first-child { margin: 0; font-size: 18px; }
h1 span { display: block; } h1 b { display: inline-block; width: 1.1em; }
.verdict.a p, .verdict.b p { color: var(--ink); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 4px 20px 10px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 10px 16px 10px 0; text-align: left; vertical-align: top; }
tr + tr > *, tbody > tr:first-child > * { border-top: 1px solid var(--rule); }
thead th { color: var(--faded); font-size: 13px; font-weight: 600; }
tbody th { font-weight: 600; width: 34%; } tbody th small { display: block; font-weight: 400; }
td { font-variant-numeric: tabular-nums; } td small { white-space: nowrap; display: block; }
.same td { color: var(--faded); }
.facts th { width: 26%; } .facts td { width: 37%; }
svg { display: block; width: 150px; height: 26px; overflow: visible; }
.mark { display: inline-block; padding: 0 9px; border: 1px solid; border-radius: 99px;
  font-weight: 600; white-space: nowrap; }
.classes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
  gap: 16px; }
.class { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 12px 16px 14px; break-inside: avoid; min-width: 0; }
.row { display: flex; gap: 10px; align-items: center; margin-top: 4px; font-weight: 700; }
.row img { display: block; min-width: 0; max-width: calc(100% - 22px); height: auto; }
.row span { flex: none; width: 12px; }
pre { margin: 4px 0 14px; padding: 10px 14px; white-space: pre-wrap; overflow-wrap: anywhere;
  background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
footer { margin-top: 48px; color: var(--faded); font-size: 13px; }
@media (max-width: 700px) { main { padding: 24px 14px 48px; } h1 { font-size: 23px; }
  .card { padding: 0 14px; } thead { position: absolute; clip-path: inset(50%); }
  table, tbody, tr, th, td { display: block; } tbody th, .facts th, .facts td { width: auto; }
  tbody tr { padding: 12px 0; } tbody tr + tr { border-top: 1px solid var(--rule); }
  tr > *, tbody > tr:first-child > *, tr + tr > * { border: 0; padding: 2px 0; }
  td { display: grid; grid-template-columns: 92px minmax(0, 1fr); }
  td small { display: inline; }
  td::before { content: attr(data-label); color: var(--faded); font-size: 13px; } }
@media print { body { background: none; font-size: 12px; } main { padding: 0; max-width: none; }
  tr, .verdict { break-inside: avoid; } h2 { break-after: avoid; } }
"""


_SAME = ' class="same"'


def render(page: Page) -> str:
    """Return the page; every name, tag and address in it is shown as text, whatever it holds."""
    title = f"{page.a.name} against {page.b.name}"
    letter = better(page.rows[0])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1><span><b class="a">A</b> {_text(page.a.name)}</span> '
        f'<span><b class="b">B</b> {_text(page.b.name)}</span></h1>\n'
        f'<div class="verdict {letter.lower()}"><p>{_text(headline(page.rows, page.samples))}</p>'
        f"<p>{_text(others(page.rows[1:]))}</p></div>\n"
        f"{_strips(page)}{_metrics(page)}"
        f"{_facts('Parameters that differ', page.parameters, _equal(page))}"
        f"{_facts('Data', page.data, page.data_note)}{_facts('Training and its cost', page.cost)}"
        f"{_models(page)}{_next(page.commands)}"
        f"<footer>{' &middot; '.join(_measured(page.measured))}</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _strips(page: Page) -> str:
    if not page.strips:
        return ""
    classes = "".join(
        f'<section class="class"><h3><bdi>{_text(strip.name)}</bdi></h3>'
        f"{_picture('A', strip.name, page.a, strip.a)}{_picture('B', strip.name, page.b, strip.b)}"
        "</section>\n"
        for strip in page.strips
    )
    return (
        f"<h2>The same latents, side by side</h2>\n<p>{_text(page.strips_note)}</p>\n"
        f'<div class="classes">\n{classes}</div>\n'
    )


def _picture(letter: str, name: str, side: Side, png: bytes) -> str:
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # its IHDR
    uri = base64.b64encode(png).decode()
    return (
        f'<div class="row"><span class="{letter.lower()}">{letter}</span><img width="{width}" '
        f'height="{height}" alt="Images of the class {_text(name)} made by {letter}, '
        f'{_text(side.name)}" src="data:image/png;base64,{uri}"></div>'
    )


def _metrics(page: Page) -> str:
    heads = ("Metric", "A", "B", "A &minus; B", "A better | B better", "Better")
    body = "".join(_metric(row) for row in page.rows)
    return (
        f'<h2>Metrics</h2>\n<p class="faded">Each with its 95 % interval, at N {page.samples:,}. '
        "The difference is paired: both models got the same latents and classes. A model is called "
        "better only where the interval of the difference leaves out 0; one in twenty does so by "
        "chance alone. Each drawing has a scale of its own.</p>\n"
        f"{_table(heads, body, 'metrics')}"
    )


def _metric(row: "Row") -> str:
    letter = better(row)
    direction, undecided = "more is better", "no difference seen"
    if row.less_is_better is None:
        direction, undecided = "1 is best", "neither: 1 is best"
    elif row.less_is_better:
        direction = "less is better"
    digits = min(digits_of(row.a), digits_of(row.b))
    found = f'<span class="mark {letter.lower()}">{letter}</span>'
    cells = {
        "A": _interval(row.a, f"z.{digits}f"),
        "B": _interval(row.b, f"z.{digits}f"),
        "A &minus; B": _interval(row.difference, f"+z.{digits_of(row.difference)}f"),
        "A | B better": _whisker(row),
        "Better": found if letter else f"<small>{undecided}</small>",
    }
    return (
        f'<tr role="row"><th scope="row" role="rowheader">{_text(row.name)}'
        f"<small>{_text(f'{meaning(row.name)}; {direction}'.lstrip('; '))}</small></th>"
        f"{''.join(_cell(label, cell) for label, cell in cells.items())}</tr>\n"
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
        f'<tr role="row"{_SAME * (fact.a == fact.b)}>'
        f'<th scope="row" role="rowheader">{_text(fact.name)}</th>'
        f"{_cell('A', _text(fact.a) or '&ndash;')}{_cell('B', _text(fact.b) or '&ndash;')}</tr>\n"
        for fact in facts
    )
    table = _table(("", "A", "B"), rows)
    note = f'<p class="faded">{_text(note)}</p>\n' if note else ""
    return f"<h2>{title}</h2>\n{table if facts else '<p>None.</p>'}{note}"


def _equal(page: Page) -> str:
    return f"Equal in both: {page.equal_parameters}." if page.equal_parameters else ""


def _models(page: Page) -> str:
    rows = "".join(
        f'<tr role="row"><th scope="row" role="rowheader"><span class="{letter.lower()}">{letter}'
        f"</span> {_text(side.name)}</th>"
        f"{_cell('Bundle', f'<code>{_text(side.digest)}</code>')}"
        f"{_cell('Pages', ' &middot; '.join(_links(side.links)) or '&ndash;')}</tr>\n"
        for letter, side in (("A", page.a), ("B", page.b))
    )
    return f"<h2>The models</h2>\n{_table(('Model', 'Bundle', 'Pages'), rows)}"


def _links(links: Iterable[tuple[str, str]]) -> Iterable[str]:
    for words, url in links:
        safe = url.startswith(("http://", "https://"))  # `javascript:` is an address too
        yield f'<a href="{_text(url)}">{_text(words)}</a>' if safe else _text(f"{words} {url}")


def _next(commands: Sequence[tuple[str, str]]) -> str:
    said = "".join(f"<p>{_text(why)}</p><pre>{_text(command)}</pre>\n" for why, command in commands)
    return f"<h2>Next</h2>\n{said}" if commands else ""


def _measured(facts: Iterable[tuple[str, str]]) -> Iterable[str]:
    return (f"{_text(name)} <code>{_text(value)}</code>" for name, value in facts)


def _table(names: Sequence[str], rows: str, kind: str = "facts") -> str:
    """Return a table; roles are told, because a phone lays its cells out as cards."""
    cells = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in names)
    return (
        f'<div class="card"><table class="{kind}" role="table"><thead role="rowgroup">'
        f'<tr role="row">{cells}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>\n'
    )


def _cell(label: str, content: str) -> str:
    return f'<td role="cell" data-label="{label}"><span>{content}</span></td>'


def _interval(found: "Interval", form: str) -> str:
    value, low, high = (
        _minus(f"{each:{form}}" if each else "0") for each in (found.value, found.low, found.high)
    )
    return f"{value} <small>[{low}, {high}]</small>"


def _minus(figure: str) -> str:
    return figure.replace("-", "&minus;")


def _text(value: str) -> str:
    return html.escape(value, quote=True)
