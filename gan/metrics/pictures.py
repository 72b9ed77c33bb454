"""Real beside generated, for people: `grid.png` by class and `samples.png` of fixed latents."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gan.bundle import Bundle, latents
from gan.durable import write_atomically
from gan.image.encode import enlarge
from gan.modality import Items, modality

GRID, SAMPLES = "grid.png", "samples.png"
_SEED = (
    1  # the same latents for every version of a model, so that versions can be laid side by side
)
_SAMPLES, _SAMPLE_COLUMNS = 96, 12
_CLASSES_SHOWN = 24
_PAIR_PX, _SAMPLE_PX = 64, 96  # images are enlarged to about this, by whole numbers
_MARGIN_PX, _GAP_PX, _LABEL_PX, _HEADER_PX = 24, 2, 168, 56
_PAPER, _INK, _FADED, _RULE = "#ffffff", "#1f2430", "#8a90a0", "#e4e7ee"

Kept = dict[int, NDArray[np.uint8]]


def write_pictures(
    destination: Path, bundle: Bundle, data: Items, real: Kept, made: Kept
) -> list[Path]:
    """Write both pictures and return their paths.

    Args:
        destination: The folder.
        bundle: The model.
        data: For the class names.
        real: A few real images of each class, uint8 [n, C, H, W].
        made: As many generated ones.
    """
    room = modality(bundle.card.modality)
    numbers = sorted(set(real) & set(made))
    if len(numbers) > _CLASSES_SHOWN:  # spread over the alphabet, not its first letters
        picks = np.linspace(0, len(numbers) - 1, _CLASSES_SHOWN).round().astype(int)
        numbers = [numbers[pick] for pick in picks]
    pairs = [(data.classes[number], real[number], made[number]) for number in numbers]
    title = f"{bundle.card.recipe} {bundle.digest[:8]}"
    pictures = {
        GRID: _pairs_picture(title, pairs),
        SAMPLES: room.grid(_samples(bundle), _SAMPLE_COLUMNS, _scale(data.resolution, _SAMPLE_PX)),
    }
    for name, picture in pictures.items():
        file = io.BytesIO()
        picture.save(file, "PNG", optimize=True)
        write_atomically(destination / name, file.getvalue())
    return [destination / name for name in pictures]


@torch.no_grad()
def _samples(bundle: Bundle) -> NDArray[np.uint8]:
    """Return 96 images of fixed latents, classes in turn, uint8 [96, C, H, W]."""
    z = latents(_SEED, "samples", count=_SAMPLES, z_dim=bundle.card.z_dim)
    c = torch.arange(_SAMPLES) % len(bundle.card.classes)
    return modality(bundle.card.modality).to_uint8(bundle.generator("cpu")(z, c))


def _pairs_picture(
    title: str, pairs: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]
) -> Image.Image:
    """Return a row of real over a row of generated images for each class, names on the left."""
    columns = max(max(len(real), len(made)) for _, real, made in pairs)
    side = pairs[0][1].shape[-1]
    scale = _scale(side, _PAIR_PX)
    tile = side * scale
    step = tile + _GAP_PX
    height_each = 2 * step + 14
    width = 2 * _MARGIN_PX + _LABEL_PX + columns * step
    canvas = Image.new("RGB", (width, _MARGIN_PX + _HEADER_PX + len(pairs) * height_each), _PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((_MARGIN_PX, _MARGIN_PX), title, fill=_INK, font=_font(18))
    legend = "upper row of each class: real      lower row: generated"
    pen.text((_MARGIN_PX, _MARGIN_PX + 26), legend, fill=_FADED, font=_font(13))
    for place, (name, real, made) in enumerate(pairs):
        top = _MARGIN_PX + _HEADER_PX + place * height_each
        pen.line((_MARGIN_PX, top - 8, width - _MARGIN_PX, top - 8), fill=_RULE)
        _label(pen, name, top, step)
        for row, images in enumerate((real, made)):
            for column, image in enumerate(images):
                corner = _MARGIN_PX + _LABEL_PX + column * step, top + row * step
                canvas.paste(_tile(image, scale), corner)
    return canvas


def _label(pen: ImageDraw.ImageDraw, name: str, top: int, step: int) -> None:
    """Write a class name beside its two rows, cut to the width there is."""
    font = _font(16)
    room_px = _LABEL_PX - 12  # the words beside the rows stand higher and lower
    shown = name
    while shown and pen.textlength(shown, font=font) > room_px:
        shown = shown[:-1]
    shown = shown if shown == name else f"{shown[:-1]}."
    pen.text((_MARGIN_PX, top + step), shown, fill=_INK, font=font, anchor="lm")
    right = _MARGIN_PX + _LABEL_PX - 10
    pen.text((right, top + step // 2), "real", fill=_FADED, font=_font(12), anchor="rm")
    pen.text((right, top + step + step // 2), "generated", fill=_FADED, font=_font(12), anchor="rm")


def _tile(image: NDArray[np.uint8], scale: int) -> Image.Image:
    """Return one image [C, H, W] uint8, enlarged with hard pixels, alpha over a checkerboard."""
    large = enlarge(image[None], scale)[0]
    flat = large[0] if len(large) == 1 else np.ascontiguousarray(large.transpose(1, 2, 0))
    return Image.fromarray(flat)


def _scale(side_px: int, tile_px: int) -> int:
    """Return the whole number that brings an image to about the tile's size."""
    return max(1, tile_px // side_px)


def _font(size_px: int) -> Any:  # Pillow's two font types share no base
    return ImageFont.load_default(size=size_px)
