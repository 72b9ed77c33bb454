"""Arrays to pictures and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gan.errors import DivergedError, UsageError
from gan.image.encode import from_uint8, grid, png, to_uint8


def test_every_shade_survives_the_round_trip() -> None:
    """uint8 -> [-1, 1] -> uint8 changes nothing."""
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = from_uint8(shades)

    assert (floats.min().item(), floats.max().item()) == (-1.0, 1.0)
    assert np.array_equal(to_uint8(floats), shades.numpy())


def test_values_beyond_the_range_are_clamped_and_nan_is_refused() -> None:
    """An overshooting generator gives white, a diverged one an error."""
    assert to_uint8(torch.full((1, 3, 2, 2), 7.0)).min() == 255
    with pytest.raises(DivergedError, match="not finite"):
        to_uint8(torch.full((1, 3, 2, 2), float("nan")))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_images_row_by_row(channels: int) -> None:
    """The nth image stands where a reader expects it, on white."""
    images = np.zeros((3, channels, 4, 4), dtype=np.uint8)
    images[2] = 200
    picture = np.asarray(grid(images, columns=2, scale=2, gap_px=1).convert("L"))

    assert picture.shape == (19, 19)
    assert picture[0, 0] == 255
    assert picture[1:9, 1:9].max() == 0
    assert np.all(picture[10:18, 1:9] == 200)
    assert np.all(picture[10:18, 10:18] == 255)


def test_an_impossible_grid_is_refused() -> None:
    """No image, no picture."""
    with pytest.raises(UsageError, match="0 images"):
        grid(np.zeros((0, 3, 4, 4), dtype=np.uint8), columns=2)


def test_png_is_repeatable_scaled_and_carries_its_text() -> None:
    """Equal input gives equal bytes; text comes back word for word, outside ASCII too."""
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    text = {"XML:com.adobe.xmp": "<x>\u00e9</x>", "asset": "a1"}
    payload = png(image, 8, "nearest", text)
    opened = Image.open(io.BytesIO(payload))
    opened.load()

    assert payload == png(image, 8, "nearest", text)
    assert opened.size == (8, 8)
    assert text["XML:com.adobe.xmp"] == opened.text["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
    assert np.array_equal(np.asarray(opened)[::2, ::2], image.transpose(1, 2, 0))


def test_png_of_one_channel_is_grey() -> None:
    """A recipe of one channel gives grey files, not colour ones."""
    assert Image.open(io.BytesIO(png(np.zeros((1, 4, 4), dtype=np.uint8)))).mode == "L"
