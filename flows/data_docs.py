"""Great Expectations' Data Docs as two plain pages that open offline and call nobody.

As written they fetch style sheets and scripts from six hosts and a logo that reports the visit.
Here every script and outside reference goes, and a style of our own takes their place; what
unfolded by script unfolds by `:target`.
"""

import re
from pathlib import Path

from gan.errors import GanmillError

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
_STYLE = """<style>
:root{color-scheme:light}*{box-sizing:border-box}
body{font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
color:#1f2430;background:#f6f7f9;margin:0 auto;max-width:1080px;padding:20px 24px 60px}
h4,h5,h6{margin:0;font-size:15px}h4{font-size:22px}p{margin:4px 0}a{color:#1d4ed8}
nav ol,nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 14px;padding:0;margin:8px 0}
.ge-breadcrumbs-item+.ge-breadcrumbs-item::before{content:"/ ";color:#98a2b3}
.card{border:0}.card-header,.btn-group,.lead,.card:has(.btn-group){display:none}
.ge-section{background:#fff;border:1px solid #e3e6ec;border-radius:10px;padding:14px 18px;
margin:12px 0}table{border-collapse:collapse;width:100%}
td,th{padding:6px 10px;text-align:left;vertical-align:top;border-top:1px solid #eceff3}
td:first-child,th:first-child{width:15%}.table-bordered td,.table-bordered th{width:auto}
.badge{background:#e8eefc;border-radius:4px;padding:0 5px;font-family:ui-monospace,monospace;
font-size:12px}.text-danger{color:#c0392b}.text-success{color:#1a7f4b}.text-warning{color:#b54708}
.fas{font-style:normal;font-weight:600}.fa-check-circle::before{content:"met"}
.fa-times::before{content:"FAILED"}.fa-exclamation-triangle::before{content:"not evaluated"}
.alert .fas,hr{display:none}
.collapse{display:none}.collapse:target{display:block}code{white-space:pre-wrap;font-size:12px}
</style>"""


def offline_pages(site: Path) -> dict[str, str]:
    """Return the pages of a Data Docs site by file name: the checks, and the contract.

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
        pages[name] = offline(found[0].read_text("utf-8"))
    return pages


def offline(page: str) -> str:
    """Return a page of Data Docs without scripts and without any reference to the outside."""
    plain = _OUTSIDE_LINK.sub(r"\1", _DROPPED.sub("", page))
    for pattern, link in _INSIDE_LINKS:
        plain = pattern.sub(link, plain)
    return plain.replace("</head>", f"{_STYLE}</head>", 1)
