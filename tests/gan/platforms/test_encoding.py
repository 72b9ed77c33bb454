"""Files: the best that fits, with room for the signature, the same every time."""

import io

import numpy as np
import pytest
from PIL import Image

from gan.errors import GanmillError
from gan.marking import watermark
from gan.platforms import encode, platform, platforms, problems, render
from tests.gan.platforms.making import Images, cut_out, stickers

XMP = '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><a/><?xpacket end="w"?>'
ROOM = 8192


def _noise(name: str, channels: int) -> Images:
    """Return the hardest picture that there is."""
    to = platform(name, 256)
    shape = (to.height_px, to.width_px, channels)
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("name", [name for name, each in platforms().items() if each.max_bytes])
def test_even_noise_fits_with_room_for_the_signature(name: str) -> None:
    """Whatever a model draws, a file comes out below the limit, and it passes its validator."""
    to = platform(name, 256)
    picture = _noise(name, 3)

    payload = encode(picture, to, XMP, ROOM)

    assert to.max_bytes is not None
    assert len(payload) <= to.max_bytes - ROOM
    assert problems(payload, to) == []


@pytest.mark.parametrize("name", ["png", "whatsapp", "instagram"])
def test_the_packet_is_in_the_file_and_bytes_are_the_same_again(name: str) -> None:
    """XMP is where readers look for it in each format; nothing of time or place gets in."""
    to = platform(name, 64)
    picture = render(cut_out(), to, upscale="lanczos", background="#ffffff")

    payload = encode(picture, to, XMP, 0)

    assert payload == encode(picture, to, XMP, 0)
    with Image.open(io.BytesIO(payload)) as file:
        file.load()
        found = file.info.get("xmp") or file.info["XML:com.adobe.xmp"]
    assert found in {XMP, XMP.encode()}


@pytest.mark.parametrize("upscale", ["lanczos", "nearest"])
def test_png_is_as_small_as_a_slow_search_makes_it(upscale: str) -> None:
    """Smooth or of hard pixels: who publishes a marked PNG pays for no byte that haste cost."""
    (image, *_), _ = stickers(1)
    to = platform("png", 256)
    drawn = render(image, to, upscale=upscale, background="#ffffff")
    picture = watermark.embed(drawn, "0123456789abcdef")
    slow = io.BytesIO()
    Image.fromarray(picture).save(slow, "PNG", compress_level=6)

    payload = encode(picture, to, "", 0)

    assert len(payload) <= len(slow.getvalue())


def test_what_fits_is_not_made_worse() -> None:
    """PNG is exact; the others differ from the picture by what nobody sees."""
    for name in ("discord_sticker", "whatsapp", "instagram"):
        to = platform(name, 256)
        picture = render(cut_out(), to, upscale="lanczos", background="#ffffff")
        with Image.open(io.BytesIO(encode(picture, to, XMP, ROOM))) as file:
            back = np.asarray(file)
        seen = (
            picture[..., -1:] > 0 if to.alpha else np.full((*picture.shape[:2], 1), fill_value=True)
        )
        error = (np.abs(back.astype(int) - picture) * seen).astype(float)
        assert np.sqrt((error**2).mean()) < (0.1 if to.format == "PNG" else 2.5)
        if to.alpha:
            assert np.array_equal(back[..., 3], picture[..., 3])


def test_a_picture_that_cannot_fit_is_one_line() -> None:
    """It names the platform, what was found, what is free, and what to do."""
    to = platform("whatsapp", 256).model_copy(update={"max_bytes": 9000})

    with pytest.raises(GanmillError, match=r"^whatsapp: .* 808 are free .* 9,000\. Leave .*$"):
        encode(_noise("whatsapp", 4), to, XMP, ROOM)
