"""The data report that a person reads: one self-contained page, no script, nothing fetched.

Sentences and counts first, then the classes with examples, then what was set aside with examples.
"""

import io
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from PIL import Image

from gan.durable import read_json
from gan.image.decode import Rejected, decode, flatten
from gan.image.facts import REASONS, class_name
from gan.image.shards import Shards, places, read_index
from gan.image.sources import SKIPPED
from gan.image.verdict import Verdict

_THUMBNAIL_PX = 64
_ACCEPTED_EXAMPLES, _REJECTED_EXAMPLES = 8, 12
_CLASSES_WITH_EXAMPLES = 60
_LARGEST_EXAMPLE_BYTES = 4 << 20
_MET, _FAILED = "<td class=ok>met</td>", "<td class=no>FAILED</td>"

STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:#1f2430;
background:#f6f7f9;margin:0}main{max-width:1080px;margin:0 auto;padding:28px 24px 64px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 10px}p{margin:6px 0}
.quiet{color:#667085}.card{background:#fff;border:1px solid #e3e6ec;border-radius:10px;
padding:16px 20px;margin:14px 0}
.verdict{border-left:8px solid #1a7f4b}.verdict.bad{border-left-color:#c0392b}
.verdict b{font-size:18px}.ok{color:#1a7f4b}.no{color:#c0392b;font-weight:600}
table{border-collapse:collapse;width:100%}td,th{padding:7px 10px;text-align:left;vertical-align:top;
border-top:1px solid #eceff3}tr:first-child>*{border-top:0}th{font-weight:600;color:#475467}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{background:#7aa5e8;height:12px;border-radius:3px;min-width:1px;margin-top:5px}.wide{width:28%}
.tiles{display:flex;flex-wrap:wrap;gap:5px}figure{margin:0;max-width:150px}
img{width:48px;height:48px;object-fit:contain;border:1px solid #e3e6ec;border-radius:4px;
background:#fff;image-rendering:pixelated;display:block}
.set img,.set .none{width:64px;height:64px}.none{border:1px dashed #c5cad3;border-radius:4px;
display:flex;align-items:center;justify-content:center;color:#98a2b3;font-size:11px}
.set .tiles{gap:14px}figcaption{font-size:11px;color:#667085;overflow-wrap:anywhere;margin-top:3px}
a{color:#1d4ed8}
"""


def data_report(
    recipe: str,
    raw: Path,
    facts: pd.DataFrame,
    verdict: Verdict,
    *,
    pages: Sequence[tuple[str, str]],
    background: str = "#ffffff",
) -> str:
    """Return the report as HTML.

    Args:
        recipe: Its name.
        raw: Shards and index, for the example pictures.
        facts: The table of facts.
        verdict: What the contract said of it.
        pages: (file name, title) of pages beside this one to link to.
        background: Colour behind transparent parts of the examples.

    Raises:
        DamagedError: The shards are not what was ingested.
    """
    with _Examples(raw, background) as examples:
        parts = [
            _head(recipe, facts, verdict, pages),
            _contract(verdict),
            _classes(facts, verdict, examples),
            _set_aside(facts, verdict, examples),
            _repaired(facts),
            _left_out(raw),
        ]
    title = f"Data report: {escape(recipe)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(
    recipe: str, facts: pd.DataFrame, verdict: Verdict, pages: Sequence[tuple[str, str]]
) -> str:
    failed = sum(not finding.success for finding in verdict.expectations)
    total = len(verdict.expectations)
    answer = (
        f"<b class=ok>Fit to train on.</b> All {total} expectations of the data contract are met."
        if verdict.success
        else f"<b class=no>Not fit to train on.</b> {failed} of {total} expectations of the data "
        "contract failed; training does not start."
    )
    sizes = _sizes(facts)
    aside = verdict.images - verdict.accepted
    sources = ", ".join(escape(name) for name in facts["source"].unique())
    licences = ", ".join(escape(name) for name in facts["licence"].unique())
    links = " &middot; ".join(f'<a href="{name}">{escape(title)}</a>' for name, title in pages)
    return (
        f"<h1>Data report: {escape(recipe)}</h1><p class=quiet>{links}</p>"
        f'<div class="card verdict{"" if verdict.success else " bad"}"><p>{answer}</p>'
        f"<p>{verdict.images:,} images were looked at: {verdict.accepted:,} accepted, "
        f"{aside:,} set aside, in {_count(len(verdict.classes), 'class', 'classes')}. {sizes}</p>"
        f"<p class=quiet>Source: {sources}. Licence: {licences}.</p></div>"
    )


def _sizes(facts: pd.DataFrame) -> str:
    sound = facts[facts["reason"] == ""]
    if sound.empty:
        return ""
    pairs = sound.groupby(["width", "height"]).size()
    if len(pairs) == 1:
        width, height = pairs.index[0]
        return f"All accepted images are {width} x {height} px."
    width, height = sound["width"], sound["height"]
    return (
        f"Accepted images are {width.min()} to {width.max()} px wide (median "
        f"{width.median():.0f}) and {height.min()} to {height.max()} px high (median "
        f"{height.median():.0f})."
    )


def _contract(verdict: Verdict) -> str:
    ordered = sorted(verdict.expectations, key=lambda finding: finding.success)
    rows = "".join(
        f"<tr>{_MET if finding.success else _FAILED}<td>{escape(finding.says)}</td></tr>"
        for finding in ordered
    )
    return f"<h2>The contract</h2><div class=card><table>{rows}</table></div>"


def _classes(facts: pd.DataFrame, verdict: Verdict, examples: "_Examples") -> str:
    """Return the class histogram, largest first, with evenly spaced examples of accepted images."""
    largest = max([1, *verdict.classes.values()])
    names = facts["label"].map(class_name)
    accepted = facts["reason"] == ""
    rows = []
    ordered = sorted(verdict.classes.items(), key=lambda item: (-item[1], item[0]))
    for number, (name, count) in enumerate(ordered):
        tiles = ""
        if number < _CLASSES_WITH_EXAMPLES and count:
            members = np.flatnonzero((accepted & (names == name)).to_numpy())
            chosen = np.linspace(0, len(members) - 1, min(len(members), _ACCEPTED_EXAMPLES))
            tiles = "".join(examples.tile(int(members[int(at)])) for at in chosen)
        bar = f'<div class=bar style="width:{100 * count / largest:.1f}%"></div>'
        rows.append(
            f"<tr><td>{escape(name)}</td><td class=number>{count:,}</td>"
            f"<td class=wide>{bar if count else ''}</td>"
            f"<td><div class=tiles>{tiles}</div></td></tr>"
        )
    return (
        "<h2>Accepted images by class</h2><div class=card><table><tr><th>class</th>"
        "<th class=number>images</th><th></th><th>examples</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _set_aside(facts: pd.DataFrame, verdict: Verdict, examples: "_Examples") -> str:
    if not verdict.rejected:
        return "<h2>Set aside</h2><div class=card><p>Nothing: every image was accepted.</p></div>"
    blocks = []
    for reason, count in sorted(verdict.rejected.items(), key=lambda item: (-item[1], item[0])):
        rows = np.flatnonzero((facts["reason"] == reason).to_numpy())[:_REJECTED_EXAMPLES]
        figures = []
        for row in rows:
            key, original = facts["key"].iloc[row], facts["duplicate_of"].iloc[row]
            caption = escape(key) + (f"<br>same as {escape(original)}" if original else "")
            figures.append(
                f"<figure>{examples.tile(int(row))}<figcaption>{caption}</figcaption></figure>"
            )
        more = f"<p class=quiet>and {count - len(rows):,} more</p>" if count > len(rows) else ""
        blocks.append(
            f"<div class='card set'><p><b>{_count(count, 'image', 'images')}</b>: "
            f"{REASONS.get(reason, 'set aside')} <span class=quiet>({escape(reason)})</span></p>"
            f"<div class=tiles>{''.join(figures)}</div>{more}</div>"
        )
    return f"<h2>Set aside</h2>{''.join(blocks)}"


_NOTES = {
    "ALPHA_FLATTENED": "transparent parts were laid over the background colour",
    "ALPHA_KEPT": "transparent parts stay transparent: the recipe trains with alpha",
    "ANIMATED_FIRST_FRAME": "of an animation the first frame was taken",
    "BIT_DEPTH_CONVERTED": "16-bit values were scaled to 8 bits",
    "COLOUR_CONVERTED": "another colour model was converted to RGB",
    "EXIF_INVALID": "a broken EXIF block was ignored",
    "EXIF_ORIENTATION_APPLIED": "the camera's orientation was applied",
    "LABEL_CONFLICT": "a duplicate carries another label than its original",
    "LOW_CONTRAST": "hardly any contrast, kept all the same",
}


def _repaired(facts: pd.DataFrame) -> str:
    """Return what was repaired or noticed on the way; none of it keeps an image out."""
    counts = Counter(note for notes in facts["notes"] for note in notes.split())
    items = "".join(
        f"<tr><td class=number>{count:,}</td><td>{_NOTES.get(note, note)} "
        f"<span class=quiet>({note})</span></td></tr>"
        for note, count in sorted(counts.items())
    )
    if not items:
        return ""
    return f"<h2>Noticed and repaired</h2><div class=card><table>{items}</table></div>"


def _left_out(raw: Path) -> str:
    """Return what ingest left out by name or size before any image was looked at."""
    path = raw / SKIPPED
    report: dict[str, Any] = read_json(path) if path.exists() else {"clutter": 0, "skipped": {}}
    rows = "".join(
        f"<tr><td class=number>{entry['count']:,}</td><td>{escape(reason)}</td>"
        f"<td class=quiet>{escape(', '.join(entry['examples']))}</td></tr>"
        for reason, entry in sorted(report["skipped"].items())
    )
    if report["clutter"]:
        rows += (
            f"<tr><td class=number>{report['clutter']:,}</td><td colspan=2>notes, tables and "
            "hidden files, no images</td></tr>"
        )
    if not rows:
        return ""
    return f"<h2>Left out of the source by ingest</h2><div class=card><table>{rows}</table></div>"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


class _Examples:
    """Small pictures of images in the shards, as `data:` URIs."""

    def __init__(self, raw: Path, background: str) -> None:
        self._places = places(read_index(raw))
        self._shards, self._background = Shards(raw), background

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shards.close()

    def tile(self, row: int) -> str:
        """Return the HTML of one picture, or of an empty frame when it cannot be shown."""
        place = self._places[row]
        if place.size_bytes > _LARGEST_EXAMPLE_BYTES:
            return "<div class=none>too large</div>"
        try:
            image = flatten(decode(self._shards.read(place)).image, self._background)
        except Rejected:
            return "<div class=none>no picture</div>"
        image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "PNG")
        return f'<img alt="" src="data:image/png;base64,{b64encode(file.getvalue()).decode()}">'
