"""How a picture of many images is laid out and lettered; colours and names are the plots' too.

Blue is real, orange is generated: a pair that colour-blind people tell apart. Class names are
anyone's words: they are wrapped, cut in the middle, and what the font cannot draw is said by its
code, so that two names never look alike.
"""

import importlib.util
import io
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gan.durable import write_atomically
from gan.image.encode import enlarge

PAPER, INK, FADED, RULE = "#ffffff", "#1f2430", "#687083", "#dde1ea"
REAL, GENERATED, WARNING = "#0060a8", "#b85a00", "#b3001b"
MARGIN_PX, GAP_PX, LINE_PX = 24, 2, 17
LARGE_PX, SMALL_PX = 96, 64  # images are brought to about this, by whole numbers
_FEW = 8  # blocks up to this many are drawn large
_NAME_PX, _BETWEEN_PX, _LEAST_WIDTH_PX = 132, 14, 720
_NAME_AT_MOST = 90  # characters of a name that are looked at
_NO_GLYPH = "\U0010ffff"

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """Images side by side, uint8 [n, C, H, W], and what they are; n may be 0."""

    images: Images
    role: str = ""
    colour: str = INK


@dataclass(frozen=True)
class Block:
    """Rows that belong together, and the name beside them; no name where it is empty."""

    name: str
    rows: list[Row]


def sheet(
    title: str, note: str, blocks: Sequence[Block], *, across: int = 1, numbered: bool = False
) -> Image.Image:
    """Return blocks below each other, names and roles on the left.

    Args:
        title: One line; longer ones are wrapped.
        note: What is seen, in words.
        blocks: At least one, with at least one image among them.
        across: Blocks beside each other.
        numbered: Whether the columns are numbered.

    Raises:
        ValueError: There is no image.
    """
    every = [row.images for block in blocks for row in block.rows if len(row.images)]
    if not every:
        raise ValueError("there is no image to show")
    target = LARGE_PX if len(blocks) <= _FEW else SMALL_PX
    step = max(max(tile(images[0], target).size) for images in every) + GAP_PX
    columns = max(len(images) for images in every)
    name_px = _NAME_PX if any(block.name for block in blocks) else 0
    roles = {row.role for block in blocks for row in block.rows if row.role}
    role_px = max((round(font(12).getlength(role)) + 20 for role in roles), default=0)
    between = _BETWEEN_PX if role_px else 0
    wide = name_px + role_px + columns * step
    high = max(len(block.rows) for block in blocks) * step + between
    down = -(-len(blocks) // across)
    width = 2 * MARGIN_PX + across * wide + (across - 1) * MARGIN_PX
    numbers_px = LINE_PX if numbered else 0
    canvas, top = headed(title, note, width, numbers_px + down * high - between)
    pen = ImageDraw.Draw(canvas)
    for place, block in enumerate(blocks):
        left = MARGIN_PX + place // down * (wide + MARGIN_PX)
        upper = top + numbers_px + place % down * high
        if between and place % down:
            rule = upper - (between + GAP_PX) // 2
            pen.line((left, rule, left + wide, rule), fill=RULE)
        if numbered and place % down == 0:
            for column in range(columns):
                centre = left + name_px + role_px + column * step + step // 2
                pen.text((centre, upper - 4), str(column + 1), FADED, font(12), anchor="ms")
        _draw_block(canvas, block, (left, upper), (name_px, role_px, step))
    return canvas


def _draw_block(
    canvas: Image.Image, block: Block, corner: tuple[int, int], sizes: tuple[int, int, int]
) -> None:
    """Draw a block; `sizes` are the widths of names and roles and the step of images, px."""
    (left, upper), (name_px, role_px, step) = corner, sizes
    pen, high = ImageDraw.Draw(canvas), len(block.rows) * step - GAP_PX
    lines = wrapped(readable(block.name), 14, name_px - 12, max(1, high // LINE_PX))
    start = upper + high / 2 - (len(lines) - 1) * LINE_PX / 2
    for number, line in enumerate(lines if block.name else []):
        pen.text((left, start + number * LINE_PX), line, INK, font(14), anchor="lm")
    target = step - GAP_PX
    for number, row in enumerate(block.rows):
        y, x = upper + number * step, left + name_px + role_px
        if row.role:
            pen.text((x - 12, y + target / 2), row.role, row.colour, font(12), anchor="rm")
            pen.rectangle((x - 7, y, x - 4, y + target - 1), fill=row.colour)
        if len(row.images) == 0:
            pen.text((x + 4, y + target / 2), "none", FADED, font(12), anchor="lm")
        for column, image in enumerate(row.images):
            canvas.paste(tile(image, target), (x + column * step, y))


def headed(title: str, note: str, width: int, height: int) -> tuple[Image.Image, int]:
    """Return a canvas with room below its heading, and where that begins, px from the top."""
    width = max(width, _LEAST_WIDTH_PX)
    room = width - 2 * MARGIN_PX
    heads, notes = wrapped(title, 20, room, 2, bold=True), wrapped(note, 14, room, 4)
    top = MARGIN_PX + 27 * len(heads) + 20 * len(notes) + 14
    canvas = Image.new("RGB", (width, top + height + MARGIN_PX), PAPER)
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(heads):
        pen.text((MARGIN_PX, MARGIN_PX + 27 * number), line, INK, font(20, bold=True))
    for number, line in enumerate(notes):
        y = MARGIN_PX + 27 * len(heads) + 4 + 20 * number
        pen.text((MARGIN_PX, y), line, FADED, font(14))
    return canvas, top


def tile(image: Images, target_px: int) -> Image.Image:
    """Return one image [C, H, W] at about `target_px`: hard pixels, alpha over a checkerboard.

    Larger ones are reduced by a whole number, each pixel the mean of those that it stands for.
    """
    side = max(image.shape[1:])
    large = enlarge(image[None], max(1, target_px // side))[0]
    flat = large[0] if len(large) == 1 else np.ascontiguousarray(large.transpose(1, 2, 0))
    return Image.fromarray(flat).reduce(max(1, -(-side // target_px)))


def write_png(path: Path, picture: Image.Image) -> Path:
    """Write a picture and return where: no date, so that equal pictures are equal bytes."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    write_atomically(path, file.getvalue())
    return path


def readable(name: str) -> str:
    """Return a name as it can be drawn on one line: what cannot be is said by its code, U+732B."""
    cut = name if len(name) <= _NAME_AT_MOST else _middle_cut(name, _NAME_AT_MOST)
    parts = [ink if ink.isprintable() and _has_glyph(ink) else f" U+{ord(ink):04X} " for ink in cut]
    return re.sub(" +", " ", "".join(parts)).strip() or "(no name)"


def number(value: float) -> str:
    """Return a figure to three digits: 14.6, 0.0312, 1,230."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def wrapped(text: str, size_px: int, room_px: int, lines: int, *, bold: bool = False) -> list[str]:
    """Return text in at most so many lines of a width, cut in the middle where it is longer."""

    def broken(cut: int) -> list[str]:
        return _lines(_middle_cut(text, len(text) - cut), font(size_px, bold=bold), room_px)

    cut = bisect_left(range(len(text)), True, key=lambda cut: len(broken(cut)) <= lines)  # noqa: FBT003
    return broken(cut)


def _lines(text: str, face: Any, room_px: int) -> list[str]:
    """Break text after blanks and marks, and inside a word only where it is wider than a line."""
    found = [""]
    for word in re.findall(r"[^\s\-_/.]*[\s\-_/.]*", text):
        if found[-1] and face.getlength((found[-1] + word).rstrip()) > room_px:
            found.append("")
        for ink in word:
            if found[-1] and face.getlength((found[-1] + ink).rstrip()) > room_px:
                found.append("")
            found[-1] += ink
    return [line.strip() for line in found]


def _middle_cut(text: str, length: int) -> str:
    """Return text of at most so many characters: names in one data set often end unlike."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


@cache
def font(size_px: int, *, bold: bool = False) -> Any:  # Pillow's two font types share no base
    """Return DejaVu Sans of matplotlib's data (which is not imported), else Pillow's own font."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(path, size_px)
    return ImageFont.load_default(size=size_px)


@cache
def _has_glyph(ink: str) -> bool:
    """Return whether the font draws a character as other than its sign for a missing one."""
    face = font(14)
    drawn, missing = face.getmask(ink), face.getmask(_NO_GLYPH)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
