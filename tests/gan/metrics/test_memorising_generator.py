"""A generator that knows its images by heart is flagged, an honest one is not: on pictures.

The memorising generator is a decoder with an embedding of its own for each of 200 images, trained
until it draws them again; its fakes are drawn from jittered embeddings. An honest one is stood for
by new images of the same source, which is what a perfect generator makes, sharp or blurred, and by
generators that were trained.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn

from gan.bundle import latents, open_bundle
from gan.image.dataset import Dataset
from gan.image.glyphs import draw as draw_glyphs
from gan.inference import generate
from gan.metrics.memorisation import Memorisation, is_copying, memorisation, thumbnails
from gan.modality import modality
from gan.split import split

Images = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared/data"
SHIPPED = ROOT / "gan/shipped/stickers"
BY_HEART = 200
CLASSES = ["bars", "checks", "dots"]


def _memorising(images: Images, count: int, steps: int) -> Images:
    """Return `count` fakes of a decoder that was overfit on images [200, C, H, W]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        codes = nn.Parameter(torch.randn(len(images), 64))
        decoder = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, images[0].size), nn.Tanh()
        )
        wanted = modality("image").from_uint8(torch.from_numpy(images)).flatten(1)
        optimizer = torch.optim.Adam([codes, *decoder.parameters()], lr=5e-3)
        for _ in range(steps):
            loss = (decoder(codes) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            z = codes[torch.arange(count) % len(images)]
            drawn = decoder(z + 0.1 * torch.randn_like(z)).reshape(count, *images.shape[1:])
    return modality("image").to_uint8(drawn)


def _blurred(images: Images) -> Images:
    return np.asarray(
        gaussian_filter(images.astype(np.float32), (0, 0, 1, 1)).round(), dtype=np.uint8
    )


def _measure(data: Images, fakes: Images) -> Memorisation:
    """Return how `fakes` stand to data of which a part is held out as in a training."""
    trained, held_out = split(len(data), "5" * 64)
    return memorisation(*(thumbnails(part) for part in (data[trained], data[held_out], fakes)))


def _share(found: Memorisation) -> float:
    assert found.copied_share is not None
    return found.copied_share.value


def _check(data: Images, new: Images, steps: int) -> None:
    """Hold what must hold of a source: its images, some of them held out, and new ones."""
    trained, _ = split(len(data), "5" * 64)
    known = data[trained]
    copies = _memorising(known[:BY_HEART], 400, steps)
    found = _measure(data, copies)
    assert is_copying(found)
    assert found.memorisation is not None
    assert found.memorisation.value > 0.9
    assert np.mean(found.training < BY_HEART) > 0.95  # the originals are the ones it was shown
    assert is_copying(_measure(data, _blurred(known[:BY_HEART])))
    mixed = np.concatenate([known[: len(new) // 10], new[: len(new) * 9 // 10]])
    assert 0.05 < _share(_measure(data, mixed)) < 0.16
    for honest in (new, _blurred(new)):
        assert not is_copying(_measure(data, honest))


def test_a_memorising_generator_is_flagged_and_an_honest_one_is_not(
    draw: Callable[..., Dataset],
) -> None:
    """Copies are flagged, also blurred; a tenth of copies shows as one; new images pass."""
    _check(draw(800, CLASSES, seed=1).images, draw(500, CLASSES, seed=2).images, steps=150)


def _glyphs(count: int, seed: int) -> Images:
    """Return drawn stickers of 32 px, [N, 3, 32, 32]."""
    drawings = (Image.open(io.BytesIO(each.payload)) for each in draw_glyphs(count, seed))
    return np.stack([np.asarray(each.reduce(2)).transpose(2, 0, 1) for each in drawings])


def test_the_shipped_generator_copies_nothing() -> None:
    """The bundle that a new recipe starts from makes stickers of its own."""
    bundle = open_bundle(SHIPPED)
    z = latents(1, "memorisation", count=150, z_dim=bundle.card.z_dim)
    c = torch.arange(150) % len(bundle.card.classes)
    fakes = generate(modality("image"), bundle.generator(), z, c)

    assert not is_copying(_measure(_glyphs(700, 1), fakes))


@pytest.mark.slow
def test_drawn_stickers_by_heart() -> None:
    """The stickers that ganmill draws itself: a memorising generator is flagged, new ones pass."""
    _check(_glyphs(800, 1), _glyphs(2000, 2), steps=1000)


def _archive(name: str, folder: str, side_px: int) -> Images:
    """Return the pictures of an archive's folder in random order, [N, C, 32, 32]."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"no {name} beside the repository")
    with zipfile.ZipFile(path) as archive:
        keys = [key for key in archive.namelist() if key.startswith(folder) and key[-4:] == ".png"]
        order = np.random.default_rng(1).permutation(len(keys))
        opened = (Image.open(io.BytesIO(archive.read(keys[place]))) for place in order)
        return np.stack(
            [
                np.asarray(each.convert("RGBa").reduce(side_px // 32)).transpose(2, 0, 1)
                for each in opened
            ]
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder", "side_px"),
    [("avatars.zip", "glasses-", 32), ("stickers.zip", "twemoji/", 64)],
)
def test_real_images_by_heart(name: str, folder: str, side_px: int) -> None:
    """Pixel art, and emoji of which half are skin tones of others: only copies are flagged."""
    images = _archive(name, folder, side_px)
    _check(images[:800], images[800:2800], steps=1000)
