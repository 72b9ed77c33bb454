"""What every page of ours that stands alone shares: its looks, its frame, its tables.

A page is one file: styles inside, pictures as data URIs, no script, and a policy that lets a
browser fetch nothing. It holds no time of its own, so the same facts are the same bytes. All that
somebody else wrote goes through `text`.
"""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

STYLE = """
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


def frame(title: str, body: str, style: str = "") -> str:
    """Return the whole document.

    Args:
        title: What the browser's tab says, as plain text.
        body: HTML.
        style: Rules that this page alone has.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        f"{body}</main>\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """Return words as HTML that shows them, whatever they hold."""
    return html.escape(value, quote=True)


def plain(value: object) -> str:
    """Return anybody's words so that Markdown shows them as they are, on one line."""
    words = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", words)


def minus(figure: str) -> str:
    """Return a figure with the sign for less that a reader expects."""
    return figure.replace("-", "&minus;")


def links(named: Iterable[tuple[str, str]]) -> Iterable[str]:
    """Yield (words, URL) as links; what is no address of a web page is shown as text."""
    for words, url in named:
        if url.startswith(("http://", "https://")):  # `javascript:` is an address too
            yield f'<a href="{text(without_login(url))}">{text(words)}</a>'
        else:
            yield text(f"{words} {url}")


def without_login(url: str) -> str:
    """Return an address without a name and password in it; one that cannot be read is dropped."""
    if "@" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def image(png: bytes, alt: str) -> str:
    """Return a PNG file as an image of its own size, its bytes inside."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # its IHDR
    return (
        f'<img width="{width}" height="{height}" alt="{text(alt)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )


def table(names: Sequence[str], rows: str, kind: str = "facts") -> str:
    """Return a table; roles are told, because a phone lays its cells out as cards.

    Args:
        names: Of the columns, as HTML.
        rows: HTML of `tr` elements with roles.
        kind: Its class.
    """
    cells = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in names)
    return (
        f'<div class="card"><table class="{kind}" role="table"><thead role="rowgroup">'
        f'<tr role="row">{cells}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>\n'
    )


def head(content: str) -> str:
    """Return the first cell of a row; both are HTML."""
    return f'<th scope="row" role="rowheader">{content}</th>'


def cell(label: str, content: str) -> str:
    """Return a cell with the label that a phone shows beside it; both are HTML."""
    return f'<td role="cell" data-label="{label}"><span>{content}</span></td>'


def next_steps(commands: Sequence[tuple[str, str]]) -> str:
    """Return what may come next: (why, command)."""
    said = "".join(f"<p>{text(why)}</p><pre>{text(command)}</pre>\n" for why, command in commands)
    return f"<h2>Next</h2>\n{said}" if commands else ""
