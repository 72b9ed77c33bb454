"""Pictures as they are when the watermark comes: what the shipped bundle draws, enlarged."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import gan
from gan.bundle import latents, open_bundle
from gan.inference import generate
from gan.modality import modality

Picture = NDArray[np.uint8]


def stickers(count: int) -> list[Picture]:
    """Return what the shipped bundle draws, uint8 [32, 32, 3] each, class after class."""
    return [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in drawn(count)]


def drawn(count: int) -> NDArray[np.uint8]:
    """Return the same as the bundle gives them, uint8 [count, 3, 32, 32]."""
    bundle = open_bundle(Path(gan.__file__).parent / "shipped" / "stickers")
    card = bundle.card
    z = latents(5, "marking", count=count, z_dim=card.z_dim)
    classes = torch.arange(count) % len(card.classes)
    return generate(modality(card.modality), bundle.generator(), z, classes)


def enlarged(
    picture: Picture, width: int, height: int | None = None, *, hard: bool = False
) -> Picture:
    """Return a square picture whole in a frame of that size, its edges drawn on.

    Args:
        picture: uint8 [side, side, 3 or 4], straight alpha.
        width: Of the frame, pixels.
        height: Of the frame; the width without.
        hard: Whether pixels stay squares.
    """
    height = height or width
    side = min(width, height)
    how = Image.Resampling.NEAREST if hard else Image.Resampling.LANCZOS
    large = np.asarray(Image.fromarray(picture).resize((side, side), how))
    down, across = height - side, width - side
    room = ((down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    return np.pad(large, room, mode="edge")


def cut_out(picture: Picture) -> Picture:
    """Return a picture as a sticker without its background: RGBA, a disc of it is opaque."""
    side = len(picture)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = (np.hypot(x, y) < 0.42 * side) * np.uint8(255)
    return np.dstack([picture * (alpha[..., None] > 0), alpha]).astype(np.uint8)
