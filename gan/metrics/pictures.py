"""What people look at: real over generated, fixed latents by class, likely copies.

    grid.png     a few real images of each class over as many generated ones
    samples.png  the same 12 latents for every class: a row is a class, a column a latent
    pairs.png    the most copied fakes, each beside its nearest real images

Equal arguments give equal bytes on the same Pillow: no file holds a date. The latents are the same
for every version of a model, so that two versions can be laid side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageDraw

from gan.bundle import Bundle, latents
from gan.inference import generate
from gan.metrics.sheet import (
    GAP_PX,
    GENERATED,
    INK,
    LARGE_PX,
    LINE_PX,
    MARGIN_PX,
    REAL,
    WARNING,
    Block,
    Images,
    Row,
    font,
    headed,
    number,
    readable,
    sheet,
    tile,
    write_png,
)
from gan.modality import modality

GRID, SAMPLES, PAIRS = "grid.png", "samples.png", "pairs.png"
LATENTS = 12
PAIRS_AT_MOST = 24
_SEED = 1
_CLASSES_SHOWN = 24
_UNCONDITIONAL_ROWS = 8
_ONE_ACROSS = 8  # blocks up to this many are drawn below each other
_PAIRS_WIDTH_PX, _CAPTION_PX, _APART_PX, _FRAME_PX = 1400, 130, 28, 3

Kept = Mapping[int, Images]


@dataclass(frozen=True)
class Pairs:
    """Fakes beside the real images that are nearest to them, the most copied first.

    Attributes:
        fakes: uint8 [n, C, H, W].
        training: The nearest training image of each, uint8 [n, C, H, W].
        distances: To it, [n], from 0 up.
        ratios: That distance over the mean distance of the 50 nearest, [n], 0..1: 0 is a copy.
        held_out: The nearest image that was never trained on, uint8 [n, C, H, W]; None where there
            is none.
        held_out_distances: To it, [n]; None likewise.
    """

    fakes: Images
    training: Images
    distances: NDArray[np.float64]
    ratios: NDArray[np.float64]
    held_out: Images | None = None
    held_out_distances: NDArray[np.float64] | None = None


def write_grid(path: Path, title: str, classes: Sequence[str], real: Kept, made: Kept) -> Path:
    """Write real over generated images by class; at most 24 classes, spread over their order.

    Args:
        path: The PNG file.
        title: Which model this is.
        classes: The names of all classes.
        real: A few real images by class number, uint8 [n, C, H, W]; classes may lack them.
        made: Generated ones likewise.

    Returns:
        The path.

    Raises:
        ValueError: There is no image at all.
    """
    numbers = sorted(key for key in range(len(classes)) if _any(real, key) or _any(made, key))
    shown = [numbers[pick] for pick in spread_over(len(numbers))]
    none = np.empty((0, 1, 1, 1), np.uint8)
    blocks = [
        Block(
            classes[key] if len(classes) > 1 else "",
            [
                Row(real.get(key, none), "real", REAL),
                Row(made.get(key, none), "generated", GENERATED),
            ],
        )
        for key in shown
    ]
    note = f"Upper row: real images. Lower row: generated ones.{_of(len(shown), len(numbers))}"
    across = 1 if len(blocks) <= _ONE_ACROSS else 2
    return write_png(path, sheet(readable(title), note, blocks, across=across))


def write_samples(path: Path, title: str, bundle: Bundle) -> Path:
    """Write a row for each class of the same 12 latents; 8 rows of others where there is one class.

    Args:
        path: The PNG file.
        title: Which model this is.
        bundle: The model; with more than 24 classes, as many spread over their order are shown.

    Returns:
        The path.

    Raises:
        DivergedError: An image holds a value that is not finite.
    """
    classes = bundle.card.classes
    if len(classes) == 1:
        blocks = [Block("", [Row(row)]) for row in of_fixed_latents(bundle, classes)]
        note = "The latents are the same for every version of the model: compare place by place."
        return write_png(path, sheet(readable(title), note, blocks))
    shown = [classes[pick] for pick in spread_over(len(classes))]
    blocks = [
        Block(name, [Row(row)])
        for name, row in zip(shown, of_fixed_latents(bundle, shown), strict=True)
    ]
    note = (
        "A row is a class; a column is one latent, the same in every row and for every version of "
        f"the model.{_of(len(shown), len(classes))}"
    )
    return write_png(path, sheet(readable(title), note, blocks, numbered=True))


def write_pairs(path: Path, title: str, pairs: Pairs, *, copying: bool | None) -> Path:
    """Write at most 24 fakes, each beside its nearest real images, with the figures below them.

    A fake that equals its training image to the last pixel is framed.

    Args:
        path: The PNG file.
        title: Which model this is; the verdict is put after it.
        pairs: The most copied first.
        copying: Whether the model copies, as measured over all fakes; None if not measured.

    Returns:
        The path.

    Raises:
        ValueError: There is no fake.
    """
    count = min(len(pairs.fakes), PAIRS_AT_MOST)
    if count == 0:
        raise ValueError("there is no fake to show")
    sides = [side for side in (pairs.fakes, pairs.training, pairs.held_out) if side is not None]
    equal = [np.array_equal(pairs.fakes[n], pairs.training[n]) for n in range(count)]
    step = max(tile(sides[0][0], LARGE_PX).size) + GAP_PX
    wide = max(len(sides) * step, _CAPTION_PX) + _APART_PX
    high = step + 2 * LINE_PX + _APART_PX
    across = min(count, max(1, _PAIRS_WIDTH_PX // wide))
    head = f"{readable(title)}: {_verdict(copying=copying, equal=sum(equal))}"
    size = 2 * MARGIN_PX + across * wide - _APART_PX, -(-count // across) * high - _APART_PX
    canvas, top = headed(head, _explained(pairs, count), *size)
    pen = ImageDraw.Draw(canvas)
    for place in range(count):
        left, upper = MARGIN_PX + place % across * wide, top + place // across * high
        for column, side in enumerate(sides):
            canvas.paste(tile(side[place], LARGE_PX), (left + column * step, upper))
        ink, out = INK, _FRAME_PX + 1
        if equal[place]:
            ink = WARNING
            right, lower = left + len(sides) * step - GAP_PX - 1, upper + step - GAP_PX - 1
            box = (left - out, upper - out, right + out, lower + out)
            pen.rectangle(box, outline=WARNING, width=_FRAME_PX)
        for line, said in enumerate(_figures(pairs, place)):
            pen.text((left, upper + step + 5 + line * LINE_PX), said, ink, font(13))
    return write_png(path, canvas)


def _verdict(*, copying: bool | None, equal: int) -> str:
    """Return in a few words whether what is seen is suspicious."""
    if equal:
        return f"suspicious, {equal} of the fakes shown equal a training image to the last pixel"
    if copying is None:
        return "nothing was held out to tell copies by, look for yourself"
    if copying:
        return "suspicious, the model copies training images"
    return "not suspicious, no sign that training images are copied"


def _explained(pairs: Pairs, count: int) -> str:
    """Return what stands where, and how to read the figures."""
    order = "generated, its nearest training image"
    order += ", its nearest held-out image (never trained on)" * (pairs.held_out is not None)
    return (
        f"The {count} fakes that look most like copies, the worst first. From left to right: "
        f"{order}. Ratio: distance to the training image over the mean of the 50 nearest; 0 is a "
        "copy, 1 is as far as all others."
    )


def _figures(pairs: Pairs, place: int) -> list[str]:
    """Return the lines below a fake."""
    said = f"distance {number(float(pairs.distances[place]))}"
    if pairs.held_out_distances is not None:
        said += f", to held-out {number(float(pairs.held_out_distances[place]))}"
    return [f"ratio {pairs.ratios[place]:.2f}", said]


def of_fixed_latents(bundle: Bundle, names: Sequence[str]) -> NDArray[np.uint8]:
    """Return images of fixed latents, uint8 [rows, 12, C, H, W].

    A row for each name, of the same 12 latents; of one name, 8 rows of other latents.
    """
    card = bundle.card
    rows = len(names) if len(names) > 1 else _UNCONDITIONAL_ROWS
    count = LATENTS if len(names) > 1 else LATENTS * rows
    z = latents(_SEED, "samples", count=count, z_dim=card.z_dim)
    z = z.repeat(LATENTS * rows // count, 1)  # [12 rows, z_dim]
    numbers = torch.tensor([card.classes.index(name) for name in names])
    c = numbers.repeat_interleave(LATENTS * rows // len(names))
    images = generate(modality(card.modality), bundle.generator("cpu"), z, c)
    return images.reshape(rows, LATENTS, *images.shape[1:])


def _any(kept: Kept, key: int) -> bool:
    return key in kept and len(kept[key]) > 0


def spread_over(count: int) -> list[int]:
    """Return at most 24 places in 0..count - 1, evenly spread, rising."""
    picks = np.linspace(0, count - 1, min(count, _CLASSES_SHOWN)).round().astype(int)
    return [int(pick) for pick in picks]


def _of(shown: int, there: int) -> str:
    """Return what to say where not every class is shown."""
    return "" if shown == there else f" {shown} of {there} classes are shown."
