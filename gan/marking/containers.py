"""Where a manifest store lies in a PNG, WebP or JPEG file, as C2PA 2.2 (appendix A) says.

Each has a place for what other readers skip: a chunk `caBX` of PNG, a chunk `C2PA` of WebP, a
segment APP11 of JPEG. The picture's own bytes stay as they are.
"""

import zlib
from typing import NamedTuple

from gan.errors import UsageError

_PNG, _RIFF, _WEBP, _JPEG = b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP", b"\xff\xd8"
_PNG_HEADER_BYTES = 33  # signature and IHDR, which must come first
_APP11_HEAD = b"JP\x00\x01\x00\x00\x00\x01"  # JUMBF (ISO 19566-5 annex D): box 1, part 1
_MAX_SEGMENT_BYTES = 65535


class Parts(NamedTuple):
    """A file with a manifest store, in three pieces.

    Attributes:
        before: What comes before the part that holds the store.
        part: The chunk or segment around the store, with all that depends on the store's bytes.
        after: What comes after it.
    """

    before: bytes
    part: bytes
    after: bytes


def media_type(payload: bytes) -> str:
    """Return the media type of a file by its first bytes: image/png, image/webp, image/jpeg or "".

    >>> media_type(b"GIF89a")
    ''
    """
    if payload.startswith(_PNG):
        return "image/png"
    if payload.startswith(_RIFF) and payload[8:12] == _WEBP:
        return "image/webp"
    return "image/jpeg" if payload.startswith(_JPEG) else ""


def with_store(payload: bytes, store: bytes) -> Parts:
    """Return a file that has no store yet with this one in its place.

    Raises:
        UsageError: The file is no PNG, WebP or JPEG, or a JPEG cannot hold a store so large.
    """
    match media_type(payload):
        case "image/png":
            return _png(payload, store)
        case "image/webp":
            return _webp(payload, store)
        case "image/jpeg":
            return _jpeg(payload, store)
    raise UsageError("content credentials: the file is no PNG, WebP or JPEG.")


def _png(payload: bytes, store: bytes) -> Parts:
    chunk = b"caBX" + store
    check = zlib.crc32(chunk).to_bytes(4, "big")
    part = len(store).to_bytes(4, "big") + chunk + check
    return Parts(payload[:_PNG_HEADER_BYTES], part, payload[_PNG_HEADER_BYTES:])


def _webp(payload: bytes, store: bytes) -> Parts:
    """Put a chunk at the end; the length in the file's head counts it too."""
    part = b"C2PA" + len(store).to_bytes(4, "little") + store + b"\0" * (len(store) % 2)
    length = (len(payload) + len(part) - 8).to_bytes(4, "little")
    return Parts(payload[:4] + length + payload[8:], part, b"")


def _jpeg(payload: bytes, store: bytes) -> Parts:
    """Put a segment behind that of JFIF, which wants to be the first one."""
    length = 2 + len(_APP11_HEAD) + len(store)
    if length > _MAX_SEGMENT_BYTES:
        raise UsageError(
            f"content credentials: {len(store):,} bytes; a segment of a JPEG holds fewer than "
            f"{_MAX_SEGMENT_BYTES:,}. Sign with a shorter chain of certificates."
        )
    is_jfif = payload[2:4] == b"\xff\xe0"
    begin = 4 + int.from_bytes(payload[4:6], "big") if is_jfif else 2
    part = b"\xff\xeb" + length.to_bytes(2, "big") + _APP11_HEAD + store
    return Parts(payload[:begin], part, payload[begin:])
