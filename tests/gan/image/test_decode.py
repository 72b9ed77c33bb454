"""Decoding a stranger's bytes: every problem has a reason, nothing crashes."""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan.image.decode import Rejected, decode, flatten, header, is_transparent, premultiply

BAD_INPUTS = Path(__file__).resolve().parents[3].parent / "shared/data/bad_inputs.zip"
# Faults of the pixels' content are for `facts` to see; these are faults of the file.
CONTENT = {"BLANK", "DUPLICATE_EXACT", "TOO_SMALL", "ASPECT_RATIO", "LABEL_CONFLICT", "FRAME_COUNT"}
NAMES = {"UNSAFE_NAME", "HIDDEN_OR_SYSTEM_FILE", "EXTENSION_NOT_ALLOWED"}
ALSO_RIGHT = {("NOT_AN_IMAGE", "UNSUPPORTED_FORMAT")}


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(mode: str = "RGB", width: int = 12, height: int = 8) -> Image.Image:
    """Return an image of seeded noise."""
    depth = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(3).integers(0, 256, (height, width, depth), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if depth == 1 else values, mode if depth > 1 else None)


def test_a_lossless_image_comes_out_pixel_for_pixel() -> None:
    """What was saved as PNG is what training sees."""
    decoded = decode(encoded(noise()))

    assert decoded.image.tobytes() == noise().tobytes()
    assert (decoded.mode, decoded.format, decoded.notes) == ("RGB", "PNG", ())


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (11, 7)), (6, (7, 0)), (8, (0, 11))]
)
def test_exif_orientation_is_applied(orientation: int, corner: tuple[int, int]) -> None:
    """A photograph comes out as its camera showed it."""
    image = Image.new("RGB", (12, 8))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = decode(encoded(image, exif=exif)).image

    assert turned.getpixel(corner) == (255, 255, 255)


def test_metadata_does_not_come_out_with_the_picture() -> None:
    """A position in the EXIF block ends here: the arrays downstream hold pixels alone."""
    exif = Image.Exif()
    exif[0x010E] = "made-up position"
    flat = flatten(decode(encoded(noise("RGBA"), exif=exif)).image)

    assert b"made-up" not in encoded(flat)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    """A 16-bit scan keeps its shades."""
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    decoded = decode(encoded(Image.fromarray(values)))

    expected = np.round(values / 257).astype(int)
    assert np.abs(np.asarray(decoded.image).astype(int) - expected).max() <= 1
    assert decoded.notes == ("BIT_DEPTH_CONVERTED",)


def test_hidden_colour_under_full_transparency_does_not_show() -> None:
    """A transparent pixel takes the background's colour, whatever lies beneath."""
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))

    assert flatten(image, "#102030").getpixel((2, 2)) == (16, 32, 48)


def test_premultiplied_colour_is_what_shows_of_it() -> None:
    """Colour times alpha: all of it when opaque, none when clear; no alpha means opaque."""
    image = Image.new("RGBA", (2, 1), (255, 100, 0, 0))
    image.putpixel((1, 0), (255, 100, 0, 51))

    assert np.asarray(premultiply(image)).tolist() == [[[0, 0, 0, 0], [51, 20, 0, 51]]]
    assert np.asarray(premultiply(Image.new("L", (1, 1), 7))).tolist() == [[[7, 7, 7, 255]]]
    assert np.asarray(premultiply(Image.new("LA", (1, 1), (200, 128)))).tolist() == [
        [[100, 100, 100, 128]]
    ]


def test_transparency_is_what_the_pixels_hold() -> None:
    """An alpha channel alone is none; a key colour of a palette that occurs is one."""
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)

    assert not is_transparent(encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 255))))
    assert is_transparent(encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 254))))
    assert not is_transparent(encoded(palette))
    assert is_transparent(encoded(palette, transparency=1))
    assert not is_transparent(encoded(noise()))


def test_cmyk_and_animations_are_taken_with_a_note() -> None:
    """What was changed on the way in is recorded."""
    frames = [noise(), noise().rotate(180)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])

    assert "COLOUR_CONVERTED" in decode(encoded(noise("CMYK"), "JPEG")).notes
    assert "ANIMATED_FIRST_FRAME" in decode(animation).notes


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"hello", "NOT_AN_IMAGE"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "ACTIVE_CONTENT"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "UNSUPPORTED_FORMAT"),
        (encoded(noise())[:-30], "TRUNCATED"),
        (encoded(noise(), "JPEG")[:-40], "TRUNCATED"),
        (encoded(Image.new("1", (20_000, 4_000))), "DECOMPRESSION_BOMB"),
    ],
)
def test_each_fault_has_its_reason(payload: bytes, reason: str) -> None:
    """A bad file is refused with a reason code, before pixel memory is taken."""
    with pytest.raises(Rejected) as caught:
        decode(payload)

    assert caught.value.reason == reason


def test_a_jpeg_of_a_thousand_scans_is_a_bomb() -> None:
    """A few bytes can make a decoder go over a large picture again and again; that is refused."""
    whole = encoded(Image.new("L", (4_000, 4_000), 90), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    with pytest.raises(Rejected) as caught:
        decode(whole[:last] + 1_000 * whole[last:-2] + whole[-2:])

    assert decode(whole).notes == ()
    assert caught.value.reason == "DECOMPRESSION_BOMB"


def test_what_is_dropped_with_the_metadata_is_noted() -> None:
    """A name, a place, a broken colour profile or a file behind the picture leaves a note."""
    exif = Image.Exif()
    exif[0x013B] = "made-up name"
    written, told = PngInfo(), PngInfo()
    written.add_text("Software", "some tool")
    told.add_text("Author", "made-up name")

    assert decode(encoded(noise(), exif=exif)).notes == ("PERSONAL_METADATA",)
    assert decode(encoded(noise(), pnginfo=told)).notes == ("PERSONAL_METADATA",)
    assert decode(encoded(noise(), pnginfo=written)).notes == ()
    assert decode(encoded(noise(), icc_profile=bytes(200))).notes == ("ICC_INVALID",)
    assert decode(encoded(noise()) + b"PK more").notes == ("TRAILING_DATA",)
    assert decode(encoded(noise(), "JPEG") + b"PK more").notes == ("TRAILING_DATA",)


def test_the_header_alone_gives_the_size() -> None:
    """`ganmill init` learns sizes without decoding."""
    assert header(encoded(noise())) == (12, 8, "RGB")


def bad_inputs() -> Iterator[tuple[str, str, str, bytes]]:
    """Yield (file, expected, reason code, bytes) of the prepared tree of bad images."""
    with zipfile.ZipFile(BAD_INPUTS) as archive:
        table = archive.read("expected.csv").decode()
        for row in csv.DictReader(io.StringIO(table)):
            file = row["file"]
            if file.startswith(("tree/", "clips/")) and not file.endswith("/"):
                yield file, row["expected"], row["reason_code"], archive.read(file)


@pytest.mark.skipif(not BAD_INPUTS.exists(), reason="the shared data sets are not here")
def test_every_prepared_bad_image_gets_the_expected_answer() -> None:
    """Of the prepared broken files, bombs and odd formats none crashes and none is let through."""
    wrong = []
    for file, expected, code, payload in bad_inputs():
        try:
            decode(payload)
            answer = "OK"
        except Rejected as rejected:
            answer = rejected.reason
        if code in CONTENT | NAMES:
            continue
        right = answer == code if expected == "reject" else answer == "OK"
        if not right and (code, answer) not in ALSO_RIGHT:
            wrong.append((file, code, answer))

    assert wrong == []
