"""Small pictures of assets for the pages: 64 of them to a sprite, so that 1,000 load as 16 files.

A page shows one by a `Cell`: the sprite as an image as large as all of it, cut to the cell. So the
browser's own lazy loading works, and no script is needed.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan.assets.manifest import MANIFEST, SET_ASIDE, BatchCard, Past, Row, read_rows
from gan.durable import sha256, write_atomically
from gan.errors import DamagedError
from gan.image.encode import enlarge

THUMB_PX, ACROSS = 128, 8  # of a thumbnail; of a sprite in both directions
PAGE = "page"
_QUALITY, _EFFORT = 82, 2  # of WebP; a higher effort saves 4 % of the bytes for twice the time

TrainingPicture = Callable[[str], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class Cell:
    """Where a thumbnail lies.

    Attributes:
        sprite: Path of the sprite below the batch's folder.
        column: Its column of 8, from 0.
        line: Its line of 8, from 0.
    """

    sprite: str
    column: int
    line: int


def cell_at(place: int) -> Cell:
    """Return the cell of the thumbnail of this place, counted from 0 in the order of the page."""
    sprite, rest = divmod(place, ACROSS * ACROSS)
    line, column = divmod(rest, ACROSS)
    return Cell(_name(sprite), column, line)


def _name(sprite: int) -> str:
    return f"{PAGE}/{sprite:04d}.webp"


@dataclass
class Sprites:
    """The thumbnails of one batch, written to `<folder>/page/` as they come.

    Attributes:
        folder: Of the batch.
        cells: Where each thumbnail lies, by the key that it was added under.
        written: Paths of the sprites below the folder.
    """

    folder: Path
    cells: dict[str, Cell] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    _waiting: list[Image.Image] = field(default_factory=list)

    def add(self, key: str, thumb: Image.Image) -> None:
        """Put an RGBA thumbnail into the next cell."""
        self.cells[key] = cell_at(len(self.cells))
        self._waiting.append(thumb)
        if len(self._waiting) == ACROSS * ACROSS:
            self.flush()

    def flush(self) -> None:
        """Write the sprite that is not full yet, if there is one."""
        if not self._waiting:
            return
        canvas = Image.new("RGBA", (ACROSS * THUMB_PX, ACROSS * THUMB_PX))
        for place, thumb in enumerate(self._waiting):
            line, column = divmod(place, ACROSS)
            canvas.paste(thumb, (column * THUMB_PX, line * THUMB_PX))
        file = io.BytesIO()
        canvas.save(file, "WEBP", quality=_QUALITY, method=_EFFORT)
        name = _name(len(self.written))
        write_atomically(self.folder / name, file.getvalue())
        self.written.append(name)
        self._waiting.clear()


@dataclass
class Lookalikes:
    """Pictures of what an asset is too near to: an asset here, one of the past, a training image.

    Attributes:
        folder: Of the batch.
        card: Which past batches it was held against.
        rows: Of this batch.
        training_picture: Gives a training image by its key, uint8 [C, H, W]; None where the
            images are not at hand.
    """

    folder: Path
    card: BatchCard
    rows: Sequence[Row]
    training_picture: TrainingPicture | None
    _paths: dict[str, Path] | None = None

    def thumb(self, row: Row) -> Image.Image | None:
        """Return the thumbnail of what a row's `like` names, None where nothing can be shown."""
        if row.verdict == "copy":
            image = self.training_picture(row.like) if self.training_picture else None
            return None if image is None else _training_thumb(image)
        if self._paths is None:
            self._paths = {each.asset: picture_path(self.folder, each) for each in self.rows}
            for earlier in reversed(self.card.past):
                self._paths = dict(_past_paths(self.folder.parent, earlier)) | self._paths
        path = self._paths.get(row.like)
        return read_thumb(path) if path and path.is_file() else None


def picture_path(folder: Path, row: Row) -> Path:
    """Return the file that shows an asset best at the size of a thumbnail.

    Square before cropped or padded, then the smallest that is not too small: it opens fastest.
    """
    if not row.files:
        return folder / SET_ASIDE / f"{row.asset}.png"
    best = min(
        row.files,
        key=lambda file: (
            file.width_px != file.height_px,
            file.width_px < THUMB_PX,
            file.width_px * file.height_px,
            file.path,
        ),
    )
    return folder / best.path


def read_thumb(path: Path) -> Image.Image:
    """Return a file as an RGBA picture of 128 px, whole, centred, clear around it.

    What is smaller is enlarged by whole numbers with hard pixels, as it is.
    """
    with Image.open(path) as picture:
        picture.draft("RGB", (THUMB_PX, THUMB_PX))  # JPEG is read at a fraction of its size
        return _fitted(picture)


def _training_thumb(image: NDArray[np.uint8]) -> Image.Image:
    """Return a training image, uint8 [C, H, W], as a thumbnail; RGBA over the checkerboard."""
    shown = enlarge(image[None], 1)[0]
    return _fitted(Image.fromarray(shown.transpose(1, 2, 0).squeeze()))


def _fitted(picture: Image.Image) -> Image.Image:
    if picture.mode not in {"RGB", "RGBA"}:  # not yet alpha where there is none: it costs
        picture = picture.convert("RGBA")
    longest = max(picture.size)
    if longest <= THUMB_PX:
        scale, how = float(THUMB_PX // longest), Image.Resampling.NEAREST
    else:
        scale, how = THUMB_PX / longest, Image.Resampling.LANCZOS
    width, height = (max(1, round(side * scale)) for side in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), how, reducing_gap=2.0)  # Pillow premultiplies
    picture = picture.convert("RGBA")
    if (width, height) == (THUMB_PX, THUMB_PX):
        return picture
    canvas = Image.new("RGBA", (THUMB_PX, THUMB_PX))
    canvas.paste(picture, ((THUMB_PX - width) // 2, (THUMB_PX - height) // 2))
    return canvas


def _past_paths(batches: Path, earlier: Past) -> Iterable[tuple[str, Path]]:
    """Yield (asset, file) of a past batch, nothing where it is gone or another than it was."""
    folder = batches / earlier.batch
    manifest = folder / MANIFEST
    if not manifest.is_file() or sha256(manifest) != earlier.manifest_sha256:
        return
    try:
        rows = read_rows(manifest)
    except DamagedError:  # of an older format
        return
    for row in rows:
        yield row.asset, picture_path(folder, row)
