"""The headers of PNG, WebP and JPEG files, read byte by byte.

Our files are written by Pillow and signed by another library, so Pillow's word on them is not
enough: this is the second reader.
"""

import struct
import zlib
from dataclasses import dataclass

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_ALPHA = {4, 6}  # colour types
_START_OF_FRAME = {0xC0, 0xC1, 0xC2}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
_WEBP_ANIMATION, _WEBP_ALPHA = 0x02, 0x10  # flags of VP8X


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        format: PNG, WEBP or JPEG.
        width_px: Width.
        height_px: Height.
        has_alpha: Whether it has a channel of transparency.
        is_animated: Whether it may have more than one frame.
    """

    format: str
    width_px: int
    height_px: int
    has_alpha: bool = False
    is_animated: bool = False


def read_header(payload: bytes) -> Header:
    """Return what a file says of itself, after walking all of its parts.

    Raises:
        ValueError: It is none of the three formats, is cut, or has something behind its end; the
            message says which.
    """
    try:
        if payload.startswith(_PNG):
            return _png(payload)
        if payload[:4] == b"RIFF" and payload[8:12] == b"WEBP":
            return _webp(payload)
        if payload.startswith(_JPEG):
            return _jpeg(payload)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError("is cut off, or holds no picture") from error
    raise ValueError("is no PNG, WebP or JPEG file")


def _png(payload: bytes) -> Header:
    chunks: list[bytes] = []
    place = len(_PNG)
    while not chunks or chunks[-1] != b"IEND":
        length, kind = struct.unpack_from(">I4s", payload, place)
        (crc,) = struct.unpack_from(">I", payload, place + 8 + length)
        if crc != zlib.crc32(payload[place + 4 : place + 8 + length]):
            raise ValueError(f"has a damaged chunk {kind.decode('latin-1')}")
        chunks.append(kind)
        place += 12 + length
    if place != len(payload):
        raise ValueError(f"has {len(payload) - place:,} bytes behind its end")
    width, height, depth, colour = struct.unpack_from(">IIBB", payload, 16)
    if chunks[0] != b"IHDR" or depth != 8:
        raise ValueError(f"has {depth} bits a channel, not 8")
    return Header("PNG", width, height, colour in _PNG_ALPHA, b"acTL" in chunks)


def _webp(payload: bytes) -> Header:
    (size,) = struct.unpack_from("<I", payload, 4)
    if size + 8 != len(payload):
        raise ValueError(f"says {size + 8:,} bytes but has {len(payload):,}")
    chunks: dict[bytes, int] = {}
    place = 12
    while place < len(payload):
        kind, length = struct.unpack_from("<4sI", payload, place)
        chunks.setdefault(kind, place + 8)
        place += 8 + length + length % 2
    if place != len(payload):
        raise ValueError("is cut off")
    if b"VP8X" in chunks:
        start = chunks[b"VP8X"]
        flags = payload[start]
        width, height = (
            int.from_bytes(payload[start + at : start + at + 3], "little") + 1 for at in (4, 7)
        )
        animated = bool(flags & _WEBP_ANIMATION) or b"ANMF" in chunks
        return Header("WEBP", width, height, bool(flags & _WEBP_ALPHA), animated)
    if b"VP8L" in chunks:
        (bits,) = struct.unpack_from("<I", payload, chunks[b"VP8L"] + 1)
        return Header("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    width, height = struct.unpack_from("<HH", payload, chunks[b"VP8 "] + 6)
    return Header("WEBP", width & 0x3FFF, height & 0x3FFF)


def _jpeg(payload: bytes) -> Header:
    if not payload.endswith(_END_OF_IMAGE):
        raise ValueError("is cut off, or has something behind its end")
    place = len(_JPEG)
    while payload[place] == 0xFF and payload[place + 1] != _START_OF_SCAN:
        marker, (length,) = payload[place + 1], struct.unpack_from(">H", payload, place + 2)
        if marker in _START_OF_FRAME:
            depth, height, width, parts = struct.unpack_from(">BHHB", payload, place + 4)
            if depth != 8 or parts != 3:
                raise ValueError(f"has {parts} channels of {depth} bits, not 3 of 8")
            return Header("JPEG", width, height)
        place += 2 + length
    raise ValueError("has no frame that a browser shows")
