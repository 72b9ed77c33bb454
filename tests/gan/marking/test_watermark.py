"""The watermark: not seen, read back after what befalls a picture, and never read into another."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from gan.errors import UsageError
from gan.marking.pattern import signs, tile, waves
from gan.marking.payload import CODED_BITS, decode, encode
from gan.marking.watermark import PUBLIC_KEY, Picture, bits_right, embed, read
from tests.gan.marking.attacks import on_white, resized, saved, screenshot
from tests.gan.marking.renders import cut_out, enlarged, stickers

ASSET = "0123456789abcdef"
SECRET = b"of our own"


@pytest.fixture(scope="module")
def drawn() -> list[Picture]:
    """Return 14 stickers that the shipped bundle drew, one of each class, 32 px."""
    return stickers(14)


def _psnr_db(picture: Picture, marked: Picture) -> float:
    is_seen = picture[..., 3] > 0 if picture.shape[2] == 4 else np.ones(picture.shape[:2], bool)
    change = marked[is_seen].astype(float)[:, :3] - picture[is_seen][:, :3]
    return float(20 * np.log10(255 / np.sqrt(np.mean(change**2))))


@pytest.mark.parametrize(
    "size", [(128, 128), (256, 256), (320, 320), (512, 512), (1080, 1080), (1200, 627)], ids=str
)
def test_marked_picture_reads_back_at_each_size_of_a_platform(
    drawn: list[Picture], size: tuple[int, int]
) -> None:
    """Whatever platform a picture was made for, its id is in it, and at 38 dB nobody sees it."""
    for number, small in enumerate(drawn[:2]):
        picture = enlarged(small, *size, hard=number == 1)

        marked = embed(picture, ASSET)
        reading = read(marked)

        assert reading is not None
        assert (reading.asset, reading.scale, reading.offset) == (ASSET, 1.0, (0.0, 0.0))
        assert reading.confidence == bits_right(marked, ASSET) > 0.85
        assert marked.shape == picture.shape
        assert _psnr_db(picture, marked) >= 38


def test_cut_out_is_marked_only_where_it_is_seen(drawn: list[Picture]) -> None:
    """A sticker without background keeps its alpha, and its transparent pixels, to the byte."""
    for small in drawn[:2]:
        picture = cut_out(enlarged(small, 512))

        marked = embed(picture, ASSET)

        is_clear = picture[..., 3] == 0
        assert np.array_equal(marked[..., 3], picture[..., 3])
        assert np.array_equal(marked[is_clear], picture[is_clear])
        assert _psnr_db(picture, marked) >= 38
        for seen in (marked, on_white(marked), saved(on_white(marked), "JPEG", 75)):
            reading = read(seen)
            assert reading is not None
            assert reading.asset == ASSET


_WAYS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "WebP q80": lambda picture, _: saved(picture, "WEBP", 80),
    "JPEG q75": lambda picture, _: saved(picture, "JPEG", 75),
    "resized to 75 %": lambda picture, _: resized(picture, 0.75),
    "screenshot": screenshot,
}


@pytest.mark.parametrize("side", [256, 512])
@pytest.mark.parametrize("way", _WAYS)
def test_mark_survives_what_platforms_do(drawn: list[Picture], way: str, side: int) -> None:
    """A picture that a platform made anew still says which asset it was; none is misread."""
    place = np.random.default_rng(side)
    for number, small in enumerate(drawn[:6]):
        asset = hashlib.sha256(bytes([number, side % 251])).hexdigest()[:16]
        marked = embed(enlarged(small, side), asset)

        reading = read(_WAYS[way](marked, place), thorough=True)

        assert reading is not None, f"sticker {number}"
        assert reading.asset == asset


def test_scale_and_offset_say_what_was_done_to_the_picture(drawn: list[Picture]) -> None:
    """A reading tells how much a picture was reduced, and where in its tiles it was cut."""
    marked = embed(enlarged(drawn[0], 512), ASSET)

    cut = read(marked[10:, 20:])
    reduced = read(resized(marked, 0.75), thorough=True)

    assert cut is not None
    assert cut.scale == 1.0
    assert cut.offset == pytest.approx((63 - 20, 63 - 10), abs=0.5)
    assert reduced is not None
    assert reduced.scale == pytest.approx(0.75, rel=0.01)


def test_small_marked_picture_is_found_on_a_large_page(drawn: list[Picture]) -> None:
    """In the screenshot of a whole screen a sticker is found among all else."""
    noise = np.random.default_rng(1)
    page = np.full((1300, 900, 3), 240, np.uint8)
    for top in range(0, 1280, 40):  # as lines of text
        page[top : top + 22] = noise.choice([20, 240], (22, 90, 1)).repeat(10, axis=1)
    page[700:956, 300:556] = embed(enlarged(drawn[1], 256), ASSET)

    reading = read(saved(page, "JPEG", 85), thorough=True)

    assert reading is not None
    assert reading.asset == ASSET


def test_unmarked_pictures_have_no_mark(drawn: list[Picture]) -> None:
    """Nothing is read into a picture that was not marked, be it noise, a plain one or a pattern."""
    y, x = np.mgrid[:256, :256]
    waving = (127 + 60 * np.sin(x / 3) * np.sin(y / 4)).astype(np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    plain = np.full((256, 256, 3), 200, np.uint8)
    nothing = np.zeros((256, 256, 4), np.uint8)
    others = [noise, plain, nothing, np.stack([waving] * 3, axis=2)]

    for picture in others + [enlarged(small, 256) for small in drawn[:8]]:
        assert read(picture, thorough=True) is None


def test_only_the_key_reads(drawn: list[Picture]) -> None:
    """Who keeps a key to themselves alone reads the mark; without it there seems to be none."""
    marked = embed(enlarged(drawn[0], 512), ASSET, SECRET)

    assert read(marked, PUBLIC_KEY, thorough=True) is None
    assert 0.4 < bits_right(marked, ASSET, PUBLIC_KEY) < 0.6
    reading = read(marked, SECRET)
    assert reading is not None
    assert reading.asset == ASSET


def test_bits_of_another_asset_are_right_by_chance_alone(drawn: list[Picture]) -> None:
    """The share of bits tells a marked picture from one that is not, or not with this id."""
    picture = enlarged(drawn[0], 512)
    marked = embed(picture, ASSET)

    assert bits_right(marked, ASSET) > 0.99
    assert bits_right(marked, "fedcba9876543210") < 0.65
    assert bits_right(picture, ASSET) < 0.65


def test_same_picture_and_id_give_the_same_bytes(drawn: list[Picture]) -> None:
    """An asset made again has the same bytes, and marking leaves the picture given alone."""
    picture = enlarged(drawn[0], 256)
    before = picture.copy()

    assert np.array_equal(embed(picture, ASSET), embed(picture, ASSET))
    assert np.array_equal(picture, before)


def test_pattern_is_the_one_that_earlier_pictures_carry() -> None:
    """What was marked once can be read for ever: the pattern of an id and a key never changes."""
    of = waves(PUBLIC_KEY)
    pattern = tile(signs(encode(ASSET, PUBLIC_KEY), of), of)
    levels = np.rint(pattern * 1024).astype("<i2")

    assert hashlib.sha256(levels.tobytes()).hexdigest()[:16] == "15b2b0047a7f2514"


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 33, 4), (64, 3, 3)])
def test_pictures_too_small_for_a_mark_pass_through(shape: tuple[int, int, int]) -> None:
    """A tiny picture is no error: it keeps its shape and has no mark that can be read."""
    picture = np.full(shape, 128, np.uint8)

    marked = embed(picture, ASSET)

    assert marked.shape == shape
    assert read(marked, thorough=True) is None


def test_code_mends_a_tenth_of_the_bits() -> None:
    """An id is read from bits of which every tenth is wrong; from noise none is."""
    random = np.random.default_rng(3)
    for _ in range(20):
        asset = random.bytes(8).hex()
        coded = encode(asset, SECRET)
        coded[random.choice(CODED_BITS, CODED_BITS // 10, replace=False)] *= -1

        assert decode(coded, SECRET) == asset
        assert decode(random.normal(size=CODED_BITS).astype(np.float32), SECRET) is None


@pytest.mark.parametrize("asset", ["", "0123", "x" * 16, ASSET + "00"])
def test_id_of_another_form_is_refused(asset: str) -> None:
    """Only 16 hex digits can be marked; anything else is named."""
    with pytest.raises(UsageError, match="16 hex digits"):
        embed(np.zeros((64, 64, 3), np.uint8), asset)
