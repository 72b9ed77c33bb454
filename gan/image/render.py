"""One decoded image -> the square that training reads: what a worker process of `prepare` does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageColor

from gan.errors import DamagedError
from gan.image.decode import Rejected, decode, flatten, premultiply
from gan.image.shards import Shards, places

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}


@dataclass(frozen=True)
class Shape:
    """How one image becomes an array; a small copy of `DataSpec` for worker processes.

    `background` is what 1 and 3 channels are flattened and padded with; 4 channels keep their alpha
    and are padded with transparency.
    """

    resolution: int
    channels: int
    background: str
    fit: str
    resize: str


def render(raw: Path, shape: Shape, chunk: pd.DataFrame) -> npt.NDArray[np.uint8]:
    """Return some images as uint8 [n, C, H, W]; runs in a worker process.

    Args:
        raw: Where the shards lie.
        shape: What they become.
        chunk: The images' places, the columns `examine.PLACE` of the index.

    Raises:
        DamagedError: A shard is not what was ingested, or the facts accepted what is no image.
    """
    arrays = []
    with Shards(raw) as shards:
        for place in places(chunk):
            try:
                arrays.append(to_array(decode(shards.read(place)).image, shape))
            except Rejected as rejected:
                raise DamagedError(
                    f"{raw}: an accepted image does not decode ({rejected.reason}). "
                    "Run the validate stage again."
                ) from rejected
    return np.stack(arrays)


def to_array(image: Image.Image, shape: Shape) -> npt.NDArray[np.uint8]:
    """Return one decoded image as uint8 [C, H, W]: flattened or premultiplied, squared, resized."""
    if shape.channels == 4:
        laid = premultiply(image)
    else:
        laid = flatten(image, shape.background)
        laid = laid.convert("L") if shape.channels == 1 else laid
    square = _square(laid, shape)
    size = (shape.resolution, shape.resolution)
    sized = square if square.size == size else square.resize(size, _FILTERS[shape.resize])
    array = np.asarray(sized)
    if shape.channels == 1:
        return array[None]
    planes = array.transpose(2, 0, 1)
    # The filter's ringing may lift a colour over its alpha, which no picture can show.
    return planes if shape.channels == 3 else np.minimum(planes, planes[3:])


def _square(image: Image.Image, shape: Shape) -> Image.Image:
    """Cut out the middle, or set the image in a square of the background or of transparency."""
    width, height = image.size
    if width == height:
        return image
    if shape.fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))
    side = max(width, height)
    clear = image.mode == "RGBa"
    colour = (0, 0, 0, 0) if clear else ImageColor.getcolor(shape.background, image.mode)
    canvas = Image.new(image.mode, (side, side), colour)
    canvas.paste(image, ((side - width) // 2, (side - height) // 2))
    return canvas
