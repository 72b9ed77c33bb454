"""Great Expectations' Data Docs as two plain pages that open offline and call nobody.

As written they fetch style sheets and scripts from six hosts and a logo that reports the visit.
Here every script and outside reference goes, and a style of our own takes their place; what
unfolded by script unfolds by `:target`. Before the tables of the tool, each page says in plain
words what was asked and found, with pictures of what is in the way; each column is explained.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from gan.errors import GanmillError
from gan.image.examples import Examples
from gan.image.verdict import Finding

CHECKS, CONTRACT = "checks.html", "contract.html"

_DROPPED = re.compile(
    r"<script\b.*?</script>|<style\b.*?</style>|<link\b[^>]*>|<footer\b.*?</footer>"
    r"|<img\b[^>]*>|<title></title>|\son[a-z]+=\"[^\"]*\"",
    re.DOTALL | re.IGNORECASE,
)
_OUTSIDE_LINK = re.compile(r"<a\b[^>]*href=\"https?://[^>]*>(.*?)</a>", re.DOTALL | re.IGNORECASE)
_INSIDE_LINKS = (
    (re.compile(r"href=\"[^\"]*index\.html\""), 'href="index.html"'),
    (re.compile(r"href=\"[^\"#]*expectations/[^\"]*\.html\""), f'href="{CONTRACT}"'),
    (re.compile(r"href=\"[^\"#]*validations/[^\"]*\.html\""), f'href="{CHECKS}"'),
)
_COLUMN = re.compile(r"<h5 class=\"m-0\" >\s*(\w+)\s*</h5>")  # heads the expectations of a column
_STYLE = """<style>
:root{color-scheme:light}*{box-sizing:border-box}
body{font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
color:#1f2430;background:#f6f7f9;margin:0 auto;max-width:1080px;padding:20px 24px 60px}
h4,h5,h6{margin:0;font-size:15px}h4{font-size:22px}p{margin:4px 0}a{color:#1d4ed8}
nav ol,nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 14px;padding:0;margin:8px 0}
.ge-breadcrumbs-item+.ge-breadcrumbs-item::before{content:"/ ";color:#98a2b3}
.card{border:0}.card-header,.btn-group,.lead,.card:has(.btn-group){display:none}
.ge-section,.plain{background:#fff;border:1px solid #e3e6ec;border-radius:10px;padding:14px 18px;
margin:12px 0}table{border-collapse:collapse;width:100%}
td,th{padding:6px 10px;text-align:left;vertical-align:top;border-top:1px solid #eceff3}
td:first-child,th:first-child{width:15%}.table-bordered td,.table-bordered th{width:auto}
.badge{background:#e8eefc;border-radius:4px;padding:0 5px;font-family:ui-monospace,monospace;
font-size:12px}.text-danger{color:#c0392b}.text-success{color:#1a7f4b}.text-warning{color:#b54708}
.fas{font-style:normal;font-weight:600}.fa-check-circle::before{content:"met"}
.fa-times::before{content:"FAILED"}.fa-exclamation-triangle::before{content:"not evaluated"}
.alert .fas,hr{display:none}
.collapse{display:none}.collapse:target{display:block}code{white-space:pre-wrap;font-size:12px}
h1{font-size:24px;margin:0 0 6px}h2{font-size:18px;margin:28px 0 4px}.quiet{color:#667085}
.ok{color:#1a7f4b;font-weight:600}.no{color:#c0392b;font-weight:600}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:8px 0}figure{margin:0;max-width:130px}
.tiles img,.none{width:64px;height:64px;object-fit:contain;border:1px solid #e3e6ec;
border-radius:4px;background:#fff;image-rendering:pixelated;display:block}
.none{color:#98a2b3;font-size:11px;display:flex;align-items:center;justify-content:center}
figcaption{font-size:11px;color:#667085;overflow-wrap:anywhere;margin-top:3px}
</style>"""


def written_pages(site: Path) -> dict[str, str]:
    """Return the pages of a Data Docs site by file name, as written: the checks, the contract.

    Raises:
        GanmillError: Great Expectations wrote another set of pages.
    """
    pages = {}
    for name, pattern in ((CHECKS, "validations/**/*.html"), (CONTRACT, "expectations/**/*.html")):
        found = sorted(site.glob(pattern))
        if len(found) != 1:
            raise GanmillError(
                f"Great Expectations wrote {len(found)} pages for {pattern}; 1 was expected. "
                "Install the tested version (infra/requirements.lock)."
            )
        pages[name] = found[0].read_text("utf-8")
    return pages


def plain_pages(
    written: Mapping[str, str],
    recipe: str,
    findings: Sequence[Finding],
    examples: Examples,
    *,
    columns: Mapping[str, str],
) -> dict[str, str]:
    """Return the pages for somebody who never saw the tool, with pictures of what failed.

    Args:
        written: What `written_pages` returned.
        recipe: Its name.
        findings: What was found, in the contract's order.
        examples: Pictures of the images that they name.
        columns: What each column of the table holds, in words.
    """
    heads = {CHECKS: _checks(recipe, findings, examples), CONTRACT: _asked(recipe, findings)}
    return {name: _headed(offline(page), heads[name], columns) for name, page in written.items()}


def offline(page: str) -> str:
    """Return a page of Data Docs without scripts and without any reference to the outside."""
    plain = _OUTSIDE_LINK.sub(r"\1", _DROPPED.sub("", page))
    for pattern, link in _INSIDE_LINKS:
        plain = pattern.sub(link, plain)
    return plain.replace("</head>", f"{_STYLE}</head>", 1)


def _headed(page: str, head: str, columns: Mapping[str, str]) -> str:
    """Return a page that begins with `head` and explains each of its columns."""

    def explain(match: re.Match[str]) -> str:
        words = columns.get(match[1])
        return f"{match[0]}<p class=quiet>{escape(words)}</p>" if words else match[0]

    explained = _COLUMN.sub(explain, page)
    return re.sub(r"<body[^>]*>", lambda body: body[0] + head, explained, count=1)


def _checks(recipe: str, findings: Sequence[Finding], examples: Examples) -> str:
    """Return what was found, in sentences, what failed first and with pictures."""
    failed = [finding for finding in findings if not finding.success]
    answer = (
        f"<p><span class=no>Not fit to train on.</span> {len(failed)} of {len(findings)} rules of "
        "the data contract are broken.</p>"
        if failed
        else f"<p><span class=ok>Fit to train on.</span> All {len(findings)} rules of the data "
        "contract are kept.</p>"
    )
    rows = [
        f"<tr><td class=no>FAILED</td><td>{escape(finding.says)}"
        f"{_pictures(finding, examples)}</td></tr>"
        for finding in failed
    ] + [
        f"<tr><td class=ok>met</td><td>{escape(finding.says)}</td></tr>"
        for finding in findings
        if finding.success
    ]
    return (
        f"<h1>What the data contract found in {escape(recipe)}</h1>"
        f'<p class=quiet><a href="index.html">Data report</a> &middot; '
        f'<a href="{CONTRACT}">What the contract asks for</a></p>'
        f"<div class=plain>{answer}<table>{''.join(rows)}</table></div>"
        "<h2>The same, as the checking tool recorded it</h2><p class=quiet>Great Expectations, the "
        "library that evaluates the rules, writes one table for each column of the table of facts: "
        "the rule, and the value that was observed.</p>"
    )


def _pictures(finding: Finding, examples: Examples) -> str:
    """Return pictures of the images that are in the way of a rule, if single ones are."""
    if not finding.examples:
        return ""
    count = len(finding.examples)
    return (
        f"<p class=quiet>{'This image is' if count == 1 else f'{count} images that are'} in the "
        f"way:</p>{examples.figures(finding.examples.items())}"
    )


def _asked(recipe: str, findings: Sequence[Finding]) -> str:
    """Return what the contract asks for, rule by rule."""
    rows = "".join(
        f"<tr><td>{escape(finding.name.replace('_', ' '))}</td><td>{escape(finding.wanted)}</td>"
        "</tr>"
        for finding in findings
    )
    return (
        f"<h1>What the data contract of {escape(recipe)} asks for</h1>"
        f'<p class=quiet><a href="index.html">Data report</a> &middot; '
        f'<a href="{CHECKS}">What was found</a>. The limits are in params.yaml, '
        f"recipes.{escape(recipe)}.data.contract.</p>"
        f"<div class=plain><table>{rows}</table></div>"
        "<h2>The same, as the checking tool keeps it</h2><p class=quiet>Great Expectations, the "
        "library that evaluates the rules, lists them by column of the table of facts.</p>"
    )
