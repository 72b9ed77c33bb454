"""The pictures of a training: what the average draws from fixed latents, tick by tick.

    samples-<nimg, 9 digits>.png    a column a class; the same latents each time
    interpolation.png               a row a class: a walk from one latent to another
    training.gif                    the samples in their order, the last one held

All of them from latents that stay the same, so that ticks and trainings can be laid side by side.
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from gan.bundle import latents
from gan.durable import replacing, write_atomically
from gan.inference import generate
from gan.modality import Modality

INTERPOLATION, ANIMATION = "interpolation.png", "training.gif"
_COLUMNS_AT_MOST, _ROWS = 16, 4
_WALKS_AT_MOST, _STOPS = 8, 12
_TILE_PX = 64
_FRAMES_AT_MOST = 24
_FRAME_MS, _LAST_FRAME_MS = 500, 3000
_ANIMATION_BYTES = 2_000_000
_FRAME_PX = 1100  # width of a frame, at most: 16 tiles and their gaps
_SMALLER = 0.9  # the side of the next try at most, where an animation is too large
_COLOURS = 256


class Album:
    """Writes the pictures of one training into its folder; each whole or not at all."""

    def __init__(self, folder: Path, room: Modality, classes: int, z_dim: int, seed: int) -> None:
        """Draw the latents.

        Args:
            folder: Where the pictures go.
            room: The modality.
            classes: How many there are; pictures show the first few.
            z_dim: Size of a latent.
            seed: Of the latents.
        """
        self._folder, self._room = folder, room
        self._columns = min(classes, _COLUMNS_AT_MOST)
        self._z = latents(seed, "picture", count=self._columns * _ROWS, z_dim=z_dim)
        self._walks = min(classes, _WALKS_AT_MOST)
        ends = latents(seed, "walk", count=2 * self._walks, z_dim=z_dim)
        self._ends = ends.view(2, self._walks, z_dim)

    def tick(self, nimg: int, network: nn.Module) -> Path:
        """Write what G draws after `nimg` images as `samples-<nimg>.png`, and return its path.

        Raises:
            DivergedError: An image is not finite.
            GanmillError: The folder cannot be written.
        """
        c = torch.arange(self._columns).repeat(_ROWS)
        return self._write(f"samples-{nimg:09d}.png", network, self._z, c, self._columns)

    def finish(self, network: nn.Module) -> list[Path]:
        """Write the walk and the animation of the samples so far; return what was written.

        A training without samples gets no animation.

        Raises:
            DivergedError: An image is not finite.
            GanmillError: The folder cannot be written.
        """
        # On a quarter circle each stop of two normal latents is normal too; on a line it is not.
        angles = torch.linspace(0, math.pi / 2, _STOPS)[:, None]  # [stops, 1]
        start, end = self._ends[0][:, None], self._ends[1][:, None]  # [walks, 1, z_dim]
        z = (torch.cos(angles) * start + torch.sin(angles) * end).flatten(0, 1)
        c = torch.arange(self._walks).repeat_interleave(_STOPS)
        written = [self._write(INTERPOLATION, network, z, c, _STOPS)]
        if payload := _animation(sorted(self._folder.glob("samples-*.png"))):
            write_atomically(self._folder / ANIMATION, payload)
            written.append(self._folder / ANIMATION)
        return written

    def _write(
        self, name: str, network: nn.Module, z: torch.Tensor, c: torch.Tensor, columns: int
    ) -> Path:
        """Write what G draws from z [N, z_dim] and c [N], `columns` in a row."""
        items = generate(self._room, network, z, c)
        sheet = self._room.grid(items, columns, max(1, _TILE_PX // items.shape[-1]))
        with replacing(self._folder / name) as partial:
            sheet.save(partial, "PNG")
        return self._folder / name


def _animation(paths: list[Path]) -> bytes | None:
    """Return the pictures as a GIF of at most 2 MB, or None where there are none."""
    if len(paths) > _FRAMES_AT_MOST:
        places = np.linspace(0, len(paths) - 1, _FRAMES_AT_MOST).round().astype(int)
        paths = [paths[place] for place in places]
    frames = list(_frames(paths))
    if not frames:
        return None
    share = min(1.0, _FRAME_PX / frames[0].width)
    while len(payload := _gif(frames, share)) > _ANIMATION_BYTES:
        share *= min(_SMALLER, math.sqrt(_ANIMATION_BYTES / len(payload)))  # bytes go with the area
    return payload


def _frames(paths: list[Path]) -> Iterator[Image.Image]:
    """Yield the pictures as RGB of the last one's size; one that is damaged is left out."""
    size = None
    for path in reversed(paths):
        try:
            with Image.open(path) as picture:
                frame = picture.convert("RGB")
        except (OSError, SyntaxError, ValueError):  # what Pillow raises for damaged files
            continue
        size = size or frame.size
        if frame.size == size:
            yield frame


def _gif(frames: list[Image.Image], share: float) -> bytes:
    """Return frames, the last one first, as a GIF that runs for ever; sides times `share`."""
    width, height = (max(1, round(side * share)) for side in frames[0].size)
    sized = [f if share == 1 else f.resize((width, height), Image.Resampling.BOX) for f in frames]
    # A palette each: the colours of an early frame are not those of the last.
    first, *more = [frame.quantize(_COLOURS) for frame in reversed(sized)]
    file = io.BytesIO()
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=more,
        duration=[*[_FRAME_MS] * len(more), _LAST_FRAME_MS],
        loop=0,
        optimize=False,
    )
    return file.getvalue()
