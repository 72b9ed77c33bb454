"""Arrays to pictures and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gan.errors import DivergedError, UsageError
from gan.image.encode import checkerboard, from_uint8, grid, png, to_uint8


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


def test_no_colour_is_above_its_alpha() -> None:
    """What a generator overshoots there could not be shown, so it is not measured either."""
    made = to_uint8(torch.rand(50, 4, 8, 8) * 2 - 1)

    assert np.all(made[:, :3] <= made[:, 3:])
    assert not to_uint8(torch.tensor([1.0, 0.5, 1.0, -1.0]).view(1, 4, 1, 1)).any()


def test_png_of_four_channels_says_colours_as_they_are() -> None:
    """Colour is divided by alpha again, and is 0 where nothing shows."""
    image = np.array([[51, 0], [20, 0], [0, 0], [51, 0]], dtype=np.uint8).reshape(4, 1, 2)
    opened = Image.open(io.BytesIO(png(image)))

    assert opened.mode == "RGBA"
    assert np.asarray(opened).tolist() == [[[255, 100, 0, 51], [0, 0, 0, 0]]]


@pytest.mark.parametrize("upscale", ["lanczos", "nearest"])
def test_enlarged_edges_keep_their_colour(upscale: str) -> None:
    """A red disc that grows is red up to its rim: no dark seam of the colour under alpha 0."""
    disc = Image.new("RGBA", (16, 16))
    ImageDraw.Draw(disc).ellipse((3, 3, 12, 12), fill=(255, 0, 0, 255))
    payload = png(np.asarray(disc).transpose(2, 0, 1), 64, upscale)
    found = np.asarray(Image.open(io.BytesIO(payload))).astype(int)
    shown = found[found[..., 3] > 8]

    assert found.shape == (64, 64, 4)
    assert shown[:, 0].min() >= 240
    assert not shown[:, 1:3].any()


def test_alpha_is_shown_over_a_light_checkerboard() -> None:
    """Transparent parts show the squares, opaque ones their colour, half of each between."""
    images = np.zeros((3, 4, 16, 16), dtype=np.uint8)
    images[1, 3] = 255
    images[2] = 128  # white at half alpha
    picture = np.asarray(grid(images, columns=3, scale=2, gap_px=0).convert("RGB")).astype(int)
    board = checkerboard(32, 32)

    assert set(np.unique(board)) == {232, 255}
    assert np.array_equal(picture[:, :32, 0], board)
    assert not picture[:, 32:64].any()
    assert np.all(picture[:, 64:, 1] >= board)
