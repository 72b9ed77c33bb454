"""A file's final bytes -> what is wrong with it for a platform, after every mark is on it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gan.image.decode import Decoded, Rejected, decode
from gan.platforms.catalog import Platform
from gan.platforms.headers import Header, read_header

Picture = npt.NDArray[np.uint8]


class Checked(NamedTuple):
    """A file that was held against its platform.

    Attributes:
        problems: What keeps it from there, one sentence each.
        picture: What is seen, uint8 [H, W, 3 or 4], straight alpha; None where nothing decodes.
    """

    problems: list[str]
    picture: Picture | None


def check(payload: bytes, to: Platform) -> Checked:
    """Return what keeps a file from its platform, if anything does, and its picture.

    The header is read byte by byte and the picture decoded: format, exact pixels, bytes, one frame,
    alpha, and whether there is anything to see.

    Args:
        payload: The file.
        to: What it must be.
    """
    found = []
    if to.max_bytes is not None and len(payload) > to.max_bytes:
        found.append(f"is {len(payload):,} bytes; {to.name} takes {to.max_bytes:,} at most")
    try:
        header, decoded = read_header(payload), decode(payload)
    except ValueError as error:
        return Checked([*found, str(error)], None)
    except Rejected as rejected:
        found.append(f"does not decode ({rejected.reason}: {rejected.detail})")
        return Checked(found, None)
    found += _differences(header, to) + _surprises(header, decoded)
    image = decoded.image
    if image.mode not in {"RGB", "RGBA"}:
        image = image.convert("RGBA" if image.mode == "LA" else "RGB")
    return Checked(found, np.asarray(image))


def problems(payload: bytes, to: Platform) -> list[str]:
    """Return what keeps a file from its platform, one sentence each; none if it is right."""
    return check(payload, to).problems


def _differences(header: Header, to: Platform) -> list[str]:
    """Say where a file is another one than its platform takes."""
    found = []
    if header.format != to.format:
        found.append(f"is {header.format}; {to.name} takes {to.format}")
    if (header.width_px, header.height_px) != (to.width_px, to.height_px):
        found.append(
            f"is {header.width_px} x {header.height_px} px; "
            f"{to.name} takes {to.width_px} x {to.height_px} exactly"
        )
    if header.is_animated:
        found.append(f"is animated; {to.name} takes one frame")
    if header.has_alpha and not to.alpha:
        found.append(f"has an alpha channel; {to.name} takes none")
    return found


def _surprises(header: Header, decoded: Decoded) -> list[str]:
    """Say where the decoded picture is not what the header promised, or nothing to look at."""
    found = []
    image = decoded.image
    if image.size != (header.width_px, header.height_px):
        found.append(f"decodes to {image.width} x {image.height} px, unlike its header")
    if "EXIF_ORIENTATION_APPLIED" in decoded.notes:
        found.append("asks to be turned when it is shown")
    if image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema()[1] == 0:
        found.append("is transparent all over")
    return found
