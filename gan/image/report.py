"""The data report that a person reads: one self-contained page, no script, nothing fetched.

Sentences and counts first, then the classes with examples, then what was set aside with examples.
"""

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from gan.image.examples import Examples
from gan.image.facts import REASONS, class_name
from gan.image.left_out import left_out
from gan.image.similar import NEAR, belonging, leaks
from gan.image.verdict import Verdict
from gan.split import split

_ACCEPTED_EXAMPLES, _REJECTED_EXAMPLES = 8, 12
_CLASSES_WITH_EXAMPLES = 60
_CLUSTERS, _CLUSTER_EXAMPLES = 12, 8
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
.bar{background:#7aa5e8;height:12px;border-radius:3px;min-width:1px;margin-top:5px}.wide{width:20%}
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
    examples: Examples,
    *,
    pages: Sequence[tuple[str, str]],
) -> str:
    """Return the report as HTML.

    Args:
        recipe: Its name.
        raw: What ingest wrote.
        facts: The table of facts, near duplicates marked.
        verdict: What the contract said of it.
        examples: Pictures of the images in `raw`.
        pages: (file name, title) of pages beside this one to link to.

    Raises:
        DamagedError: The shards are not what was ingested.
    """
    parts = [
        _head(recipe, facts, verdict, pages),
        _contract(facts, verdict, examples),
        _classes(facts, verdict, examples),
        _set_aside(facts, verdict, examples),
        _near(facts, examples),
        _repaired(facts),
        left_out(raw),
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


def _contract(facts: pd.DataFrame, verdict: Verdict, examples: Examples) -> str:
    """Return every expectation in a sentence, those that failed first and with examples.

    Images that were set aside have a section of their own, with why, and are not shown here.
    """
    sound = set(facts.loc[facts["reason"] == "", "key"])
    rows = []
    for finding in sorted(verdict.expectations, key=lambda finding: finding.success):
        shown = [key for key in finding.examples if key in sound]
        rows.append(
            f"<tr>{_MET if finding.success else _FAILED}<td>{escape(finding.says)}"
            f"{examples.tiles(shown) if shown else ''}</td></tr>"
        )
    return f"<h2>The contract</h2><div class=card><table>{''.join(rows)}</table></div>"


def _classes(facts: pd.DataFrame, verdict: Verdict, examples: Examples) -> str:
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
            tiles = examples.tiles(facts["key"].iloc[members[chosen.astype(int)]])
        bar = f'<div class=bar style="width:{100 * count / largest:.1f}%"></div>'
        rows.append(
            f"<tr><td>{escape(name)}</td><td class=number>{count:,}</td>"
            f"<td class=wide>{bar if count else ''}</td>"
            f"<td>{tiles}</td></tr>"
        )
    return (
        "<h2>Accepted images by class</h2><div class=card><table><tr><th>class</th>"
        "<th class=number>images</th><th></th><th>examples</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _set_aside(facts: pd.DataFrame, verdict: Verdict, examples: Examples) -> str:
    if not verdict.rejected:
        return "<h2>Set aside</h2><div class=card><p>Nothing: every image was accepted.</p></div>"
    blocks = []
    for reason, count in sorted(verdict.rejected.items(), key=lambda item: (-item[1], item[0])):
        shown = facts[facts["reason"] == reason].head(_REJECTED_EXAMPLES)
        notes = [
            f"{'much like' if reason == NEAR else 'same as'} {original}" if original else ""
            for original in shown["duplicate_of"]
        ]
        figures = examples.figures(zip(shown["key"], notes, strict=True))
        more = f"<p class=quiet>and {count - len(shown):,} more</p>" if count > len(shown) else ""
        blocks.append(
            f"<div class='card set'><p><b>{_count(count, 'image', 'images')}</b>: "
            f"{REASONS.get(reason, 'set aside')} <span class=quiet>({escape(reason)})</span></p>"
            f"{figures}{more}</div>"
        )
    return f"<h2>Set aside</h2>{''.join(blocks)}"


def _near(facts: pd.DataFrame, examples: Examples) -> str:
    """Return the largest clusters of near duplicates, and what they would leak unless grouped."""
    clustered = facts[facts["cluster"] != ""]
    if clustered.empty:
        return "<h2>Near duplicates</h2><div class=card><p>None were found.</p></div>"
    sizes = clustered["cluster"].value_counts(sort=False)
    sizes = sizes.iloc[np.argsort(-sizes.to_numpy(), kind="stable")]
    aside = int((facts["reason"] == NEAR).sum())
    fate = (
        f"one of each cluster was kept, {_count(aside, 'other', 'others')} set aside"
        if aside
        else "all were kept; a cluster is trained on, or held out, as a whole"
    )
    blocks = []
    for kept, size in list(sizes.items())[:_CLUSTERS]:
        members = clustered[clustered["cluster"] == kept]
        keys = [kept, *(key for key in members["key"] if key != kept)][:_CLUSTER_EXAMPLES]
        labels = members.set_index("key")["label"].map(class_name)
        several = len(set(labels)) > 1
        blocks.append(
            f"<p><b>{size:,} alike</b>{', of several classes' if several else ''}</p>"
            f"{examples.figures((key, labels[key] if several else '') for key in keys)}"
        )
    more = (
        f"<p class=quiet>and {len(sizes) - _CLUSTERS:,} more clusters</p>"
        if len(sizes) > _CLUSTERS
        else ""
    )
    return (
        f"<h2>Near duplicates</h2><div class='card set'><p><b>{len(clustered):,} images in "
        f"{_count(len(sizes), 'cluster', 'clusters')}</b> are nearly one another over again: "
        f"{fate}.</p>{_leaks(facts)}{''.join(blocks)}{more}</div>"
    )


def _leaks(facts: pd.DataFrame) -> str:
    """Return what near duplicates would do to the held-out part, and what is left of it."""
    sound = facts[facts["reason"] == ""]
    clusters = sound["cluster"].tolist()
    # Drawn like the training's own draw, which is of the prepared images and not known yet.
    draw = sha256("".join(sound["pixels_digest"]).encode()).hexdigest()
    _, single = split(len(sound), draw)
    _, whole = split(len(sound), draw, belonging(sound))
    if not len(single):
        return "<p>There are too few images to hold any out, so none can leak into training.</p>"
    return (
        f"<p>Drawn one by one, {leaks(clusters, single):,} of {len(single):,} held-out images "
        f"would have a near copy among those trained on; drawn by whole clusters and groups, "
        f"{leaks(clusters, whole):,} of {len(whole):,} have.</p>"
    )


_NOTES = {
    "ALPHA_FLATTENED": "transparent parts were laid over the background colour",
    "ALPHA_KEPT": "transparent parts stay transparent: the recipe trains with alpha",
    "ANIMATED_FIRST_FRAME": "of an animation the first frame was taken",
    "BIT_DEPTH_CONVERTED": "16-bit values were scaled to 8 bits",
    "COLOUR_CONVERTED": "another colour model was converted to RGB",
    "DUPLICATE_NEAR": "nearly another image over again, kept all the same",
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


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
