"""The pictures that a training leaves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import nn

from gan.bundle import Bundle
from gan.modality import modality
from gan.training.album import ANIMATION, INTERPOLATION, Album

Pack = Callable[..., Bundle]


@pytest.fixture(scope="module")
def networks(
    pack_bundle: Pack, tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, nn.Module]:
    """Return two untrained generators of 16 px with two classes."""
    folder = tmp_path_factory.mktemp("bundles")
    one, other = (pack_bundle(folder / str(seed), seed=seed).generator() for seed in (1, 2))
    return one, other


def _album(folder: Path, network: nn.Module, classes: int = 2) -> Album:
    room = modality("image")
    return Album(folder, room, classes, room.z_dim("tiny"), seed=3)


def _frames(path: Path) -> list[Image.Image]:
    with Image.open(path) as animation:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]


def _gap(path: Path, frame: Image.Image) -> float:
    """Return the mean difference of two pictures, in shades of 255."""
    with Image.open(path) as picture:
        return float(np.abs(np.asarray(picture, np.int64) - np.asarray(frame)).mean())


def test_a_tick_is_one_picture_with_a_column_a_class(
    networks: tuple[nn.Module, nn.Module], tmp_path: Path
) -> None:
    """The file is named by the images shown; tiles are enlarged to 64 px with a gap of 2."""
    path = _album(tmp_path, networks[0]).tick(12_800, networks[0])

    assert path == tmp_path / "samples-000012800.png"
    with Image.open(path) as picture:
        picture.load()
        assert picture.size == (2 * 66 + 2, 4 * 66 + 2)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_end_leaves_a_walk_and_an_animation(
    networks: tuple[nn.Module, nn.Module], tmp_path: Path
) -> None:
    """Rows of classes; frames in the order of the training, the last one held for 3 s."""
    album = _album(tmp_path, networks[0])
    ticks = [album.tick(nimg, network) for nimg, network in enumerate(networks)]
    written = album.finish(networks[1])

    assert written == [tmp_path / INTERPOLATION, tmp_path / ANIMATION]
    with Image.open(written[0]) as walk:
        assert walk.size == (12 * 66 + 2, 2 * 66 + 2)
    with Image.open(written[1]) as animation:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
        assert durations == [500, 3000]
        assert animation.info["loop"] == 0
    gaps = [[_gap(tick, frame) for tick in ticks] for frame in _frames(written[1])]
    assert max(gaps[0][0], gaps[1][1]) < 0.2 * min(gaps[0][1], gaps[1][0])


def test_the_same_training_has_the_same_pictures(
    networks: tuple[nn.Module, nn.Module], tmp_path: Path
) -> None:
    """Byte for byte; another album of the same folder goes on where the first ended."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _album(tmp_path / name, networks[0]).tick(1, networks[0])
        album = _album(tmp_path / name, networks[0])
        album.tick(2, networks[1])
        album.finish(networks[1])
    names = sorted(path.name for path in (tmp_path / "a").iterdir())

    assert len(names) == 4
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_long_training_fits_into_two_megabytes(
    networks: tuple[nn.Module, nn.Module], tmp_path: Path
) -> None:
    """Many large, noisy pictures become fewer and smaller frames, first and last among them."""
    random = np.random.default_rng(1)
    for number in range(30):
        noise = np.full((198, 924, 3), number * 8, np.uint8)
        noise[:, :, 1] = random.integers(0, 16, (198, 924)) * 16
        Image.fromarray(noise).save(tmp_path / f"samples-{number:09d}.png")
    _album(tmp_path, networks[0]).finish(networks[0])
    frames = _frames(tmp_path / ANIMATION)
    shades = [int(np.median(np.asarray(frame)[:, :, 0])) // 8 for frame in frames]

    assert 100_000 < (tmp_path / ANIMATION).stat().st_size <= 2_000_000
    assert len(frames) == 24
    assert shades[0] <= 2
    assert shades[-1] >= 27
    assert shades == sorted(shades)


def test_a_damaged_sample_is_left_out(
    networks: tuple[nn.Module, nn.Module], tmp_path: Path
) -> None:
    """A training does not fail at its end for a picture of its beginning; none is no animation."""
    album = _album(tmp_path, networks[0])
    assert album.finish(networks[0]) == [tmp_path / INTERPOLATION]
    album.tick(2, networks[0])
    whole = (tmp_path / "samples-000000002.png").read_bytes()
    (tmp_path / "samples-000000000.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "samples-000000001.png").write_bytes(b"")
    album.finish(networks[0])

    assert len(_frames(tmp_path / ANIMATION)) == 1


def test_pictures_show_transparency_over_a_board(tmp_path: Path) -> None:
    """Stickers with alpha have pictures like all others."""
    room = modality("image")
    torch.manual_seed(1)
    network = room.build_generator("tiny", 16, 4, 2, torch.float32)
    album = _album(tmp_path, network)
    album.tick(1, network)

    for path in album.finish(network):
        with Image.open(path) as picture:
            assert picture.mode in {"RGB", "P"}
