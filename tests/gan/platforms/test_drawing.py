"""Pictures: whole, exact in size, without fringes, the same every time."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.platforms import platform, platforms, render
from tests.gan.platforms.making import Images, cut_out


def _render(image: Images, name: str, upscale: str = "lanczos", size_px: int = 256) -> Images:
    return render(image, platform(name, size_px), upscale=upscale, background="#204060")


@pytest.mark.parametrize("upscale", ["lanczos", "nearest"])
@pytest.mark.parametrize("name", list(platforms()))
def test_every_picture_has_the_exact_size(name: str, upscale: str) -> None:
    """Grey, colour and cut-out images all get the platform's pixels, and alpha only where taken."""
    to = platform(name, 256)
    colour = cut_out()[:3]

    for image in (colour[:1], colour, cut_out()):
        picture = _render(image, name, upscale)
        shape = (to.height_px, to.width_px)
        alpha = to.alpha and (len(image) == 4 or to.is_sticker)
        assert picture.shape == (*shape, 4 if alpha else 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, _render(image, name, upscale))


_SIDES = st.integers(1, 90)


@given(image=st.tuples(_SIDES, _SIDES), size=st.tuples(_SIDES, _SIDES), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_image_becomes_a_picture_of_any_shape(
    image: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    """Larger or smaller, wider or higher, by any fraction: the picture has its exact size."""
    planes = np.random.default_rng(seed).integers(0, 256, (seed % 2 + 3, *image), np.uint8)
    planes[:3] = np.minimum(planes[:3], planes[-1])
    shape = {"width_px": size[0], "height_px": size[1]}
    to = platform("telegram", 256).model_copy(update=shape)

    for upscale in ("lanczos", "nearest"):
        picture = render(planes, to, upscale=upscale, background="#ffffff")
        assert picture.shape == (size[1], size[0], 4)


def test_enlarging_rings_nowhere() -> None:
    """Beside a hard edge no shade appears that the image does not have."""
    image = np.full((3, 32, 32), 60, np.uint8)
    image[:, 8:24, 8:24] = 200

    picture = _render(image, "x")

    assert (int(picture.min()), int(picture.max())) == (60, 200)


def test_a_cut_out_keeps_a_crisp_edge_without_a_fringe() -> None:
    """16 times as large, an edge is a few pixels wide, and its colour is that of the inside."""
    picture = _render(cut_out(), "whatsapp").astype(int)
    row = picture[224]  # through the disc's middle
    soft = (row[:, 3] > 10) & (row[:, 3] < 245)
    seen = row[row[:, 3] > 40]

    assert 2 <= soft.sum() <= 16  # two edges; the filter alone would leave 40 pixels
    assert np.abs(seen[:, :3] - (0xD7, 0x26, 0x3D)).max() <= 4


def test_glass_stays_as_clear_as_it_was() -> None:
    """Parts that are meant to be half transparent are not made opaque or cut away."""
    picture = _render(cut_out(), "whatsapp")
    pane = picture[432:480, 432:480]

    assert np.abs(pane[..., 3].astype(int) - 0x60).max() <= 2
    assert (pane[..., 1] >= 253).all()


def test_pixel_art_stays_pixel_art() -> None:
    """`nearest` at a whole multiple changes no pixel; else pixels are of one size, to a pixel."""
    image = np.random.default_rng(1).integers(0, 256, (3, 32, 32), np.uint8)

    exact = _render(image, "png", "nearest", 512)
    other = _render(image, "x", "nearest")  # 33.75 times

    assert np.array_equal(exact, image.repeat(16, 1).repeat(16, 2).transpose(1, 2, 0))
    untouched = 0
    for at in range(32):
        inside = slice(round(at * 33.75) + 1, round((at + 1) * 33.75) - 1)
        block = other[inside, inside].reshape(-1, 3)
        untouched += int((np.abs(block.astype(int) - image[:, at, at]) <= 1).all())
    assert untouched == 32


def test_a_larger_image_is_reduced_without_moire() -> None:
    """A fine checkerboard becomes its mean: every pixel of the image has its share."""
    board = ((np.indices((512, 512)).sum(0) % 2) * 255).astype(np.uint8)

    for upscale in ("lanczos", "nearest"):
        picture = _render(board[None], "png", upscale, 128)
        assert np.abs(picture[8:-8, 8:-8].astype(int) - 128).max() <= 2


@pytest.mark.parametrize("name", ["linkedin", "instagram_portrait"])
def test_another_shape_shows_the_image_whole_on_its_own_edge(name: str) -> None:
    """The middle is the square picture; beside it the colour of its edge goes on, seamlessly."""
    image = np.full((3, 32, 32), 230, np.uint8)
    image[:, 6:26, 6:26] = np.random.default_rng(2).integers(0, 256, (3, 20, 20), np.uint8)
    to = platform(name, 256)
    side = min(to.width_px, to.height_px)
    top, left = (to.height_px - side) // 2, (to.width_px - side) // 2

    picture = _render(image, name)

    square = _render(image, "png", size_px=side)
    middle = picture[top : top + side, left : left + side].astype(int)
    assert np.abs(middle - square).mean() < 6  # half a pixel aside where a margin is odd
    picture[top : top + side, left : left + side] = 230
    assert (int(picture.min()), int(picture.max())) == (230, 230)


def test_an_opaque_sticker_has_rounded_corners() -> None:
    """On a coloured chat a sticker without alpha shows no hard corners; a post keeps its own."""
    image = np.full((3, 32, 32), 200, np.uint8)

    sticker, post = _render(image, "telegram"), _render(image, "instagram")

    assert [int(sticker[y, x, 3]) for y in (0, -1) for x in (0, -1)] == [0] * 4
    assert (sticker[64:-64, :, 3] == 255).all()
    assert (sticker[..., :3][sticker[..., 3] > 0] == 200).all()
    assert (post == 200).all()


def test_a_cut_out_goes_onto_the_background_where_alpha_is_not_taken() -> None:
    """Nothing dark shines through around it, margins included."""
    picture = _render(cut_out(), "linkedin")

    assert (picture[:20, :20] == (0x20, 0x40, 0x60)).all()
    assert (picture[-20:, -20:] == (0x20, 0x40, 0x60)).all()
    Image.fromarray(picture).save(io.BytesIO(), "JPEG")
