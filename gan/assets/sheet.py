"""What people open: the page of a batch, its thumbnails, and the contact sheet as one picture."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import Z_RLE

from PIL import Image, ImageDraw, ImageFont

from gan.assets.manifest import INDEX, SHEET, BatchCard, Row
from gan.assets.page import ACCEPTED, page
from gan.assets.thumbnails import (
    PAGE,
    THUMB_PX,
    Lookalikes,
    Sprites,
    TrainingPicture,
    picture_path,
    read_thumb,
)
from gan.durable import drop_partials, write_atomically
from gan.image.encode import checkerboard

_ON_SHEET, _ON_PAGE, _ASIDE_ON_PAGE = 200, 2000, 500
_COLUMNS, _GAP_PX, _CAPTION_PX, _MARGIN_PX, _HEADER_PX = 8, 16, 22, 32, 64
_PAPER, _INK, _FADED = "#ffffff", "#1f2430", "#5d6577"


def write_sheet(
    folder: Path,
    card: BatchCard,
    rows: Sequence[Row],
    training_picture: TrainingPicture | None = None,
) -> list[str]:
    """Write `index.html`, `page/*.webp` and `contact_sheet.png` of the pictures in `folder`.

    Equal files and rows give equal bytes. The page shows at most 2,000 accepted assets and 500
    that were set aside, and says how many more there are.

    Args:
        folder: Of the batch, with the files that the rows name, and `set_aside/`.
        card: Of the batch; its digests need not be complete.
        rows: All of them, by ordinal.
        training_picture: Gives a training image that an asset is too near to, uint8 [C, H, W].

    Returns:
        The paths written, below the folder.

    Raises:
        GanmillError: The folder cannot be written, or the disk is full.
    """
    drop_partials(folder / PAGE)
    accepted = [row for row in rows if row.verdict == ACCEPTED]
    aside = [row for row in rows if row.verdict != ACCEPTED]
    lookalikes = Lookalikes(folder, card, rows, training_picture)
    sprites, thumbs = Sprites(folder), dict[str, Image.Image]()
    on_sheet = {row.asset for row in accepted[:_ON_SHEET]}
    for row in page_order(rows):
        thumb = read_thumb(picture_path(folder, row))
        sprites.add(row.asset, thumb)
        if row.asset in on_sheet:
            thumbs[row.asset] = thumb
    for row in sorted(aside[:_ASIDE_ON_PAGE], key=lambda row: (row.verdict, row.ordinal)):
        sprites.add(row.asset, read_thumb(picture_path(folder, row)))
        if row.like and (beside := lookalikes.thumb(row)):
            sprites.add(f"like:{row.asset}", beside)
    sprites.flush()
    sheet = _Sheet(card, len(thumbs), len(accepted))
    for row in accepted[:_ON_SHEET]:
        sheet.add(row, thumbs[row.asset])
    write_atomically(folder / SHEET, sheet.png())
    companions = _companions(folder, rows)
    write_atomically(folder / INDEX, page(card, rows, sprites.cells, companions).encode())
    return [SHEET, INDEX, *sprites.written]


def page_order(rows: Sequence[Row]) -> list[Row]:
    """Return the accepted assets that a page shows, in its order: that of their thumbnails.

    What is seen together lies together, so that it is fetched together.
    """
    accepted = [row for row in rows if row.verdict == ACCEPTED]
    return sorted(accepted[:_ON_PAGE], key=lambda row: (row.class_, row.ordinal))


def _companions(folder: Path, rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the files beside the assets of each pack, by the pack's folder."""
    assets = {file.path for row in rows for file in row.files}
    packs = sorted({str(Path(path).parent) for path in assets})
    return {pack: [p for p in _files(folder, pack) if p not in assets] for pack in packs}


def _files(folder: Path, pack: str) -> Iterator[str]:
    for path in sorted((folder / pack).iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield f"{pack}/{path.name}"


class _Sheet:
    """The first 200 accepted assets in a grid, the class below each."""

    def __init__(self, card: BatchCard, shown: int, accepted: int) -> None:
        """Draw the head."""
        lines = -(-shown // _COLUMNS)
        self._step_x, self._step_y = THUMB_PX + _GAP_PX, THUMB_PX + _CAPTION_PX + _GAP_PX
        columns = min(_COLUMNS, max(shown, 1))
        width = max(2 * _MARGIN_PX + columns * self._step_x - _GAP_PX, 460)
        height = _MARGIN_PX + _HEADER_PX + lines * self._step_y + _MARGIN_PX - _GAP_PX
        self._canvas = Image.new("RGB", (width, height), _PAPER)
        self._pen = ImageDraw.Draw(self._canvas)
        self._board = Image.fromarray(checkerboard(THUMB_PX, THUMB_PX)).convert("RGBA")
        self._drawn = 0
        title, margin = f"{card.recipe} {card.batch}", _MARGIN_PX
        self._pen.text((margin, margin - 6), title, fill=_INK, font=_font(20))
        said = _summary(card, shown, accepted)
        self._pen.text((margin, margin + 22), said, fill=_FADED, font=_font(13))

    def add(self, row: Row, thumb: Image.Image) -> None:
        """Draw the next asset, transparent parts over a light checkerboard."""
        line, column = divmod(self._drawn, _COLUMNS)
        left = _MARGIN_PX + column * self._step_x
        top = _MARGIN_PX + _HEADER_PX + line * self._step_y
        self._canvas.paste(Image.alpha_composite(self._board, thumb).convert("RGB"), (left, top))
        where = left + THUMB_PX / 2, top + THUMB_PX + _CAPTION_PX / 2
        self._pen.text(where, row.class_[:20], fill=_FADED, font=_font(13), anchor="mm")
        self._drawn += 1

    def png(self) -> bytes:
        """Return the picture as a file."""
        file = io.BytesIO()
        self._canvas.save(file, "PNG", compress_type=Z_RLE)  # smaller than at level 3, and sooner
        return file.getvalue()


def _summary(card: BatchCard, shown: int, accepted: int) -> str:
    version = card.lineage.get("model_version") or "unregistered"
    rest = "" if shown == accepted else f", the first {shown} shown"
    return f"{accepted} assets{rest}  |  model {version}, bundle {card.bundle_digest[:12]}"


def _font(size_px: int) -> Any:
    return ImageFont.load_default(size=size_px)
