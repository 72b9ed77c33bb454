"""What a stranger's file shows: its picture, and how the perceptual index sees it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from gan.image.decode import decode, flatten
from gan.image.statistics import Measures, measure

_SIDE_PX = 64
_LEAST_PX = 16
_BORDER_LEVELS = 12  # of 255: by less an edge differs from its border through compression alone
_HEARD_PX = 4096  # of each side, from the middle: a watermark repeats, and memory is finite

Picture = NDArray[np.uint8]


def open_picture(payload: bytes) -> Image.Image:
    """Return the picture of a file, mode RGB or RGBA.

    Raises:
        Rejected: It is broken, a bomb, or of a format that is not taken.
    """
    image = decode(payload).image
    if image.mode in {"RGB", "RGBA"}:
        return image
    return image.convert("RGBA" if image.mode == "LA" else "RGB")


def pixels(image: Image.Image) -> Picture:
    """Return a picture as uint8 [H, W, 3 or 4]; of a very large one the middle."""
    width, height = image.size
    across, down = min(width, _HEARD_PX), min(height, _HEARD_PX)
    left, top = (width - across) // 2, (height - down) // 2
    return np.asarray(image.crop((left, top, left + across, top + down)))


def measures(image: Image.Image) -> Measures:
    """Return what a picture looks like in up to four views, over white.

    Platforms of another shape show an asset in the middle of more, and people paste it on pages:
    so it is seen whole, as the square in its middle, and both without a border of one colour.
    """
    seen = flatten(image)
    views = {view.tobytes(): None for whole in (seen, _trimmed(seen)) for view in _squares(whole)}
    return measure(list(views), _SIDE_PX, _SIDE_PX)


def _squares(image: Image.Image) -> list[Image.Image]:
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    middle = (left, top, left + side, top + side)
    size, box = (_SIDE_PX, _SIDE_PX), Image.Resampling.BOX
    return [image.resize(size, box), image.resize(size, box, middle)]


def _trimmed(image: Image.Image) -> Image.Image:
    """Return an image without a border of the colour of its corner, or as it is."""
    corner = image.getpixel((0, 0))
    plain = Image.new("RGB", image.size, corner)
    unlike = ImageChops.difference(image, plain).convert("L").point(_is_unlike)
    box = unlike.getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _LEAST_PX:
        return image
    return image.crop(box)


def _is_unlike(level: int) -> int:
    return 255 if level > _BORDER_LEVELS else 0
