"""The built-in stickers: many, different, the same each time, and every glyph a real drawing."""

import io
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from gan.image.glyphs import FAMILIES, SIDE_PX, Drawing, _font, draw


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    """Return the first few hundred stickers of seed 1."""
    return list(draw(420, seed=1))


def test_the_same_seed_draws_the_same_bytes(drawings: list[Drawing]) -> None:
    """A sticker depends on seed and ordinal alone: a smaller set begins a larger one."""
    assert list(draw(30, seed=1)) == drawings[:30]
    other = {drawing.payload for drawing in draw(30, seed=2)}
    assert not other & {drawing.payload for drawing in drawings}


def test_families_take_turns(drawings: list[Drawing]) -> None:
    """Every family comes equally often; the label is the folder in the key; keys are unique."""
    counts = dict.fromkeys(FAMILIES, 0)
    for drawing in drawings:
        counts[drawing.label] += 1
        assert drawing.key.startswith(f"{drawing.label}/")

    assert len(FAMILIES) >= 10
    assert set(counts.values()) == {len(drawings) // len(FAMILIES)}
    assert len({drawing.key for drawing in drawings}) == len(drawings)


def test_stickers_differ() -> None:
    """A thousand stickers are a thousand pictures."""
    payloads = {drawing.payload for drawing in islice(draw(1000, seed=3), 1000)}

    assert len(payloads) == 1000


def test_a_sticker_is_a_small_colour_png(drawings: list[Drawing]) -> None:
    """Each is an RGB PNG of 64 px with a light backdrop, a card and ink."""
    for drawing in drawings[:28]:
        with Image.open(io.BytesIO(drawing.payload)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIDE_PX, SIDE_PX))
            pixels = np.asarray(image)
        assert pixels[0, 0].min() > 200
        assert pixels.std() > 10


def test_a_glyph_is_in_one_family() -> None:
    """The classes do not overlap."""
    glyphs = "".join(FAMILIES.values())

    assert len(set(glyphs)) == len(glyphs)


def test_every_glyph_is_in_the_font() -> None:
    """No sticker shows the box that a font draws for what it lacks, and none is blank."""
    font = _font(48)
    missing = bytes(font.getmask("\U0010fffd"))

    for family, glyphs in FAMILIES.items():
        for glyph in glyphs:
            mask = bytes(font.getmask(glyph))
            assert mask != missing, (family, glyph)
            assert any(mask), (family, glyph)
