"""The `glyphs` source: colour stickers drawn from the DejaVu Sans that matplotlib ships.

Real vector art under a free licence, on every machine that has the Python packages: no download.
A sticker is one glyph of a family (the class) on a tilted card, in one palette, with a die-cut rim.
Everything is a function of (seed, ordinal), so the same count and seed give the same bytes on the
same Pillow.
"""

import importlib.util
import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from gan.errors import SourceError

SIDE_PX = 64
_OVERSAMPLING = 4  # drawn at 256 px and reduced: smooth edges without an anti-aliasing rasteriser

# Families are shapes that a person tells apart at 32 px; each glyph is in one family alone.
FAMILIES: dict[str, str] = {
    "arrows": "⬅⬆⬇⬈⬉⬊⬋⬌⬍➔➜➡➤⇦⇧⇨⇩↺↻↩↪",
    "cards": "♠♢♣♤♦♧",
    "cats": "😸😹😺😻😼😽😾😿🙀",
    "chess": "♔♕♖♗♘♙♚♛♜♝♞♟",
    "dice": "⚀⚁⚂⚃⚄⚅",
    "faces": "😀😃😄😇😈😉😊😍😎😏😐😒😔😛😠😡😢😨😮😲😶☹☺☻",
    "flowers": "✾✿❀❁❃❊❋✻✽❉",
    "hands": "☚☛☜☝☞☟✌✍",
    "hearts": "♥♡❣❤❥",
    "music": "♩♪♫♬♭♮♯",
    "stars": "★☆✡✦✧✪✫✬✭✯✰✴✶✷✸✹",
    "tools": "✂✄✈✉✎✏✒⚒⚓⚔⚖⚙☎",
    "weather": "☀☁☂☃☔☼☽☾⚡❄❅❆",
    "zodiac": "♈♉♊♋♌♍♎♏♐♑♒♓",
}

# (card, glyph) colours; chosen for contrast, so that a family stays readable in every palette.
_PALETTES: tuple[tuple[str, str], ...] = (
    ("#ffd23f", "#3b2c85"),
    ("#ee4266", "#fff4e0"),
    ("#0ead69", "#fdfcdc"),
    ("#3bceac", "#1b2a41"),
    ("#540d6e", "#ffd23f"),
    ("#1b4965", "#cae9ff"),
    ("#ff9f1c", "#2d1e2f"),
    ("#f6f7f8", "#d7263d"),
    ("#fde2e4", "#9d174d"),
    ("#264653", "#f4a261"),
    ("#a8dadc", "#1d3557"),
    ("#7b2cbf", "#f8edff"),
)
_BACKDROPS = ("#ffffff", "#f2efe9", "#e8eef2")
_CARDS = ("circle", "rounded", "scallop", "hexagon")


@dataclass(frozen=True)
class Drawing:
    """One sticker.

    Attributes:
        key: Its name inside the source, `<family>/<ordinal>.png`.
        label: Its family.
        payload: PNG bytes, RGB, `SIDE_PX` square.
    """

    key: str
    label: str
    payload: bytes


def draw(count: int, seed: int) -> Iterator[Drawing]:
    """Yield `count` stickers; families take turns, so they are equal in number within one.

    Raises:
        SourceError: matplotlib's DejaVu Sans is not installed, or lacks a glyph.
    """
    families = list(FAMILIES)
    for ordinal in range(count):
        label = families[ordinal % len(families)]
        place = random.Random(f"glyphs {seed} {ordinal}")  # noqa: S311  # drawing, not secrets
        image = _sticker(FAMILIES[label], place)
        file = io.BytesIO()
        image.save(file, "PNG")
        yield Drawing(f"{label}/{ordinal:06d}.png", label, file.getvalue())


def _sticker(glyphs: str, place: random.Random) -> Image.Image:
    """Return one sticker, RGB, `SIDE_PX` square."""
    side = SIDE_PX * _OVERSAMPLING
    glyph = place.choice(glyphs)
    card, ink = place.choice(_PALETTES)
    centre = (
        side / 2 + place.uniform(-0.02, 0.02) * side,
        side / 2 + place.uniform(-0.02, 0.02) * side,
    )
    radius = place.uniform(0.42, 0.47) * side
    tilt_degrees = place.uniform(-14, 14)
    canvas = Image.new("RGB", (side, side), place.choice(_BACKDROPS))
    shape = _card(place.choice(_CARDS), centre, radius, math.radians(tilt_degrees))
    pen = ImageDraw.Draw(canvas)
    pen.polygon([(x + 0.012 * side, y + 0.02 * side) for x, y in shape], fill="#c9c6c0")  # shadow
    pen.polygon(shape, fill="#ffffff")
    rim = 0.90  # the white die-cut rim is the rest of the card
    pen.polygon(
        [(centre[0] + (x - centre[0]) * rim, centre[1] + (y - centre[1]) * rim) for x, y in shape],
        fill=card,
    )
    mask = _glyph_mask(glyph, radius * place.uniform(1.24, 1.38), tilt_degrees, side)
    corner = round(centre[0] - mask.width / 2), round(centre[1] - mask.height / 2)
    canvas.paste(Image.new("RGB", mask.size, ink), corner, mask)
    return canvas.reduce(_OVERSAMPLING)


def _card(
    kind: str, centre: tuple[float, float], radius: float, tilt: float
) -> list[tuple[float, float]]:
    """Return the card's outline as points, px; `tilt` in radians."""
    points = []
    for step in range(180):
        angle = 2 * math.pi * step / 180
        if kind == "circle":
            reach = radius
        elif kind == "scallop":
            reach = radius * (0.95 + 0.05 * math.cos(12 * angle))
        elif kind == "hexagon":
            reach = (
                radius
                * 1.04
                * math.cos(math.pi / 6)
                / math.cos((angle % (math.pi / 3)) - math.pi / 6)
            )
        else:  # a superellipse is a rounded square
            reach = (
                0.92 * radius / (abs(math.cos(angle)) ** 6 + abs(math.sin(angle)) ** 6) ** (1 / 6)
            )
        turned = angle - tilt
        points.append((centre[0] + reach * math.cos(turned), centre[1] + reach * math.sin(turned)))
    return points


def _glyph_mask(glyph: str, extent: float, tilt_degrees: float, side: int) -> Image.Image:
    """Return the glyph as an L mask whose longer side is `extent` px, tilted."""
    em = _font(side)
    left, top, right, bottom = em.getbbox(glyph)
    size = round(side * extent / max(right - left, bottom - top))
    font = _font(size)
    left, top, right, bottom = font.getbbox(glyph)
    weight = max(1, round(0.012 * side))  # thin strokes would vanish at 32 px
    mask = Image.new("L", (round(right - left) + 2 * weight, round(bottom - top) + 2 * weight))
    pen = ImageDraw.Draw(mask)
    pen.text((weight - left, weight - top), glyph, font=font, fill=255, stroke_width=weight)
    return mask.rotate(tilt_degrees, Image.Resampling.BICUBIC, expand=True)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans from matplotlib's data folder (matplotlib itself is not imported)."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise SourceError("glyphs: matplotlib is not installed; its DejaVu Sans is the source.")
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    try:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise SourceError(f"glyphs: {path} cannot be read. Install matplotlib again.") from error
