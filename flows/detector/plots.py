"""The drawings of the detector's page: the curve of its errors, and whether its odds are right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan.detector.cards import DetectorCard

_SIDE, _EDGE = 260, 34
_FALSE_POSITIVES = 0.05
STYLE = """
.limits { margin-top: 20px; } .limits ul { margin: 0; padding-left: 18px; }
.limits li { margin: 6px 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr));
  gap: 16px; }
.curves figure { margin: 0; background: var(--card); border: 1px solid var(--rule);
  border-radius: 12px; padding: 14px 18px; }
.curves figcaption { font-weight: 600; } .curves figcaption small { display: block;
  font-weight: 400; }
.curves svg { width: 100%; max-width: 380px; height: auto; margin: 10px auto 0; }
.rates tbody th { width: 31%; }
.bar { display: block; position: relative; height: 6px; margin-top: 5px; max-width: 200px;
  border-radius: 3px; background: var(--rule); }
.bar i { position: absolute; top: 0; height: 6px; border-radius: 3px; background: var(--accent);
  opacity: .45; }
.bar b { position: absolute; top: -2px; width: 2px; height: 10px; margin-left: -1px;
  background: var(--ink); }
.album { display: flex; flex-wrap: wrap; gap: 10px; } .album figure { margin: 0; width: 68px; }
.album img { display: block; width: 64px; height: 64px; image-rendering: pixelated;
  border-radius: 6px; border: 1px solid var(--rule); }
.album figcaption { font-size: 12px; font-variant-numeric: tabular-nums; line-height: 1.25;
  margin-top: 3px; }
.album small { display: block; font-size: 10.5px; line-height: 1.2; }
"""


def curve(card: "DetectorCard") -> str:
    """Return the ROC curve of delivered pictures, with the point of 5 % false positives."""
    line = " ".join(f"{_x(false):.1f},{_y(true):.1f}" for false, true in card.roc)
    there = max((true for false, true in card.roc if false <= _FALSE_POSITIVES), default=0.0)
    left = _x(_FALSE_POSITIVES)
    drawn = (
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="var(--faded)" '
        'stroke-dasharray="3 4"/>'
        f'<path d="M{left:.1f} {_y(0)}V{_y(1)}" stroke="var(--b)" stroke-dasharray="2 3"/>'
        f'<text x="{left + 6:.1f}" y="{_y(0) - 8}" fill="var(--b)">5 %: {there:.0%} found</text>'
        f'<polyline points="{line}" fill="none" stroke="var(--accent)" stroke-width="2.5"/>'
    )
    return _figure(
        "What finding more costs",
        "All its models, as delivered. Up: share of synthetic images found. Right: share of real "
        "ones called synthetic.",
        drawn,
        "ROC curve",
    )


def reliability(card: "DetectorCard") -> str:
    """Return how many are synthetic among pictures of like probability."""
    dots = "".join(
        f'<circle cx="{_x(each.probability):.1f}" cy="{_y(each.share):.1f}" '
        f'r="{2.5 + 12 * each.weight**0.5:.1f}" fill="var(--a)" fill-opacity=".55"/>'
        for each in card.reliability
    )
    drawn = (
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="var(--faded)" '
        f'stroke-dasharray="3 4"/>{dots}'
    )
    return _figure(
        "Whether its odds are right",
        "All journeys, as many real as synthetic. Right: what it says. Up: how many of those are "
        "synthetic. On the line it is right; a large dot is many pictures.",
        drawn,
        "Reliability diagram",
    )


def _figure(title: str, note: str, drawn: str, label: str) -> str:
    """Return a square from 0 to 1 both ways with something drawn in it."""
    total = _SIDE + 2 * _EDGE
    return (
        f"<figure><figcaption>{title}<small>{note}</small></figcaption>"
        f'<svg viewBox="0 0 {total} {total - _EDGE // 2}" role="img" aria-label="{label}" '
        'font-size="12" fill="var(--faded)">'
        f'<path d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}" fill="none" stroke="var(--faded)"/>{drawn}'
        f'<text x="{_x(0)}" y="{_y(0) + 18}" text-anchor="middle">0</text>'
        f'<text x="{_x(1)}" y="{_y(0) + 18}" text-anchor="middle">100 %</text>'
        f'<text x="{_x(0) - 6}" y="{_y(1) + 4}" text-anchor="end">1</text></svg></figure>\n'
    )


def _x(share: float) -> float:
    return _EDGE + _SIDE * share


def _y(share: float) -> float:
    return _EDGE / 2 + _SIDE * (1 - share)
