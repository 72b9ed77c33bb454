"""CBOR (RFC 8949), as much of it as content credentials need.

Written: the shortest form, maps in their own order. Read: definite lengths, as strangers' bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MAX_DEPTH = 32
_SIMPLE = {20: False, 21: True, 22: None}


class Tagged(NamedTuple):
    """A value with a tag before it."""

    tag: int
    value: Any


def encode(value: Any) -> bytes:
    """Return a str, bytes, int, bool, None, `Tagged`, sequence or mapping of such as CBOR.

    >>> encode({"a": [1, 24, -1]}).hex()
    'a161618301181820'

    Raises:
        TypeError: A value is of another type.
    """
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes | str):
        content = value if isinstance(value, bytes) else value.encode()
        return _head(2 if isinstance(value, bytes) else 3, len(content)) + content
    if isinstance(value, Tagged):
        return _head(6, value.tag) + encode(value.value)
    if isinstance(value, Mapping):
        pairs = (encode(key) + encode(each) for key, each in value.items())
        return _head(5, len(value)) + b"".join(pairs)
    if isinstance(value, Sequence):
        return _head(4, len(value)) + b"".join(encode(each) for each in value)
    raise TypeError(f"CBOR: {type(value).__name__} is none of the types that are written.")


def decode(payload: bytes) -> Any:
    """Return the one value that some bytes are; of maps with keys of str or int alone.

    Raises:
        ValueError: They are no such CBOR.
    """
    value, end = _decode(payload, 0, _MAX_DEPTH)
    if end != len(payload):
        raise ValueError("CBOR: something follows the value")
    return value


def _head(kind: int, number: int) -> bytes:
    """Return the head of an item: its kind and a number, as short as it can be."""
    if number < 24:
        return bytes([kind << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes([kind << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def _decode(payload: bytes, begin: int, depth: int) -> tuple[Any, int]:
    """Return the value at a place, and where it ends."""
    kind, number, at = _read_head(payload, begin)
    if depth == 0:
        raise ValueError("CBOR: nested too deep")
    if kind == 7:
        if number not in _SIMPLE:
            raise ValueError("CBOR: a simple value or a float that is not read")
        return _SIMPLE[number], at
    if kind < 2:
        return (number if kind == 0 else -1 - number), at
    if kind == 6:
        value, at = _decode(payload, at, depth - 1)
        return Tagged(number, value), at
    if number > len(payload) - at:  # each item takes a byte at least
        raise ValueError("CBOR: says more than there is")
    if kind < 4:
        content = payload[at : at + number]
        return (content if kind == 2 else content.decode()), at + number
    items = []
    for _ in range(number * (kind - 3)):
        value, at = _decode(payload, at, depth - 1)
        items.append(value)
    return (items if kind == 4 else _mapping(items)), at


def _read_head(payload: bytes, begin: int) -> tuple[int, int, int]:
    """Return an item's kind and number, and where its content begins."""
    if begin >= len(payload):
        raise ValueError("CBOR: ends too early")
    kind, number, at = payload[begin] >> 5, payload[begin] & 31, begin + 1
    if number < 24:
        return kind, number, at
    size = 1 << number - 24
    if kind == 7 or number > 27 or at + size > len(payload):
        raise ValueError("CBOR: a float, or a length that is not read")
    return kind, int.from_bytes(payload[at : at + size], "big"), at + size


def _mapping(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    if any(not isinstance(key, str | int) for key in keys) or len(set(keys)) != len(keys):
        raise ValueError("CBOR: a map with a key twice, or of another type")
    return dict(zip(keys, items[1::2], strict=True))
