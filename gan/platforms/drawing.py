"""A generated image -> the picture that a platform shows: whole, enlarged, on its canvas.

Tried on stickers, photographs, pixel art and cut-outs, and looked at. Filters work on the stored
(gamma) values: in linear light an enlargement gets dark beads along every edge. They work on
colours times alpha, so that no foreign colour comes in from where nothing is seen.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFilter

from gan.platforms.catalog import Platform

_RGBA = 4
_MODES = {3: "RGB", 4: "RGBa"}  # with its colours times alpha, the latter is taken as it is
_BLUR = 0.19  # of the shorter side: how far from the picture its extended edges are one soft wash
_WINDOW_PX = 5  # of the image: where an edge of alpha begins and ends
_EDGE_PX = 4  # of the picture: how wide an edge of alpha is left
_CORNER = 0.125  # of the shorter side: radius of a sticker's corners
_FINER = 4  # how much finer they are drawn, for a smooth edge
_MIN_STEP = 0.5  # of full alpha: less is glass or shadow, and stays as soft as it is

Array = npt.NDArray[np.uint8]
_Box = tuple[float, float, float, float]  # left, top, right, bottom, px of the image


def render(image: Array, to: Platform, *, upscale: str, background: str) -> Array:
    """Return an image as a platform shows it; equal arguments give equal pixels.

    The image is seen whole. Around one without alpha its own edge goes on, softer with distance,
    where the platform's shape is another one; one with alpha gets transparency or `background`.
    As a sticker, which people see on any colour, one without alpha gets rounded corners.

    Args:
        image: uint8 [C, H, W], C is 1, 3 or 4, colours of 4 channels times alpha.
        to: Size, and whether it takes alpha.
        upscale: "lanczos" (without its ringing, edges of alpha kept crisp) or "nearest" (pixels of
            one size, hard to a pixel of the picture).
        background: "#rrggbb" behind transparent parts where the platform takes no alpha.

    Returns:
        uint8 [to.height_px, to.width_px, 3 or 4]; 4 channels, straight alpha, if the platform takes
        them and the image has them or becomes a sticker.
    """
    planes = image if len(image) > 1 else np.repeat(image, 3, axis=0)
    canvas, box = _canvas(planes, to)
    large = (_smooth if upscale == "lanczos" else _hard)(canvas, box, (to.width_px, to.height_px))
    if len(large) == _RGBA:
        large = large if to.alpha else _over(large, background)
    elif to.is_sticker:
        large = _rounded(large)
    return np.ascontiguousarray(large.transpose(1, 2, 0))


def _canvas(planes: Array, to: Platform) -> tuple[Array, _Box]:
    """Return the image with a margin, [C, H', W'], and the part of it that the picture shows."""
    height, width = planes.shape[1:]
    shown_height = max(height, width * to.height_px / to.width_px)
    shown_width = shown_height * to.width_px / to.height_px
    top = math.ceil((shown_height - height) / 2)
    left = math.ceil((shown_width - width) / 2)
    x, y = left + (width - shown_width) / 2, top + (height - shown_height) / 2
    if len(planes) == _RGBA:
        canvas = np.pad(planes, ((0, 0), (top, top), (left, left)))
    elif top:
        canvas = _extended(planes.transpose(0, 2, 1), top).transpose(0, 2, 1)
    elif left:
        canvas = _extended(planes, left)
    else:
        canvas = planes
    bottom, right = canvas.shape[1:]  # which a sum of rounded numbers may pass by a hair
    return canvas, (x, y, min(x + shown_width, right), min(y + shown_height, bottom))


def _extended(planes: Array, margin_px: int) -> Array:
    """Let the left and the right edge of an opaque image [C, H, W] go on into margins.

    Each row goes on in its own shade at first and, further out, in that of more and more rows.
    """
    reach = _BLUR * min(planes.shape[1:])
    share = (np.arange(1, margin_px + 1, dtype=np.float32) / reach).clip(max=1)
    share = share * share * (3 - 2 * share)
    left, right = (_washed(planes[:, :, at], reach, share) for at in (0, -1))
    return np.concatenate([left[:, :, ::-1], planes, right], axis=2)


def _washed(edge: Array, reach: float, share: npt.NDArray[np.float32]) -> Array:
    """Return an edge [C, H] drawn out to [C, H, margin], blurred along itself by each share."""
    beyond = math.ceil(3 * reach)  # where the filter shall find the edge going on
    long = np.pad(edge, ((0, 0), (beyond, beyond)), "edge")
    blur = ImageFilter.GaussianBlur(reach)
    soft = np.stack([np.asarray(Image.fromarray(line[:, None]).filter(blur)) for line in long])
    washed = edge[:, :, None] * (1 - share) + soft[:, beyond:-beyond] * share
    shades: Array = washed.round().astype(np.uint8)
    return shades


def _smooth(canvas: Array, box: _Box, size: tuple[int, int]) -> Array:
    """Return part of an image at another size by Lanczos's filter, [C, *size]; straight alpha."""
    scale = size[0] / (box[2] - box[0])
    large = _resized(canvas, size, Image.Resampling.LANCZOS, box)
    if scale > 1:
        low, high = _corners(canvas)
        # A cell between four pixels begins half a pixel before the next one.
        cells = (box[0] + 0.5, box[1] + 0.5, box[2] + 0.5, box[3] + 0.5)
        nearest = Image.Resampling.NEAREST
        large = np.clip(
            large, _resized(low, size, nearest, cells), _resized(high, size, nearest, cells)
        )
    if len(canvas) != _RGBA:
        return large
    alpha = _crisp(canvas[3], large[3], box, scale) if scale > _EDGE_PX else large[3]
    return _straight(large, alpha)


def _corners(canvas: Array) -> tuple[Array, Array]:
    """Return the least and the greatest of each four pixels that meet, [C, H + 1, W + 1].

    Between them no new extreme may appear: that would be the ringing of the filter.
    """
    wide = np.pad(canvas, ((0, 0), (1, 1), (1, 1)), "edge")
    four = (wide[:, :-1, :-1], wide[:, 1:, :-1], wide[:, :-1, 1:], wide[:, 1:, 1:])
    return np.minimum.reduce(four), np.maximum.reduce(four)


def _crisp(small: Array, large: Array, box: _Box, scale: float) -> Array:
    """Steepen enlarged alpha where it falls from opaque to clear, to an edge of `_EDGE_PX`.

    An edge of one pixel of the image would else be a blur of 16 in a picture 16 times as large.
    """
    size = (large.shape[1], large.shape[0])
    image = Image.fromarray(small)
    low, high = (
        np.asarray(image.filter(kind(_WINDOW_PX)).resize(size, Image.Resampling.BILINEAR, box))
        for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter)
    )
    steep = np.flatnonzero(high - low > _MIN_STEP * 255)  # most of a picture has no edge
    before, least, most = (part.ravel()[steep].astype(np.float32) for part in (large, low, high))
    step = most - least
    after = least + step * (((before - least) / step - 0.5) * (scale / _EDGE_PX) + 0.5).clip(0, 1)
    share = ((step / 255 - _MIN_STEP) / (1 - _MIN_STEP)).clip(0, 1)
    result = large.flatten()
    result[steep] = (before * (1 - share) + after * share).round().astype(np.uint8)
    return result.reshape(large.shape)


def _hard(canvas: Array, box: _Box, size: tuple[int, int]) -> Array:
    """Return part of an image at another size with hard pixels, [C, *size]; straight alpha.

    Where the size is no multiple, pixels are repeated once more than needed and averaged down:
    all are then of one size, which repeating some of them more often than others would not give.
    """
    times = math.ceil(size[0] / (box[2] - box[0]))
    repeated = canvas.repeat(times, axis=1).repeat(times, axis=2)
    left, top, right, bottom = (edge * times for edge in box)
    large = _resized(repeated, size, Image.Resampling.BOX, (left, top, right, bottom))
    return _straight(large, large[3]) if len(large) == _RGBA else large


def _resized(planes: Array, size: tuple[int, int], how: Image.Resampling, box: _Box) -> Array:
    """Return part of some planes [3 or 4, H, W] at another size; channels lie side by side."""
    image = Image.merge(_MODES[len(planes)], [Image.fromarray(plane) for plane in planes])
    return np.asarray(image.resize(size, how, box)).transpose(2, 0, 1)


def _straight(planes: Array, alpha: Array) -> Array:
    """Return premultiplied planes [4, H, W] with colours as they are, and with another alpha."""
    image = Image.merge("RGBa", [Image.fromarray(plane) for plane in planes]).convert("RGBA")
    straight = np.asarray(image).transpose(2, 0, 1).copy()
    straight[3] = alpha
    straight[:3] *= alpha > 0
    return straight


def _over(planes: Array, background: str) -> Array:
    """Return planes [4, H, W] of straight alpha laid over a colour, [3, H, W]."""
    behind = np.array(ImageColor.getrgb(background)[:3], np.float32)[:, None, None]
    share = planes[3].astype(np.float32) / 255
    laid: Array = (planes[:3] * share + behind * (1 - share)).round().astype(np.uint8)
    return laid


def _rounded(planes: Array) -> Array:
    """Return an opaque picture [3, H, W] with rounded corners, [4, H, W], straight alpha."""
    alpha = _corner_mask(planes.shape[2], planes.shape[1])
    image = Image.fromarray(planes.transpose(1, 2, 0))
    image.putalpha(Image.fromarray(alpha))
    rounded = np.array(image)
    rounded[alpha == 0] = 0
    return rounded.transpose(2, 0, 1)


@lru_cache(maxsize=8)
def _corner_mask(width: int, height: int) -> Array:
    """Return 255 inside a rectangle with rounded corners and 0 outside, uint8 [height, width]."""
    mask = Image.new("L", (width * _FINER, height * _FINER))
    radius = _CORNER * min(mask.size)
    edges = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(edges, radius, fill=255)
    return np.asarray(mask.reduce(_FINER))
