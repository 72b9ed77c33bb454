"""The validator of files: it finds each thing that a platform would refuse, and never breaks."""

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from gan.platforms import check, encode, platform, problems
from gan.platforms.headers import read_header
from tests.gan.platforms.making import Images

XMP = "<x/>"


def _picture(name: str, channels: int = 3) -> Images:
    to = platform(name, 256)
    picture = np.full((to.height_px, to.width_px, channels), 255, np.uint8)
    picture[20:60, 20:60, :3] = (200, 30, 30)
    return picture


def _file(name: str, channels: int = 3) -> bytes:
    return encode(_picture(name, channels), platform(name, 256), XMP, 0)


def _saved(image: Image.Image, file_format: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **how)
    return file.getvalue()


def test_the_picture_that_was_checked_is_the_one_in_the_file() -> None:
    """The watermark is read from what the file shows, with its alpha, and not decoded twice."""
    for channels in (3, 4):
        found = check(_file("png", channels), platform("png", 256))

        assert found.problems == []
        assert found.picture is not None
        assert np.array_equal(found.picture, _picture("png", channels))
    assert check(b"GIF89a", platform("png", 256)).picture is None


def _animated() -> bytes:
    frames = [Image.new("RGBA", (512, 512), colour) for colour in ("red", "blue")]
    return _saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])


def _animated_png() -> bytes:
    frames = [Image.new("RGBA", (320, 320), colour) for colour in ("red", "blue")]
    return _saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved(Image.new("RGB", (1080, 1080), "red"), "JPEG", exif=exif)


_WRONG: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "format": ("whatsapp", lambda: _file("x"), "is JPEG; whatsapp takes WEBP"),
    "pixels": (
        "whatsapp",
        lambda: _saved(Image.new("RGB", (512, 511), "red"), "WEBP"),
        "512 x 511 px; whatsapp takes 512 x 512 exactly",
    ),
    "bytes": (
        "whatsapp",
        lambda: _saved(
            Image.fromarray(np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)),
            "WEBP",
            quality=90,
        ),
        "bytes; whatsapp takes 102,400 at most",
    ),
    "frames": ("telegram", _animated, "is animated; telegram takes one frame"),
    "frames of a PNG": ("discord_sticker", _animated_png, "is animated"),
    "alpha": (
        "thumbnail",
        lambda: _saved(Image.new("RGBA", (256, 256)), "WEBP", lossless=True),
        "is transparent all over",
    ),
    "turned": ("x", _turned, "asks to be turned"),
    "grey": (
        "x",
        lambda: _saved(Image.new("L", (1080, 1080)), "JPEG"),
        "has 1 channels of 8 bits, not 3 of 8",
    ),
    "cut": ("whatsapp", lambda: _file("whatsapp")[:-40], "but has"),
    "more": ("discord_sticker", lambda: _file("discord_sticker") + b"x", "1 bytes behind its end"),
    "nothing": ("png", lambda: b"", "is no PNG, WebP or JPEG file"),
}


@pytest.mark.parametrize("name", list(_WRONG))
def test_each_fault_is_named(name: str) -> None:
    """What a platform would refuse is said in a sentence, before anybody uploads it."""
    to, make, said = _WRONG[name]

    assert said in " | ".join(problems(make(), platform(to, 256)))


def test_a_damaged_pixel_is_found() -> None:
    """A flipped bit in a PNG shows in its check sums, with the name of the chunk."""
    payload = bytearray(_file("discord_emoji"))
    place = payload.index(b"IDAT") + 10
    payload[place] ^= 1

    assert problems(bytes(payload), platform("discord_emoji", 256)) == ["has a damaged chunk IDAT"]


def test_alpha_is_refused_where_it_is_not_taken() -> None:
    """A header with transparency is enough: some platforms show it black."""
    to = platform("x", 256).model_copy(update={"format": "PNG"})
    payload = encode(_picture("x", 4), to, XMP, 0)

    assert problems(payload, to) == ["has an alpha channel; x takes none"]


@pytest.mark.parametrize(
    ("file_format", "mode", "how"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {"xmp": b"<x/>"}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"xmp": b"<x/>"}),
    ],
)
def test_both_readers_agree_on_sound_files(
    file_format: str, mode: str, how: dict[str, object]
) -> None:
    """Every kind of file that an encoder writes is read alike by our reader and by Pillow."""
    payload = _saved(Image.new(mode, (301, 77), "#12345678"), file_format, **how)

    header = read_header(payload)

    assert (header.format, header.width_px, header.height_px) == (file_format, 301, 77)
    assert (header.has_alpha, header.is_animated) == (mode == "RGBA", False)


def test_no_bytes_break_the_validator() -> None:
    """Cut, mutated and lying files are described, never a traceback."""
    place = random.Random(1)  # noqa: S311  # tests, not secrets
    wholes = [_file("discord_emoji"), _file("thumbnail", 4), _file("linkedin")]
    lie = struct.pack(">I4s13sI", 13, b"IHDR", b"\0" * 13, zlib.crc32(b"IHDR" + b"\0" * 13))

    for _ in range(150):
        payload = bytearray(place.choice(wholes))
        for _ in range(place.randint(1, 4)):
            payload[place.randrange(min(len(payload), 200))] = place.randrange(256)
        cut = place.randrange(len(payload)) if place.random() < 0.3 else len(payload)
        assert isinstance(problems(bytes(payload[:cut]), platform("thumbnail", 256)), list)
    assert problems(b"\x89PNG\r\n\x1a\n" + lie, platform("png", 256)) != []
