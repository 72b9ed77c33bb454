"""The pictures that people judge a model by: what stands where, for any data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gan.bundle import Bundle
from gan.metrics.pictures import Pairs, write_grid, write_pairs, write_samples
from gan.metrics.sheet import WARNING, font, readable, wrapped
from tests.gan.bundles import pack_untrained

RED, GREEN, BLUE = (200, 10, 30), (10, 180, 40), (20, 40, 220)
HOSTILE = [
    "",
    "a\nb",
    "\u202eevil",
    "$x_1$",
    "_hidden",
    "猫",
    "犬",
    "😀" * 9,
    "w" * 5000,
    "\x00\ud800",
]


def plain(colour: tuple[int, ...], count: int, side: int = 16) -> NDArray[np.uint8]:
    """Return `count` images of one colour."""
    image = np.array(colour, np.uint8)[None, :, None, None]
    return np.tile(image, (count, 1, side, side))


def opened(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of a PNG, [H, W, 3], after checking that it is one of sane size."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.array(picture.convert("RGB"))
    assert all(100 < side < 5000 for side in pixels.shape[:2])
    return pixels


def stretches(mask: NDArray[np.bool_]) -> int:
    """Return how many unbroken stretches of True there are."""
    return int(mask[0]) + int((mask[1:] & ~mask[:-1]).sum())


def count_tiles(pixels: NDArray[np.uint8], colour: str | tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, columns) of tiles of one colour."""
    wanted = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    mask = (pixels == np.array(wanted)).all(axis=2)
    return stretches(mask.any(axis=1)), stretches(mask.any(axis=0))


def tall(mask: NDArray[np.bool_], least: int = 40) -> int:
    """Return how many stretches of at least so many True there are: tiles, and no letters."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2] >= least).sum())


def fixed_tiles(path: Path, left: int) -> tuple[int, int]:
    """Return (rows, columns) of generated tiles to the right of the names."""
    inked: NDArray[np.bool_] = np.any(opened(path)[:, left:] < 250, axis=2)
    rows = np.mean(inked, axis=1) > 0.5
    return tall(rows), tall(np.mean(np.compress(rows, inked, axis=0), axis=0) > 0.5)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """Return what packs an untrained bundle: (classes, seed=1, resolution=16)."""

    def made(classes: list[str], seed: int = 1, resolution: int = 16) -> Bundle:
        folder = tmp_path_factory.mktemp("bundle")
        return pack_untrained(folder, classes, seed=seed, resolution=resolution)

    return made


def test_real_stands_over_generated_for_each_class(tmp_path: Path) -> None:
    """A row of each for each class, as many columns as the class with the most images has."""
    real = {0: plain(RED, 4), 1: plain(RED, 3), 2: plain(RED, 1)}
    made = {0: plain(GREEN, 4), 1: plain(GREEN, 4), 2: plain(GREEN, 4)}

    pixels = opened(write_grid(tmp_path / "g.png", "tiny 1234", ["a", "b", "c"], real, made))

    assert count_tiles(pixels, RED) == (3, 4)
    assert count_tiles(pixels, GREEN) == (3, 4)
    first = [(pixels == colour).all(axis=2).any(axis=1).argmax() for colour in (RED, GREEN)]
    assert first[0] < first[1]


def test_a_class_without_images_is_shown_as_such(tmp_path: Path) -> None:
    """A class without generated images keeps its real row; one without any is left out."""
    real, made = {0: plain(RED, 2), 1: plain(RED, 2)}, {0: plain(GREEN, 2), 1: plain(GREEN, 0)}

    pixels = opened(write_grid(tmp_path / "g.png", "t", ["a", "b", "c"], real, made))

    assert count_tiles(pixels, RED) == (2, 2)
    assert count_tiles(pixels, GREEN) == (1, 2)


def test_many_classes_are_spread_over_the_alphabet(tmp_path: Path) -> None:
    """Of 100 classes 24 are shown, the first and the last among them."""
    ends = {0: plain(GREEN, 1), 99: plain(GREEN, 1)}
    kept = {n: plain(RED, 1) for n in range(1, 99)} | ends
    names = [f"class {n:03d}" for n in range(100)]

    pixels = opened(write_grid(tmp_path / "g.png", "t", names, kept, {}))

    assert count_tiles(pixels, RED)[1] == count_tiles(pixels, GREEN)[1] == 2
    assert count_tiles(pixels, RED)[0] == 12


def test_no_image_at_all_is_refused(tmp_path: Path) -> None:
    """An empty picture is never written."""
    with pytest.raises(ValueError, match="no image"):
        write_grid(tmp_path / "g.png", "t", ["a"], {}, {0: plain(RED, 0)})

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("side", [16, 33, 64, 200, 256])
@pytest.mark.parametrize("colour", [(90,), RED, (*RED, 255)])
def test_any_size_and_any_channels(tmp_path: Path, side: int, colour: tuple[int, ...]) -> None:
    """16 to 256 px, grey, colour and cut-outs: tiles end up of about one size, colours intact."""
    kept = {0: plain(colour, 3, side)}

    pixels = opened(write_grid(tmp_path / "g.png", "t", ["one"], kept, kept))

    shown = colour[:3] if len(colour) > 1 else colour * 3
    assert count_tiles(pixels, shown) == (2, 3)
    assert 3 * 60 < (pixels == shown).all(axis=2).any(axis=0).sum() < 3 * 110


def test_what_is_transparent_is_shown_on_a_checkerboard(tmp_path: Path) -> None:
    """An image of alpha 0 is two light shades, never the black that is stored."""
    kept = {0: np.zeros((1, 4, 32, 32), np.uint8)}

    pixels = opened(write_grid(tmp_path / "g.png", "t", ["one"], kept, kept))

    assert count_tiles(pixels, (232, 232, 232)) == (2, 1)
    assert count_tiles(pixels, (0, 0, 0)) == (0, 0)


def test_samples_are_a_row_for_each_class_and_a_column_for_each_latent(
    bundles: Callable[..., Bundle], tmp_path: Path
) -> None:
    """12 columns; equal bytes each time, so that versions can be laid side by side."""
    bundle = bundles(["bars", "checks", "dots"])

    first = write_samples(tmp_path / "1.png", "t", bundle)
    second = write_samples(tmp_path / "2.png", "t", bundle)

    assert fixed_tiles(first, 24 + 132) == (3, 12)
    assert first.read_bytes() == second.read_bytes()


def test_samples_of_many_classes_and_of_one(bundles: Callable[..., Bundle], tmp_path: Path) -> None:
    """Of 30 classes 24 rows are shown; a model of one class fills 8 rows with other latents."""
    many = write_samples(tmp_path / "m.png", "t", bundles([f"c{n:02d}" for n in range(30)]))
    one = write_samples(tmp_path / "o.png", "t", bundles(["all"]))

    assert fixed_tiles(many, 24 + 132) == (24, 12)
    assert fixed_tiles(one, 24) == (8, 12)


def pairs(count: int, *, held_out: bool = True) -> Pairs:
    """Return pairs of plain images."""
    figures = np.linspace(0, 1, count)
    found = Pairs(plain(GREEN, count), plain(RED, count), figures, figures)
    if not held_out:
        return found
    return replace(found, held_out=plain(BLUE, count), held_out_distances=figures)


def test_fakes_stand_beside_their_neighbours(tmp_path: Path) -> None:
    """Each between its nearest training and held-out image; another verdict is another title."""
    paths = [
        write_pairs(tmp_path / f"{copying}.png", "t", pairs(3), copying=copying)
        for copying in (True, False, None)
    ]

    pixels = opened(paths[0])
    assert count_tiles(pixels, GREEN) == count_tiles(pixels, RED) == (1, 3)
    assert count_tiles(pixels, BLUE) == (1, 3)
    assert len({path.read_bytes() for path in paths}) == 3


def test_an_exact_copy_is_framed(tmp_path: Path) -> None:
    """A fake that equals its training image is framed in red, and no other one is."""
    found = pairs(3)
    found.fakes[1] = found.training[1]

    copied = opened(write_pairs(tmp_path / "1.png", "t", found, copying=False))
    honest = opened(write_pairs(tmp_path / "2.png", "t", pairs(3), copying=False))

    assert count_tiles(copied, WARNING)[0] > 0
    assert count_tiles(honest, WARNING) == (0, 0)


def test_at_most_24_pairs_and_without_held_out_images(tmp_path: Path) -> None:
    """Of 100 the first 24 are shown; where nothing was held out two images stand together."""
    path = write_pairs(tmp_path / "p.png", "t", pairs(100, held_out=False), copying=None)

    rows, columns = count_tiles(opened(path), GREEN)
    assert rows * columns == 24
    with pytest.raises(ValueError, match="no fake"):
        write_pairs(tmp_path / "q.png", "t", pairs(0), copying=None)


def test_hostile_names_do_no_harm(bundles: Callable[..., Bundle], tmp_path: Path) -> None:
    """Any class name or title gives a picture, and two names are never written alike."""
    kept = {n: plain(RED, 2) for n in range(len(HOSTILE))}

    first = write_grid(tmp_path / "1.png", HOSTILE[1] * 99, HOSTILE, kept, kept)
    second = write_grid(tmp_path / "2.png", HOSTILE[1] * 99, HOSTILE, kept, kept)

    assert count_tiles(opened(first), RED) == (10, 4)
    assert first.read_bytes() == second.read_bytes()
    shown = [readable(name) for name in HOSTILE]
    assert len(set(shown)) == len(HOSTILE)
    assert shown[5] == "U+732B"
    assert shown[3] == "$x_1$"
    assert readable("Ёлка ελιά שלום") == "Ёлка ελιά שלום"


def test_long_names_are_wrapped_and_cut_in_the_middle() -> None:
    """Names of one data set begin alike: the end of a long one stays readable."""
    lines = wrapped("glasses-square-black-eyes-red-" * 9 + "last", 14, 120, 3)

    assert len(lines) == 3
    assert "…" in "".join(lines)
    assert lines[-1].endswith("last")
    assert all(font(14).getlength(line) <= 120 for line in lines)
    assert wrapped("glasses-deep-teal", 14, 120, 3) == ["glasses-deep-", "teal"]
