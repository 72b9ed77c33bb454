"""What the watermark says: an asset's id, a keyed checksum, and a code that mends errors.

64 bits of id and 32 of checksum become 384 coded bits by the best known convolutional code of
rate 1/4 and 256 states (J. Larsen, "Short convolutional codes with maximal free distance for rates
1/2, 1/3 and 1/4", 1973), which bites its own tail: no bit is spent on where it begins. It is read
from soft values by Viterbi's algorithm, begun and ended half a lap away so that both settle.

The checksum is an HMAC: who does not know the key can neither forge an id nor read one, and chance
passes it once in 2^32.
"""

import hmac
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gan.errors import UsageError

_ID_BYTES, _CHECK_BYTES = 8, 4
_MESSAGE_BITS = 8 * (_ID_BYTES + _CHECK_BYTES)
_MEMORY = 8  # bits before the current one that a coded bit depends on
_STATES = 1 << _MEMORY
_GENERATORS = (0o463, 0o535, 0o733, 0o745)
CODED_BITS = _MESSAGE_BITS * len(_GENERATORS)
_SETTLING = 48  # steps before and after the lap that is read, five times the memory and more


def encode(asset: str, key: bytes) -> NDArray[np.float32]:
    """Return the coded bits of an asset's id, float32 [384] of -1 and 1.

    Raises:
        UsageError: The id is not 16 hex digits.
    """
    try:
        name = bytes.fromhex(asset)
    except ValueError:
        name = b""
    if len(name) != _ID_BYTES:
        raise UsageError(f"asset id {asset!r} must be 16 hex digits to be marked into a picture.")
    bits = np.unpackbits(np.frombuffer(name + _checksum(name, key), np.uint8)).astype(np.int64)
    windows = np.zeros_like(bits)
    for back in range(_MEMORY + 1):
        windows += np.roll(bits, back) << (_MEMORY - back)
    coded: NDArray[np.float32] = _signs()[windows].ravel()
    return coded


def decode(soft: NDArray[np.float32], key: bytes) -> str | None:
    """Return the asset's id, or None where the checksum is wrong: another key, or no mark.

    Args:
        soft: [384], the sign says which bit, the size how sure it is; any unit.
        key: The key it was marked with.
    """
    bits = _likeliest(soft.reshape(_MESSAGE_BITS, len(_GENERATORS)))
    message = np.packbits(bits).tobytes()
    name, found = message[:_ID_BYTES], message[_ID_BYTES:]
    return name.hex() if hmac.compare_digest(found, _checksum(name, key)) else None


def _checksum(name: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"ganmill asset " + name, "sha256")[:_CHECK_BYTES]


@lru_cache(maxsize=1)
def _signs() -> NDArray[np.float32]:
    """Return the coded bits of each window of the message, float32 [512, 4] of -1 and 1.

    A window is nine bits, the newest in the highest place.
    """
    windows = np.arange(2 * _STATES, dtype=np.uint16)
    odd = [np.bitwise_count(windows & generator) & 1 for generator in _GENERATORS]
    return (2 * np.stack(odd, axis=1).astype(np.float32)) - 1


def _likeliest(soft: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the message, uint8 [96] of 0 and 1, whose coded bits are nearest to `soft` [96, 4]."""
    # A window's upper eight bits are the state after it, its lower eight the one before: the two
    # windows that lead to a state differ in their last bit, so they are neighbours.
    gains = (soft @ _signs().T).reshape(-1, 2, _STATES)  # [96, newest bit, state before]
    score = np.zeros(_STATES, np.float32)
    choices = np.empty((_SETTLING + _MESSAGE_BITS + _SETTLING, _STATES), np.bool_)
    for step, choice in enumerate(choices):
        paths = (gains[(step - _SETTLING) % _MESSAGE_BITS] + score).ravel()
        even, odd = paths[::2], paths[1::2]
        np.greater(odd, even, out=choice)
        score = np.maximum(even, odd)
    state = int(score.argmax())
    bits = np.empty(len(choices), np.uint8)
    for step in range(len(choices) - 1, -1, -1):
        bits[step] = state >> (_MEMORY - 1)
        state = (state << 1 | int(choices[step, state])) & (_STATES - 1)
    return bits[_SETTLING : _SETTLING + _MESSAGE_BITS]
