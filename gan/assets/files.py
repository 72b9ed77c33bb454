"""The files of one asset: drawn, labelled, watermarked, encoded, signed last, then proven.

Nothing is encoded again after the signature; what is written down of a file was read from its final
bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan.assets.manifest import SET_ASIDE
from gan.assets.records import File, Row
from gan.durable import write_atomically
from gan.errors import GanmillError, UsageError
from gan.image.encode import png
from gan.marking import watermark, xmp
from gan.marking.credentials import OVERHEAD_BYTES, Origin, sign
from gan.marking.identity import Identity, Signing
from gan.marking.label import draw_label
from gan.platforms import Platform, check, encode, render
from gan.sections import CampaignSpec

_LEAST_KEY_BYTES = 16
_ASIDE_PX = 128  # the least side of a picture that was set aside

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Marks:
    """Where the keys lie that assets are marked with; never the keys, so that it may travel.

    Attributes:
        signing: Of the signatures.
        watermark_key: A file with the key of the watermark; None for the public one.
    """

    signing: Signing
    watermark_key: Path | None = None

    def key(self) -> bytes:
        """Return the key of the watermark.

        Raises:
            UsageError: The file cannot be read, or is too short to be a secret.
        """
        if self.watermark_key is None:
            return watermark.PUBLIC_KEY
        try:
            key = self.watermark_key.read_bytes().strip()  # an editor may end it with a new line
        except OSError as error:
            raise UsageError(
                f"{self.watermark_key}: cannot be read ({error.strerror or error}). "
                "Correct the setting of the watermark's key."
            ) from error
        if len(key) < _LEAST_KEY_BYTES:
            raise UsageError(
                f"{self.watermark_key}: holds a key of {len(key)} bytes; it must have at least "
                f"{_LEAST_KEY_BYTES}. Make one: openssl rand -hex 32"
            )
        return key


def origin_of(row: Row, batch: str) -> Origin:
    """Return what the marks of a candidate say, from its row."""
    return Origin(
        asset=row.asset,
        recipe=row.recipe,
        campaign=row.campaign,
        batch=batch,
        request=row.request,
        seed=row.seed,
        ordinal=row.ordinal,
        class_=row.class_,
        model_digest=row.bundle_digest,
        model_version=row.model_version,
        data_version=row.data_version,
    )


def picture(image: Picture, to: Platform, spec: CampaignSpec, asset: str, key: bytes) -> Picture:
    """Return an asset's picture as a platform gets it, label and watermark on it.

    Args:
        image: uint8 [C, H, W] as generated; four channels are premultiplied.
        to: The platform.
        spec: The campaign: upscaling, background, label.
        asset: What the watermark carries.
        key: Of the watermark.

    Returns:
        uint8 [H, W, 3 or 4], straight alpha.
    """
    drawn = render(image, to, upscale=spec.upscale, background=spec.background)
    if spec.label is not None:
        drawn = draw_label(drawn, spec.label)
    return watermark.embed(drawn, asset, key)


def marked(
    image: Picture, to: Platform, spec: CampaignSpec, origin: Origin, identity: Identity, key: bytes
) -> bytes:
    """Return an asset's final file for a platform: signed last, nothing is encoded after it."""
    drawn = picture(image, to, spec, origin.asset, key)
    payload = encode(drawn, to, xmp.packet(origin), OVERHEAD_BYTES)
    return sign(payload, to.media, origin, identity)


def require_fit(payload: bytes, to: Platform, path: str) -> Picture:
    """Make sure that final bytes keep to the limits of their platform; return their picture.

    Raises:
        GanmillError: They do not.
    """
    found = check(payload, to)
    if found.problems or found.picture is None:
        raise GanmillError(
            f"{path}: is no file for {to.title}: {found.problems[0]}. Nothing of the batch is "
            f"published; take {to.name!r} out of the campaign's platforms to go on."
        )
    return found.picture


def aside_path(asset: str) -> str:
    """Return where the picture of a candidate lies that was set aside, below its batch."""
    return f"{SET_ASIDE}/{asset}.png"


def aside(image: Picture, spec: CampaignSpec, origin: Origin) -> bytes:
    """Return the picture of a candidate that was set aside: it says that it is synthetic too."""
    side = max(_ASIDE_PX, image.shape[1])
    return png(image, side, spec.upscale, {"XML:com.adobe.xmp": xmp.packet(origin)})


def written(folder: Path, path: str, payload: bytes, to: Platform, asset: str, key: bytes) -> File:
    """Prove and write a final file; return what is known of it."""
    share, is_read = read_back(require_fit(payload, to, path), asset, key)
    digest = write_atomically(folder / path, payload)
    return File(
        platform=to.name,
        path=path,
        sha256=digest,
        bytes=len(payload),
        width_px=to.width_px,
        height_px=to.height_px,
        watermark=share,
        is_read=is_read,
    )


def read_back(seen: Picture, asset: str, key: bytes) -> tuple[float, bool]:
    """Return how well the watermark reads in a final picture: share of bits; whether by itself."""
    reading = watermark.read(seen, key)
    is_read = reading is not None and reading.asset == asset
    share = reading.confidence if reading and is_read else watermark.bits_right(seen, asset, key)
    return round(float(share), 4), is_read
