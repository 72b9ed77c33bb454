"""The label that everybody sees: a few words on a plate in a corner, such as "AI generated"."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gan.errors import GanmillError, UsageError

_SHARE, _SMALLEST_PX = 0.05, 8  # of the letters: per shorter side of the picture, and at least
_WIDEST, _HIGHEST = 0.94, 0.4  # of the plate, per side of the picture
_MARGIN, _PADDING, _LINE = 0.6, 0.4, 1.2  # per size of the letters
_PLATE, _INK = (16, 18, 24, 205), (255, 255, 255, 255)  # contrast 9 : 1 on the whitest picture
_NO_CHARACTER = "\uffff"


def draw_label(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Return the picture with `text` on a plate in its lower right corner, in as many lines as fit.

    The letters are a twentieth of the shorter side high, or smaller where they do not fit, down to
    8 px. Outside the plate no pixel changes.

    Args:
        picture: uint8 [H, W, 3 or 4], straight alpha.
        text: What the label says.

    Raises:
        UsageError: There is no room for it, or the font lacks one of its characters.
        GanmillError: The font is not installed.
    """
    height, width, channels = picture.shape
    font, lines = _fitted(text, width, height)
    size_px = font.size
    plate = _plate(lines, font)
    margin = round(min(_MARGIN * size_px, (width - plate.width) / 2, (height - plate.height) / 2))
    left, top = width - margin - plate.width, height - margin - plate.height
    under = picture[top : top + plate.height, left : left + plate.width]
    below = Image.fromarray(np.ascontiguousarray(under)).convert("RGBA")
    labelled = picture.copy()
    labelled[top : top + plate.height, left : left + plate.width] = np.asarray(
        Image.alpha_composite(below, plate)
    )[..., :channels]
    return labelled


def _fitted(text: str, width: int, height: int) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """Return the largest font, and the lines of the text, that fit into a picture."""
    largest = max(round(_SHARE * min(width, height)), _SMALLEST_PX)
    font = _font(largest)
    _require_characters(text, font)
    for size_px in range(largest, _SMALLEST_PX - 1, -1):
        font = _font(size_px)
        room_px = _WIDEST * width - 2 * _PADDING * size_px
        lines = _lines(text, font, room_px)
        plate_px = (len(lines) * _LINE + 2 * _PADDING) * size_px
        if plate_px <= _HIGHEST * height and all(font.getlength(line) <= room_px for line in lines):
            return font, lines
    raise UsageError(
        f"label {text!r} does not fit into a picture of {width} x {height} px in letters of "
        f"{_SMALLEST_PX} px. Shorten assets.label, or make the picture larger."
    )


def _lines(text: str, font: ImageFont.FreeTypeFont, room_px: float) -> list[str]:
    """Return the words in lines, each as long as there is room."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _plate(lines: list[str], font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return the plate with its words, RGBA, transparent at its round corners."""
    size_px = font.size
    padding = _PADDING * size_px
    widest = max(font.getlength(line) for line in lines)
    size = round(widest + 2 * padding), round(len(lines) * _LINE * size_px + 2 * padding)
    plate = Image.new("RGBA", size)
    pen = ImageDraw.Draw(plate)
    pen.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), padding, _PLATE)
    for place, line in enumerate(lines):
        middle = padding + (place + 0.5) * _LINE * size_px
        pen.text((size[0] / 2, middle), line, fill=_INK, font=font, anchor="mm")
    return plate


def _require_characters(text: str, font: ImageFont.FreeTypeFont) -> None:
    """Refuse a text of which the font would draw an empty box.

    Raises:
        UsageError: There is no such character in the font, or there are no words.
    """
    box = bytes(font.getmask(_NO_CHARACTER))
    for character in text:
        if not character.isspace() and bytes(font.getmask(character)) == box:
            raise UsageError(
                f"label {text!r}: DejaVu Sans has no {character!r}. Write assets.label without it."
            )
    if not text.strip():
        raise UsageError("the label is empty. Give assets.label some words, or leave it out.")


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans Bold from matplotlib's data folder (matplotlib itself is not imported)."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise GanmillError("matplotlib is not installed; the label is written in its DejaVu Sans.")
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    try:
        return ImageFont.truetype(path, size_px)
    except OSError as error:
        raise GanmillError(f"{path}: cannot be read. Install matplotlib again.") from error
