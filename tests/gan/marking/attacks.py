"""What befalls a picture on its way: other formats, other sizes, a screenshot of a part of it."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

_PAGE = (246, 247, 250)
_FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)


def on_white(picture: Picture) -> Picture:
    """Return the picture as it is seen on white, [H, W, 3]."""
    if picture.shape[2] == 3:
        return picture
    above = Image.fromarray(picture)
    white = Image.new("RGBA", above.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, above).convert("RGB"))


def saved(picture: Picture, form: str, quality: int = 80) -> Picture:
    """Return the picture as it comes back from a file of the form."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, quality=quality)
    with Image.open(file) as back:
        return np.asarray(back.convert("RGB"))


def resized(picture: Picture, factor: float, how: int = 0) -> Picture:
    """Return the picture `factor` as large each way; `how` names one of three filters."""
    height, width = picture.shape[:2]
    size = round(width * factor), round(height * factor)
    return np.asarray(Image.fromarray(picture).resize(size, _FILTERS[how]))


def screenshot(picture: Picture, place: np.random.Generator) -> Picture:
    """Return 60 to 90 % of a picture, from anywhere in it, as a photo of a screen holds it.

    It is shown 0.8 to 1.25 as large, on a page with a border, and saved as JPEG of quality 85.
    """
    height, width = picture.shape[:2]
    side = np.sqrt(place.uniform(0.6, 0.9))
    high, wide = round(height * side), round(width * side)
    top, left = (int(place.integers(0, room + 1)) for room in (height - high, width - wide))
    part = picture[top : top + high, left : left + wide]
    shown = resized(part, place.uniform(0.8, 1.25), int(place.integers(len(_FILTERS))))
    border = [int(place.integers(10, 80)) for _ in range(4)]
    page = Image.new(
        "RGB",
        (shown.shape[1] + border[0] + border[1], shown.shape[0] + border[2] + border[3]),
        _PAGE,
    )
    page.paste(Image.fromarray(shown), (border[0], border[2]))
    return saved(np.asarray(page), "JPEG", quality=85)
