"""Bytes of a stranger's file -> one sound 8-bit image, or the reason why not.

Everything is checked from the header before any pixel memory is taken. Each problem has a reason
code; a reject is a `Rejected`, what was repaired is a note. Metadata never comes out of here.
"""

import io
import struct
import warnings
import zlib
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 64 << 20  # of one image; with alpha that is 256 MiB
MAX_FRAMES = 512
_MAX_ANIMATION_PIXELS = 256 << 20
# A scan of a JPEG refines all its pixels and can be 20 bytes long; cameras write ten.
_MAX_SCANNED_PIXELS = 1 << 30
_START_OF_SCAN = b"\xff\xda"
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ICC_MARK, _ICC_HEADER_BYTES = b"acsp", 128
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
# What names a person or a place: EXIF description, artist, copyright, owner, position.
_PERSONAL_TAGS = frozenset({0x010E, 0x013B, 0x8298, 0x8825, 0xA430})
_TOOL_TEXTS = frozenset({"software", "date:create", "date:modify", "creation time"})  # of PNG
_TURNING = frozenset({"exif", "xmp", "XML:com.adobe.xmp"})  # what may hold the orientation
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF"}
_PLAIN_MODES = frozenset({"L", "LA", "RGB", "RGBA"})
_CONVERSIONS = {"1": "L", "PA": "RGBA", "RGBX": "RGB", "La": "LA", "RGBa": "RGBA"}
_COLOUR_CONVERSIONS = {"CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
# What Pillow and its codecs raise on damaged files (10,000 mutated images were tried).
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    AttributeError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


class Rejected(Exception):  # noqa: N818  # an answer about a file, not a failure of ours
    """The file must not reach training; `reason` is its reason code, `detail` a plain phrase."""

    def __init__(self, reason: str, detail: str) -> None:
        """Say why."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Decoded(NamedTuple):
    """One sound image.

    Attributes:
        image: Mode L, LA, RGB or RGBA, 8 bits, upright, first frame, no metadata.
        mode: Pillow mode of the file.
        format: Pillow format of the file.
        notes: Reason codes of what was repaired on the way.
    """

    image: Image.Image
    mode: str
    format: str
    notes: tuple[str, ...]


def decode(payload: bytes) -> Decoded:
    """Return the image in a file's bytes.

    Raises:
        Rejected: It is broken, a bomb, or of a format that is not taken; with a reason code.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # we check what Pillow would warn of
        image = _open(payload)
        mode, file_format = image.mode, "JPEG" if image.format == "MPO" else str(image.format)
        notes: list[str] = []
        try:
            if image.info.get("progressive"):
                _check_scans(image, payload)
            elif file_format != "JPEG" and getattr(image, "is_animated", False):
                _check_frames(image)
                notes.append("ANIMATED_FIRST_FRAME")
            image.load()
            _note_metadata(image, notes)
            if file_format in _ENDS and image.format != "MPO":
                _note_tail(payload, _ENDS[file_format], notes)
            turned = _upright(image, notes)
        except _BROKEN as error:
            raise _broken(payload, file_format, error) from error
        return Decoded(_eight_bit(turned, notes), mode, file_format, tuple(notes))


def header(payload: bytes) -> tuple[int, int, str]:
    """Return (width px, height px, Pillow mode) from the header alone.

    Raises:
        Rejected: The header is broken, or announces a bomb.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(payload)
        return image.width, image.height, image.mode


def flatten(image: Image.Image, background: str = "#ffffff") -> Image.Image:
    """Return an image of mode L, LA, RGB or RGBA as RGB, transparent parts over `background`.

    Colour that hides under alpha 0 does not show.
    """
    if image.mode in {"L", "RGB"}:
        return image if image.mode == "RGB" else image.convert("RGB")
    canvas = Image.new("RGBA", image.size, background)
    canvas.alpha_composite(image if image.mode == "RGBA" else image.convert("RGBA"))
    return canvas.convert("RGB")


def premultiply(image: Image.Image) -> Image.Image:
    """Return an image of mode L, LA, RGB or RGBA as RGBa: each colour times its alpha.

    What has no alpha is opaque. Colour that hides under alpha 0 is gone; so filters that mix
    neighbours mix what shows, and no dark or foreign edge comes of what does not.
    """
    return image.convert("RGBA").convert("RGBa")


def is_transparent(payload: bytes) -> bool:
    """Return whether the image in a file's bytes has a pixel that is not opaque.

    Raises:
        Rejected: As `decode`.
    """
    return "ALPHA_FLATTENED" in decode(payload).notes


def _open(payload: bytes) -> Image.Image:
    """Read the header and hold it against the caps."""
    if not payload:
        raise Rejected("EMPTY_FILE", "the file has no bytes")
    if len(payload) > MAX_FILE_BYTES:
        raise Rejected("FILE_TOO_LARGE", f"{len(payload):,} bytes")
    try:
        image = Image.open(io.BytesIO(payload), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _unidentified(payload) from error
    except Image.DecompressionBombError as error:
        raise Rejected("DECOMPRESSION_BOMB", "the header announces too many pixels") from error
    except _BROKEN as error:
        raise _broken(payload, "", error) from error
    if image.width * image.height > MAX_PIXELS:
        raise Rejected("DECOMPRESSION_BOMB", f"announces {image.width:,} x {image.height:,} pixels")
    if image.width < 1 or image.height < 1:
        raise Rejected("CORRUPT", f"announces {image.width} x {image.height} pixels")
    return image


def _unidentified(payload: bytes) -> Rejected:
    """Say what a file is that is none of our formats."""
    start = payload[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return Rejected("ACTIVE_CONTENT", "SVG can hold scripts and links; it is not taken")
    if payload[4:8] == b"ftyp":
        return Rejected("UNSUPPORTED_FORMAT", "HEIC and AVIF are not taken; save it as PNG or JPEG")
    for start, file_format in _MAGIC.items():
        if payload.startswith(start):
            reason = "TRUNCATED" if _is_cut(payload, file_format) else "CORRUPT"
            return Rejected(reason, f"begins as {file_format}, but has no sound header")
    return Rejected("NOT_AN_IMAGE", f"not one of {', '.join(FORMATS)}")


def _broken(payload: bytes, file_format: str, error: BaseException) -> Rejected:
    """Tell a bomb in the metadata, a file cut short, and other damage apart."""
    detail = " ".join(str(error).split())[:120] or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        return Rejected("DECOMPRESSION_BOMB", detail)
    if "MAX_TEXT" in detail:
        return Rejected("METADATA_BOMB", detail)
    cut = "truncated" in detail or _is_cut(payload, file_format)
    return Rejected("TRUNCATED" if cut else "CORRUPT", detail)


def _is_cut(payload: bytes, file_format: str) -> bool:
    """Return whether the mark that ends a file of this format is missing from its tail."""
    tail = payload[-64:].rstrip(b"\0")
    if file_format == "GIF":
        return not tail.endswith(b";")
    end = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}.get(file_format)
    return end is not None and end not in tail


def _check_scans(image: Image.Image, payload: bytes) -> None:
    """Count the scans of a JPEG before its first one is decoded.

    Raises:
        Rejected: They are so many that they would take minutes.
    """
    scans = payload.count(_START_OF_SCAN)
    if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
        detail = f"{scans:,} scans of {image.width:,} x {image.height:,} pixels"
        raise Rejected("DECOMPRESSION_BOMB", detail)


def _check_frames(image: Image.Image) -> None:
    """Decode every frame of an animation once: a cut file shows only there.

    Raises:
        Rejected: It has too many frames, or too many pixels in all.
    """
    frames: int = getattr(image, "n_frames", 1)
    if frames > MAX_FRAMES:
        raise Rejected("TOO_MANY_FRAMES", f"{frames:,} frames; {MAX_FRAMES} at most")
    if frames * image.width * image.height > _MAX_ANIMATION_PIXELS:
        raise Rejected("DECOMPRESSION_BOMB", f"{frames:,} frames of {image.width} x {image.height}")
    for frame in range(frames):
        image.seek(frame)
        image.load()
    image.seek(0)


def _note_metadata(image: Image.Image, notes: list[str]) -> None:
    """Note what is dropped with the metadata: personal things, and colour profiles that are none.

    A PNG's texts count as personal unless a tool wrote them of itself.
    """
    info = image.info
    profile = info.get("icc_profile")
    if profile and (len(profile) < _ICC_HEADER_BYTES or profile[36:40] != _ICC_MARK):
        notes.append("ICC_INVALID")
    texts = [key for key, value in info.items() if isinstance(value, str)]
    told = image.format == "PNG" and any(str(key).lower() not in _TOOL_TEXTS for key in texts)
    personal = told or bool(info.get("comment"))
    if "exif" in info:
        with suppress(*_BROKEN):  # `_upright` notes what is no EXIF
            personal = personal or not _PERSONAL_TAGS.isdisjoint(image.getexif())
    if personal:
        notes.append("PERSONAL_METADATA")


def _note_tail(payload: bytes, end: bytes, notes: list[str]) -> None:
    """Note that something stands behind the end of the picture; it is dropped."""
    if not payload.endswith(end) and not payload.rstrip(b"\0").endswith(end) and end in payload:
        notes.append("TRAILING_DATA")


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Apply the EXIF orientation; Pillow has done so itself for TIFF."""
    if image.format == "TIFF" or _TURNING.isdisjoint(image.info):
        return image
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION_TAG, 1)
    except _BROKEN:
        notes.append("EXIF_INVALID")
        return image
    if not len(exif) and image.info.get("exif"):
        notes.append("EXIF_INVALID")
    if orientation in _TURNS:
        notes.append("EXIF_ORIENTATION_APPLIED")
        return image.transpose(_TURNS[orientation])
    if orientation != 1:
        notes.append("EXIF_INVALID")
    return image


def _eight_bit(image: Image.Image, notes: list[str]) -> Image.Image:
    """Bring any mode to L, LA, RGB or RGBA."""
    has_key_colour = "transparency" in image.info
    if image.mode in _PLAIN_MODES and not (has_key_colour and image.mode in {"L", "RGB"}):
        plain = image
    elif image.mode in {"L", "RGB", "P"}:
        plain = image.convert("RGBA" if has_key_colour else "RGB")
    elif image.mode in _CONVERSIONS:
        plain = image.convert(_CONVERSIONS[image.mode])
    elif image.mode in _COLOUR_CONVERSIONS:
        notes.append("COLOUR_CONVERTED")
        plain = image.convert(_COLOUR_CONVERSIONS[image.mode])
    elif image.mode.startswith("I;16"):
        notes.append("BIT_DEPTH_CONVERTED")  # scaled; Pillow's own convert("L") clips to white
        values = np.asarray(image).astype(np.uint32)
        plain = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F" and not bool(np.isfinite(np.asarray(image)).all()):
        raise Rejected("NON_FINITE", "holds NaN or infinite values")
    else:
        raise Rejected("UNSUPPORTED_FORMAT", f"pixels of mode {image.mode} have no 8-bit scale")
    if plain.mode in {"LA", "RGBA"} and plain.getchannel("A").getextrema() != (255, 255):
        notes.append("ALPHA_FLATTENED")
    return plain
