"""Any picture as the detector reads it, and what befalls pictures between a model and a file.

A picture is uint8 [H, W, C]: C is 1, 3 or 4 with straight alpha. The detector reads it at the
recipe's resolution, since that is where a generator leaves its traces: alpha over white, the middle
square, reduced by areas. What happens to a picture on its way (`travelled`) is done to real and to
generated ones by the same code, so that no format and no filter tells them apart.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from gan.seeding import seed_at

Picture = NDArray[np.uint8]
Journey = Callable[[Picture, np.random.Generator], Picture]
DELIVERED_PX = 256  # the side that assets have where a recipe names no other
_RGBA = 4
_ENLARGING = (
    Image.Resampling.LANCZOS,
    Image.Resampling.BICUBIC,
    Image.Resampling.BILINEAR,
    Image.Resampling.NEAREST,
)
_SCALES = (1, 2, 4, 4)
_UNTOUCHED = 0.4


def over_white(items: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return stored items [N, C, H, W], RGBA premultiplied, as pictures [N, H, W, 1 or 3]."""
    if items.shape[1] == _RGBA:
        behind = 255 - items[:, 3:].astype(np.uint16)
        items = (items[:, :3] + behind).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(items.transpose(0, 2, 3, 1))


def reduced(pictures: Sequence[Picture], resolution: int, channels: int) -> NDArray[np.uint8]:
    """Return pictures of any sizes as the network's images, uint8 [N, channels, R, R].

    Of a picture that is no square the middle is read: where a platform wanted another shape, the
    asset is there. A picture smaller than R is enlarged, and shows little.

    Args:
        pictures: Each uint8 [H, W, 1, 3 or 4], alpha not multiplied in.
        resolution: R, px.
        channels: 1 (grey) or 3.
    """
    found = np.empty((len(pictures), channels, resolution, resolution), np.uint8)
    for place, picture in enumerate(pictures):
        image = _square(_flat(picture, channels))
        array = np.asarray(_sized(image, resolution))
        found[place] = array[None] if channels == 1 else array.transpose(2, 0, 1)
    return found


def travelled(picture: Picture, random: np.random.Generator) -> Picture:
    """Return a picture after what may have befallen it: nothing, or some of five things.

    In this order, each by chance: enlarged by a random filter, cropped, blurred, made noisy, and
    saved as JPEG. The side is then any; `reduced` brings it back.

    Args:
        picture: uint8 [H, W, 1 or 3].
        random: Draws all of it.
    """
    if random.random() < _UNTOUCHED:
        return picture
    image = _image(picture)
    if (scale := int(random.choice(_SCALES))) > 1:
        by = _ENLARGING[int(random.integers(len(_ENLARGING)))]
        image = image.resize((image.width * scale, image.height * scale), by)
    if random.random() < 0.3:
        image = _cropped(image, random, float(random.uniform(0.75, 1.0)))
    if random.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(scale * float(random.uniform(0.1, 0.8))))
    if random.random() < 0.25:
        image = _noisy(image, random, float(random.uniform(0.5, 6.0)))
    if random.random() < 0.5:
        image = _jpeg(image, int(random.integers(40, 100)))
    return _array(image)


def delivered(picture: Picture, _: np.random.Generator) -> Picture:
    """Return a picture as an asset is written: enlarged to 256 px."""
    return _array(_large(picture))


def delivered_jpeg(picture: Picture, _: np.random.Generator) -> Picture:
    """Return an asset that was saved as JPEG of quality 75."""
    return _array(_jpeg(_large(picture), 75))


def shot(picture: Picture, random: np.random.Generator) -> Picture:
    """Return a part of an asset as a screenshot may show it: cropped, rescaled, JPEG."""
    image = _cropped(_large(picture), random, 0.85)
    side = round(image.width * float(random.uniform(0.6, 1.2)))
    return _array(_jpeg(image.resize((side, side), Image.Resampling.BILINEAR), 85))


def small_jpeg(picture: Picture, _: np.random.Generator) -> Picture:
    """Return a picture that was saved as JPEG of quality 75 at the model's own small size."""
    return _array(_jpeg(_image(picture), 75))


def as_made(picture: Picture, _: np.random.Generator) -> Picture:
    """Return a picture as the model made it."""
    return picture


def after(
    journey: Journey,
    items: NDArray[np.uint8],
    seed: int,
    *place: int | str,
) -> NDArray[np.uint8]:
    """Return stored items after a journey each, as the network reads them, uint8 [N, 1 or 3, R, R].

    Args:
        journey: What befalls each picture.
        items: uint8 [N, C, R, R], RGBA premultiplied.
        seed: Of the chances, with `place`.
        place: Where in the work.
    """
    random = np.random.default_rng(seed_at(seed, "detector", "journey", *place))
    pictures = [journey(picture, random) for picture in over_white(items)]
    return reduced(pictures, items.shape[2], 1 if items.shape[1] == 1 else 3)


def _flat(picture: Picture, channels: int) -> Image.Image:
    """Return a picture over white, grey where the network wants grey."""
    if picture.shape[2] == _RGBA:
        alpha = picture[:, :, 3:].astype(np.uint16)
        mixed = picture[:, :, :3] * alpha + 255 * (255 - alpha)
        picture = ((mixed + 127) // 255).astype(np.uint8)
    image = _image(picture)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return (
        image.crop((left, top, left + side, top + side)) if image.width != image.height else image
    )


def _sized(image: Image.Image, side: int) -> Image.Image:
    """Return a square image at another side: by areas where it shrinks."""
    if image.width == side:
        return image
    by = Image.Resampling.BOX if image.width > side else Image.Resampling.BICUBIC
    return image.resize((side, side), by)


def _large(picture: Picture) -> Image.Image:
    side = max(DELIVERED_PX, picture.shape[0])
    return _image(picture).resize((side, side), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, random: np.random.Generator, share: float) -> Image.Image:
    """Return a square part of an image, its side this share of the whole, anywhere in it."""
    side = max(8, round(image.width * share))
    left, top = (int(random.integers(image.width - side + 1)) for _ in range(2))
    return image.crop((left, top, left + side, top + side))


def _noisy(image: Image.Image, random: np.random.Generator, spread: float) -> Image.Image:
    values = np.asarray(image).astype(np.float32)
    values += spread * random.standard_normal(values.shape, dtype=np.float32)
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    file.seek(0)
    with Image.open(file) as saved:
        saved.load()
        return saved


def _image(picture: Picture) -> Image.Image:
    return Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)


def _array(image: Image.Image) -> Picture:
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array
