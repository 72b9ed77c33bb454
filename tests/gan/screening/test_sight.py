"""What an image alone tells."""

import io

import numpy as np
import pytest
from PIL import Image

from gan.image.encode import png
from gan.screening.sight import (
    BLANK_CONTRAST,
    contrasts,
    marks,
    pixels_sha256,
    roughness,
    to_rgb,
)
from tests.gan.screening.patterns import drawn


def test_blank_is_one_flat_colour_nearly() -> None:
    """A flat image is blank with a little noise too; a faint drawing is not."""
    random = np.random.default_rng(1)
    flat = np.full((3, 16, 16), 120, np.uint8)
    drawing = flat.copy()
    drawing[1, 4:12, 4:12] += 20

    noisy = (flat + random.integers(0, 4, flat.shape)).astype(np.uint8)
    assert (contrasts(np.stack([flat, noisy])) < BLANK_CONTRAST).all()
    assert contrasts(drawing[None])[0] >= BLANK_CONTRAST
    assert contrasts(np.zeros((1, 4, 16, 16), np.uint8))[0] < BLANK_CONTRAST


def test_contrast_is_that_of_the_most_varied_channel() -> None:
    """The figure is a standard deviation as a share of 255."""
    images, _ = drawn(20, seed=1)

    assert contrasts(images) == pytest.approx(images.std(axis=(2, 3)).max(axis=1) / 255)


def test_noise_is_rougher_than_drawings() -> None:
    """Noise of any strength has about 1, drawings far less, one colour 0."""
    random = np.random.default_rng(1)
    noise = random.integers(0, [[[[40]]], [[[256]]]] * 5, (10, 3, 32, 32)).astype(np.uint8)

    assert roughness(noise) == pytest.approx(np.ones(10), abs=0.1)
    assert roughness(drawn(60, seed=1)[0]).max() < 0.8
    assert roughness(np.full((1, 3, 8, 8), 7, np.uint8))[0] == 0


def test_alpha_is_seen_on_white() -> None:
    """Hash and colours of a premultiplied image are those of its picture on white."""
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (4, 16, 16)).astype(np.uint8)
    image = np.minimum(image, image[3:])
    with Image.open(io.BytesIO(png(image))) as picture:
        paper = Image.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture)
    wanted = np.asarray(paper.convert("RGB")).transpose(2, 0, 1)[None]

    assert np.abs(to_rgb(image[None]).astype(int) - wanted).max() <= 1
    assert np.abs(marks(image[None]).colour.astype(int) - marks(wanted).colour).max() <= 1


def test_pixels_are_named_by_content() -> None:
    """Equal pixels have one name however they lie in memory, others another."""
    image = drawn(1, seed=1)[0][0]
    turned = np.ascontiguousarray(image.transpose(2, 1, 0)).transpose(2, 1, 0)

    assert pixels_sha256(image) == pixels_sha256(turned)
    assert pixels_sha256(image) != pixels_sha256(255 - image)
