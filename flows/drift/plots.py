"""The drawings of the drift page: histograms of facts, bars of classes, strips of images."""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.page_style import text

if TYPE_CHECKING:
    from flows.drift.samples import Version

_BINS = 32
_WIDTH, _HEIGHT, _FOOT = 320, 90, 16
_TAIL = 0.005  # of the images at either end share the outermost bin: a few must not flatten all
STYLE = """
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr));
  gap: 16px; }
.plots figure { margin: 0; background: var(--card); border: 1px solid var(--rule);
  border-radius: 12px; padding: 12px 16px; }
.plots figcaption { font-weight: 600; } .plots svg { width: 100%; height: auto; margin-top: 8px; }
.bars { display: grid; grid-template-columns: minmax(80px, 220px) 1fr 96px; gap: 3px 14px;
  align-items: center; padding: 14px 20px; }
.bars span { overflow-wrap: anywhere; } .bars i { display: block; height: 9px; min-width: 1px;
  border-radius: 2px; } .bars small { text-align: right; font-variant-numeric: tabular-nums; }
.fill-a { background: var(--a); } .fill-b { background: var(--b); }
"""


def histogram(name: str, old: NDArray[np.float64], new: NDArray[np.float64]) -> str:
    """Return a figure of how a fact is spread in both: old filled, new as a line."""
    both = np.concatenate([old, new])
    low, high = (float(each) for each in np.quantile(both, [_TAIL, 1 - _TAIL]))
    if not high > low:
        low, high = float(both.min()), float(both.max())
    if not high > low:
        return f"<figure><figcaption>{text(name)}</figcaption>The same for every image.</figure>\n"
    shares = [
        np.histogram(np.clip(side, low, high), _BINS, (low, high))[0] / len(side)
        for side in (old, new)
    ]
    top, room = max(float(share.max()) for share in shares), _HEIGHT - _FOOT
    filled, line = (_path(share * (room - 4) / top, room) for share in shares)
    return (
        f"<figure><figcaption>{text(name)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{text(name)} of the old and of the new images">'
        f'<path d="{filled}V{room}H0Z" fill="var(--a)" fill-opacity=".45"/>'
        f'<path d="{line}" fill="none" stroke="var(--b)" stroke-width="2"/>'
        f'<path d="M0 {room}H{_WIDTH}" stroke="var(--faded)"/>'
        f'<g font-size="11" fill="var(--faded)"><text y="{_HEIGHT - 3}">{low:.3g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 3}" text-anchor="end">{high:.3g}</text></g>'
        "</svg></figure>\n"
    )


def _path(heights: NDArray[np.float64], foot: float) -> str:
    """Return the upper edge of bars from left to right."""
    step, steps = _WIDTH / len(heights), []
    for place, height in enumerate(heights):
        steps.append(f"V{foot - height:.1f}H{(place + 1) * step:.1f}")
    return f"M0 {foot:g}{''.join(steps)}"


def bars(names: list[str], old: list[float], new: list[float]) -> str:
    """Return a bar for each class and side; shares are 0 to 1."""
    top = max([*old, *new, 1e-9])
    rows = "".join(
        f"<span>{text(name)}</span><span>"
        f'<i class="fill-a" style="width:{100 * before / top:.1f}%"></i>'
        f'<i class="fill-b" style="width:{100 * after / top:.1f}%"></i></span>'
        f"<small>{before:.1%}<br>{after:.1%}</small>"
        for name, before, after in zip(names, old, new, strict=True)
    )
    return f'<div class="card bars">{rows}</div>\n'


def strip(images: NDArray[np.uint8]) -> bytes:
    """Return images [n, C, H, W] side by side as a PNG file; n is at least 1."""
    from PIL import Image

    from gan.metrics.sheet import GAP_PX, SMALL_PX, tile

    tiles = [tile(image, SMALL_PX) for image in images]
    width, height = tiles[0].size
    step = width + GAP_PX
    picture = Image.new("RGBA", (len(tiles) * step - GAP_PX, height))
    for place, each in enumerate(tiles):
        picture.paste(each, (place * step, 0))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def shares(version: "Version") -> dict[str, float]:
    """Return the share of each class, 0 to 1."""
    names, counts = np.unique(np.array(version.labels, object), return_counts=True)
    total = len(version.labels)
    return {str(name): int(count) / total for name, count in zip(names, counts, strict=True)}
