"""What people open: the contact sheet of a batch, and its page with every picture and its origin.

The page stands alone in its folder: styles inside, pictures by relative link, no script, nothing
fetched from elsewhere.
"""

import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan.assets.manifest import BATCH, INDEX, MANIFEST, SHEET, BatchCard, Row
from gan.durable import write_atomically
from gan.image.encode import checkerboard

_ON_SHEET, _ON_PAGE = 200, 2000
_COLUMNS, _THUMB_PX, _GAP_PX, _CAPTION_PX, _MARGIN_PX, _HEADER_PX = 8, 128, 16, 22, 32, 64
_PAPER, _INK, _FADED, _ALARM = "#ffffff", "#1f2430", "#8a90a0", "#c2410c"

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7fa; --card: #fff; --ink: #1f2430; --faded: #667085;
  --rule: #e4e7ee; --accent: #5b3df5; --alarm: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161c; --card: #1d2029; --ink: #eceef4;
  --faded: #98a0b3; --rule: #2b303c; --accent: #a796ff; --alarm: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { margin: 0; font-size: 28px; letter-spacing: -0.02em; }
h2 { margin: 40px 0 12px; font-size: 17px; }
h2 small { color: var(--faded); font-weight: 400; margin-left: 6px; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.lead { margin: 6px 0 24px; color: var(--faded); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 16px 24px;
  margin: 0; padding: 16px 20px; background: var(--card); border: 1px solid var(--rule);
  border-radius: 12px; }
dl div { min-width: 0; }
dt { color: var(--faded); font-size: 12px; } dd { margin: 0; overflow-wrap: anywhere; }
nav { margin: 20px 0 0; display: flex; flex-wrap: wrap; gap: 8px; }
nav a { padding: 3px 12px; border: 1px solid var(--rule); border-radius: 99px;
  background: var(--card); color: var(--ink); font-size: 13px; }
.assets { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  overflow: hidden; }
figure img { display: block; width: 100%; aspect-ratio: 1;
  background: repeating-conic-gradient(#fff 0 25%, #e8e8e8 0 50%) 0 0 / 16px 16px; }
figcaption { padding: 8px 12px 10px; line-height: 1.35; }
figcaption b { display: block; font-weight: 600; font-size: 13px; }
figcaption code { color: var(--faded); }
.blank { border-color: var(--alarm); } .blank b { color: var(--alarm); }
footer { margin-top: 48px; color: var(--faded); font-size: 13px; }
"""


def write_sheet(folder: Path, card: BatchCard, rows: list[Row]) -> None:
    """Write `contact_sheet.png` and `index.html` of the assets that lie in `folder`."""
    file = io.BytesIO()
    _contact_sheet(folder, card, rows[:_ON_SHEET]).save(file, "PNG", optimize=True)
    write_atomically(folder / SHEET, file.getvalue())
    write_atomically(folder / INDEX, _page(card, rows).encode())


def _contact_sheet(folder: Path, card: BatchCard, rows: list[Row]) -> Image.Image:
    """Return the first 200 assets in a grid, the class below each."""
    columns = min(_COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    step_x, step_y = _THUMB_PX + _GAP_PX, _THUMB_PX + _CAPTION_PX + _GAP_PX
    width = max(2 * _MARGIN_PX + columns * step_x - _GAP_PX, 420)
    height = _MARGIN_PX + _HEADER_PX + lines * step_y + _MARGIN_PX - _GAP_PX
    canvas = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((_MARGIN_PX, _MARGIN_PX - 6), f"{card.recipe} {card.batch}", fill=_INK, font=_font(20))
    pen.text((_MARGIN_PX, _MARGIN_PX + 22), _summary(card, len(rows)), fill=_FADED, font=_font(13))
    for place, row in enumerate(rows):
        left = _MARGIN_PX + place % columns * step_x
        top = _MARGIN_PX + _HEADER_PX + place // columns * step_y
        canvas.paste(_thumb(folder / row.file), (left, top))
        is_blank = row.verdict == "blank"
        caption = "blank" if is_blank else row.class_
        where = left + _THUMB_PX / 2, top + _THUMB_PX + _CAPTION_PX / 2
        colour = _ALARM if is_blank else _FADED
        pen.text(where, caption[:20], fill=colour, font=_font(13), anchor="mm")
    return canvas


def _thumb(path: Path) -> Image.Image:
    """Return an asset as a thumbnail, transparent parts over a light checkerboard."""
    size = (_THUMB_PX, _THUMB_PX)
    with Image.open(path) as picture:
        if picture.mode != "RGBA":
            return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        thumb = picture.resize(size, Image.Resampling.LANCZOS)  # Pillow premultiplies for it
    board = Image.fromarray(np.asarray(checkerboard(*size))).convert("RGBA")
    return Image.alpha_composite(board, thumb).convert("RGB")


def _summary(card: BatchCard, shown: int) -> str:
    version = card.lineage.get("model_version") or "unregistered"
    rest = "" if shown == card.count else f", the first {shown} shown"
    return f"{card.count} assets{rest}  |  model {version}, bundle {card.bundle_digest[:12]}"


def _page(card: BatchCard, rows: list[Row]) -> str:
    """Return the page: where the batch came from, then its assets by class."""
    title = f"{_text(card.recipe)} <code>{_text(card.batch)}</code>"
    shown = rows[:_ON_PAGE]
    groups: dict[str, list[Row]] = {}
    for row in shown:
        groups.setdefault(row.class_, []).append(row)
    order = sorted(groups)
    chips = "".join(f'<a href="#class-{place}">{_text(n)}</a>' for place, n in enumerate(order))
    sections = "".join(_section(place, name, groups[name]) for place, name in enumerate(order))
    rest = len(rows) - len(shown)
    more = f"<p>{rest:,} more assets are listed in <code>{MANIFEST}</code>.</p>" if rest else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(card.recipe)} {_text(card.batch)}</title>\n<style>{_STYLE}</style>\n"
        f"</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f'<p class="lead">{card.accepted} synthetic images of {card.size_px} px, '
        f"{_blank_note(card)}made by a generative model and marked as such in each file.</p>\n"
        f"<dl>{''.join(_facts(card))}</dl>\n<nav>{chips}</nav>\n{sections}{more}\n"
        "<footer>Every file carries an XMP packet with the IPTC digital source type "
        "<code>trainedAlgorithmicMedia</code>. Check the folder's bytes with "
        "<code>ganmill verify</code>.</footer>\n</main>\n</body>\n</html>\n"
    )


def _blank_note(card: BatchCard) -> str:
    return f"and {card.blank} blank ones set apart, " if card.blank else ""


def _facts(card: BatchCard) -> Iterable[str]:
    """Yield the cells of the box at the top."""
    lineage = card.lineage
    yield _cell("Model version", lineage.get("model_version", ""), lineage.get("model_version_url"))
    yield _cell("Bundle", card.bundle_digest[:16])
    yield _cell("Training run", lineage.get("mlflow_run", ""), lineage.get("mlflow_run_url"))
    yield _cell("Flow run", lineage.get("flow_run", ""), lineage.get("flow_run_url"))
    yield _cell("Data version", lineage.get("data_version", ""), lineage.get("data_version_url"))
    yield _cell("Slot and seed", f"{card.slot}, seed {card.seed}")
    files = " &middot; ".join(f'<a href="{name}">{name}</a>' for name in (MANIFEST, BATCH, SHEET))
    yield f"<div><dt>Files</dt><dd>{files}</dd></div>"


def _cell(name: str, value: str, url: str | None = None) -> str:
    shown = _text(value) or "&ndash;"
    if url and url.startswith(("http://", "https://")):
        shown = f'<a href="{_text(url)}">{shown}</a>'
    return f"<div><dt>{name}</dt><dd>{shown}</dd></div>"


def _section(place: int, name: str, rows: list[Row]) -> str:
    figures = "\n".join(_figure(row) for row in rows)
    return (
        f'<section id="class-{place}">\n<h2>{_text(name)}<small>{len(rows)}</small></h2>\n'
        f'<div class="assets">\n{figures}\n</div>\n</section>\n'
    )


def _figure(row: Row) -> str:
    """Return one asset with its class, id and model version."""
    note = "blank, not for use" if row.verdict == "blank" else row.class_
    version = f"model {row.model_version}" if row.model_version else "model unregistered"
    return (
        f'<figure class="{row.verdict}"><a href="{row.file}"><img src="{row.file}" loading="lazy" '
        f'alt="Synthetic image of the class {_text(row.class_)}"></a><figcaption>'
        f"<b>{_text(note)}</b><code>{row.asset}</code><br><small>{_text(version)}</small>"
        "</figcaption></figure>"
    )


def _text(value: str) -> str:
    return html.escape(value, quote=True)


def _font(size_px: int) -> Any:
    return ImageFont.load_default(size=size_px)
