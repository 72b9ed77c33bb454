"""What a person sees before a model is let out: two models on the same latents, and real images.

candidate.png   a row for each class, a column for each of 8 latents
champion.png    the same latents and classes; left out where there is no champion like it
real.png        as many real images of the same classes

A picture says of itself which rows it has, so that a page can show the three of a class together.
"""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gan.durable import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

    from gan.bundle import Bundle
    from gan.metrics.meter import Meter
    from gan.metrics.sheet import Images

CANDIDATE, CHAMPION, REAL = "candidate.png", "champion.png", "real.png"
_SHOWN = 8  # images of a row
_ROWS = "rows"


def draw(
    candidate: "Bundle", champion: "Bundle | None", meter: "Meter", folder: Path
) -> dict[str, str]:
    """Write the pictures of a decision; equal bundles and data give equal bytes.

    Args:
        candidate: Its classes are shown, at most 24 of them, spread over their order.
        champion: What it is held against; None: there is none.
        meter: Its data give the real images.
        folder: Where the pictures go.

    Returns:
        The SHA-256 of each file by its name.

    Raises:
        DivergedError: A model makes an image that is not finite.
        DamagedError: A bundle's weights do not fit its card.
        GanmillError: A file cannot be written.
    """
    from gan.metrics.pictures import of_fixed_latents, spread_over

    classes = candidate.card.classes
    shown = [classes[place] for place in spread_over(len(classes))]
    made = of_fixed_latents(candidate, shown)[:, :_SHOWN]  # [rows, n, C, H, W]
    names = shown if len(shown) > 1 else [f"{shown[0]}, row {n + 1}" for n in range(len(made))]
    pictures: dict[str, list[Images]] = {CANDIDATE: list(made)}
    if champion is not None and champion.card.classes == classes:
        pictures[CHAMPION] = list(of_fixed_latents(champion, shown)[:, :_SHOWN])
    pictures[REAL] = _reals(meter, shown, len(names))
    return {
        name: _write(folder / name, dict(zip(names, rows, strict=True)))
        for name, rows in pictures.items()
    }


def rows_of(path: Path) -> "dict[str, Image]":
    """Return the rows of a picture by the name of each, in order.

    Raises:
        OSError: It is not there, or is no picture.
        ValueError: It is a picture, but not one that `draw` wrote.
    """
    from PIL import Image

    from gan.metrics.sheet import GAP_PX

    with Image.open(path) as picture:
        picture.load()
        named = json.loads(picture.info.get(_ROWS, "null"))
        if not (isinstance(named, list) and named):
            raise ValueError(f"{path}: does not say which rows it has")
        step = (picture.height + GAP_PX) // len(named)
        return {
            str(name): picture.crop((0, place * step, picture.width, (place + 1) * step - GAP_PX))
            for place, name in enumerate(named)
        }


def _reals(meter: "Meter", classes: list[str], rows: int) -> "list[Images]":
    """Return rows of real images of the classes, drawn by the evaluation's seed."""
    import numpy as np

    from gan.seeding import seed_at

    data, each = meter.data, _SHOWN * rows // len(classes)
    order = np.random.default_rng(seed_at(meter.spec.seed, "gate")).permutation(len(data.labels))
    found: list[Images] = []
    for name in classes:
        number = data.classes.index(name) if name in data.classes else -1
        places = np.sort(order[data.labels[order] == number][:each])
        images = np.asarray(data.images[places])
        found += [images[n : n + _SHOWN] for n in range(0, each, _SHOWN)]
    return found


def _write(path: Path, rows: "dict[str, Images]") -> str:
    """Write rows of images [n, C, H, W] below each other; what is between them is clear."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from gan.metrics.sheet import GAP_PX, SMALL_PX, tile

    tiles = [[tile(image, SMALL_PX) for image in images] for images in rows.values()]
    width, height = next(each.size for row in tiles for each in row)
    across, down = max(len(row) for row in tiles), len(tiles)
    size = (across * (width + GAP_PX) - GAP_PX, down * (height + GAP_PX) - GAP_PX)
    sheet = Image.new("RGBA", size)
    for number, row in enumerate(tiles):
        for column, each in enumerate(row):
            sheet.paste(each, (column * (width + GAP_PX), number * (height + GAP_PX)))
    said, file = PngInfo(), io.BytesIO()
    said.add_itxt(_ROWS, json.dumps(list(rows)))
    sheet.save(file, "PNG", optimize=True, pnginfo=said)
    return write_atomically(path, file.getvalue())
