"""Make any asset again from its row in the manifest, and say whether it is the same.

What an asset needs is in its row and in the card of its batch: the request id, the ordinal, the
class, the campaign, and which model. On a machine of another kind the picture may differ by a level
of 255 here and there; how far is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from gan.assets.candidates import Images, sample
from gan.assets.files import Marks, aside, aside_path, marked, origin_of
from gan.assets.records import BatchCard, Row
from gan.bundle import Bundle
from gan.durable import write_atomically
from gan.errors import DamagedError, UsageError
from gan.marking.identity import open_identity
from gan.platforms import platform
from gan.screening.sight import pixels_sha256
from gan.sections import CampaignSpec


@dataclass(frozen=True)
class Regenerated:
    """An asset that was made again.

    Attributes:
        files: What was written.
        identical: Every byte of every file is what the manifest says.
        deviation: Mean difference of the pictures from those in the batch's folder, levels of 255;
            0 where the generated pixels are those of the row, None where they are not and there is
            no such folder to compare with.
    """

    files: list[Path]
    identical: bool
    deviation: float | None


def regenerate(
    bundle: Bundle,
    row: Row,
    card: BatchCard,
    marks: Marks,
    out: Path,
    *,
    batch: Path | None = None,
) -> Regenerated:
    """Write the files of an asset anew, below `out` as they lie in its batch.

    Args:
        bundle: The model that made it.
        row: Of the asset; one that was set aside has its one picture.
        card: Of its batch.
        marks: What to sign and to watermark with: the same give the same bytes.
        out: The folder to write into.
        batch: The folder of the batch, to compare with where the pixels are not the same.

    Raises:
        UsageError: The bundle is not the one that made the asset, or a platform is not known.
        DivergedError: The bundle makes images that are not finite.
        GanmillError: `out` cannot be written.
    """
    (image,) = redraw(bundle, [row], card)
    spec, origin = campaign(card), origin_of(row, card.batch)
    identity, key = open_identity(marks.signing), marks.key()
    same, files, apart = pixels_sha256(image) == row.pixels, [], []
    identical = same
    for file in row.files:
        to = platform(file.platform, spec.size_px)
        payload = marked(image, to, spec, origin, identity, key)
        identical &= write_atomically(out / file.path, payload) == file.sha256
        files.append(out / file.path)
        if batch is not None and not same:
            apart.append(difference(out / file.path, batch / file.path))
    if not row.files:
        files = [out / aside_path(row.asset)]
        write_atomically(files[0], aside(image, spec, origin))
    deviation = 0.0 if same else float(np.mean(apart)) if apart else None
    return Regenerated(files, identical, deviation)


def redraw(bundle: Bundle, rows: Sequence[Row], card: BatchCard) -> Images:
    """Return the pictures of rows of one batch, rising by ordinal, as the model makes them now.

    Returns:
        uint8 [n, C, H, W].

    Raises:
        UsageError: The bundle is not the one that made them.
        DivergedError: It makes images that are not finite.
    """
    if bundle.digest != card.bundle_digest:
        raise UsageError(
            f"batch {card.batch}: was minted from bundle {card.bundle_digest[:12]}, not from "
            f"{bundle.digest[:12]}. Fetch version {card.lineage.get('model_version') or 'of it'}."
        )
    numbers = [bundle.card.classes.index(row.class_) for row in rows]
    ordinals = [row.ordinal for row in rows]
    return sample(bundle, campaign(card), card.request, ordinals, numbers)


def campaign(card: BatchCard) -> CampaignSpec:
    """Return the campaign that a batch was minted for, as it was then.

    Raises:
        DamagedError: This version of ganmill knows no such campaign.
    """
    try:
        return CampaignSpec.model_validate(card.spec)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DamagedError(
            f"batch {card.batch}: its campaign cannot be read ({place}: "
            f"{error.errors()[0]['msg']}). Use the version of ganmill that minted it."
        ) from error


def difference(a: Path | NDArray[np.uint8], b: Path) -> float:
    """Return the mean absolute difference of two pictures of one size, in levels of 255."""
    first = a if isinstance(a, np.ndarray) else _read(a)
    return float(np.abs(first.astype(np.int16) - _read(b)).mean())


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture, np.uint8)
