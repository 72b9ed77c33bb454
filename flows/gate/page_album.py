"""The pictures on a gate's page: both models and real images by class, and the canary.

Only files whose bytes are those that the decision names are shown; the others are said to be gone.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.gate import drawing
from flows.gate.records import CANARY
from flows.page_style import image, text

if TYPE_CHECKING:
    from PIL.Image import Image

STYLE = """
.trio { display: grid; grid-template-columns: 70px minmax(0, 1fr); gap: 4px 8px;
  align-items: center; }
.trio span { color: var(--faded); font-size: 12px; }
.trio img { display: block; width: 100%; height: auto; image-rendering: pixelated; }
.assets { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 8px; }
.assets img { display: block; width: 100%; height: auto; border: 1px solid var(--rule);
  border-radius: 6px; background: var(--card); }
"""
_ROLES = (
    ("real", drawing.REAL),
    ("champion", drawing.CHAMPION),
    ("challenger", drawing.CANDIDATE),
)
_ASSET_PX = 256
_BYTES = 2_200_000  # of all pictures; in the page they take a third more
_SHRINKS = (1, 2, 4, 8)


def album(folder: Path, document: Mapping[str, Any]) -> str:
    """Return the pictures of a decision as HTML, shrunk where they would make the page heavy.

    Args:
        folder: Of the decision.
        document: Its `gate.json`.
    """
    rows = {role: _rows(folder, document, name) for role, name in _ROLES}
    canary = (document["evidence"].get("canary") or {}).get("files") or {}
    assets = [each for name in sorted(canary) if (each := _asset(folder, name, canary[name]))]
    for shrink in _SHRINKS:
        strips = {role: [_png(each, shrink) for each in rows[role].values()] for role in rows}
        minted = [_png(each, shrink) for each in assets]
        if sum(map(len, [*minted, *(png for each in strips.values() for png in each)])) <= _BYTES:
            break
    named = {role: dict(zip(rows[role], strips[role], strict=True)) for role in rows}
    return _strips(named, document) + _canary(minted, document)


def _rows(folder: Path, document: Mapping[str, Any], name: str) -> "dict[str, Image]":
    """Return the rows of a picture; none where the file is not the one that was drawn."""
    if not _is_whole(folder / name, document["pictures"].get(name)):
        return {}
    try:
        return drawing.rows_of(folder / name)
    except (OSError, ValueError):
        return {}


def _asset(folder: Path, name: str, digest: str) -> "Image | None":
    """Return an asset of the canary at most 256 px wide, None where it is not what was minted."""
    from PIL import Image

    path = folder / CANARY / name
    if Path(name).name != name or not _is_whole(path, digest):
        return None
    try:
        with Image.open(path) as picture:
            return picture.convert("RGBA").reduce(max(1, -(-max(picture.size) // _ASSET_PX)))
    except (OSError, ValueError):
        return None


def _is_whole(path: Path, digest: str | None) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _png(picture: "Image", shrink: int) -> bytes:
    file = io.BytesIO()
    picture.reduce(min(shrink, *picture.size)).save(file, "PNG")
    return file.getvalue()


def _strips(rows: Mapping[str, Mapping[str, bytes]], document: Mapping[str, Any]) -> str:
    title = "<h2>The same latents, side by side</h2>\n"
    names = dict.fromkeys(name for each in rows.values() for name in each)
    if not names:
        return f"{title}<p>There are no pictures of this decision.</p>\n"
    note = "A column of a class comes from one latent. Real images are drawn by chance."
    lost = [name for _, name in _ROLES if name in document["pictures"]]
    lost = [name for (role, name) in _ROLES if name in lost and not rows[role]]
    if lost:
        note += f" Not shown, since altered or gone: {', '.join(lost)}."
    classes = "".join(
        f'<section class="class"><h3><bdi>{text(name)}</bdi></h3><div class="trio">'
        f"{''.join(_strip(role, name, rows[role][name]) for role in rows if name in rows[role])}"
        "</div></section>\n"
        for name in names
    )
    return f'{title}<p>{note}</p>\n<div class="classes">\n{classes}</div>\n'


def _strip(role: str, name: str, png: bytes) -> str:
    whose = "Real images" if role == "real" else f"Images by the {role}"
    return f"<span>{role}</span>{image(png, f'{whose} of the class {name}')}"


def _canary(pngs: Sequence[bytes], document: Mapping[str, Any]) -> str:
    found = document["evidence"].get("canary")
    if not found:
        return ""
    title = "<h2>Assets minted in a clean process</h2>\n"
    note = f"{found['accepted']} of {found['count']} passed the asset filters."
    if lost := len(found["files"]) - len(pngs):
        note += f" {lost} of the {len(found['files'])} files are altered or gone."
    if found["problem"]:
        note = f"It did not end well: {found['problem']}"
    count = len(pngs)
    shown = "".join(
        image(png, f"Asset {place} of {count} minted by the challenger")
        for place, png in enumerate(pngs, 1)
    )
    return f'{title}<p>{text(note)}</p>\n<div class="assets">{shown}</div>\n'
