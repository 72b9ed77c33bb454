"""The keyed pattern that carries the watermark: one tile of waves, repeated over the picture.

I. Cox and others, "Secure spread spectrum watermarking for multimedia", 1997: each bit lies on a
wave of middle frequency, low enough for JPEG and a smaller copy, fast enough not to be seen as a
shade. A quarter of the waves carry bits that are always the same, by which the tile is found again
after a cut.

Which wave carries what, and at what phase, follows from the key by SHAKE-256 alone: no random
generator of a library has a say in whether a mark can be read years from now.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gan.marking.payload import CODED_BITS

# Not a multiple of 8: JPEG's blocks then meet each wave at another phase in each tile, and what is
# rounded away in one is kept in another.
TILE_PX = 63
_SLOWEST, FASTEST = 4.0, 13.4  # waves in a tile: from 16 to 4.7 pixels long
_DATA = CODED_BITS // 2
_EXACT = 1024  # parts of a level that a tile is rounded to: the same on every processor


@dataclass(frozen=True)
class Waves:
    """The waves of a key: 192 that carry the coded bits, two each, then 66 that are always alike.

    Attributes:
        x: How many times each goes through a tile from left to right, int64 [258], not negative.
        y: And from top to bottom, int64 [258].
        phase: Its own phase, complex64 [258], of length 1; the first bit lies along it, the second
            a quarter turn ahead.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    phase: NDArray[np.complex64]

    @property
    def alike(self) -> "Waves":
        """Those that say where the tile is."""
        return Waves(self.x[_DATA:], self.y[_DATA:], self.phase[_DATA:])

    @property
    def length(self) -> NDArray[np.float64]:
        """How many times each goes through a tile in its own direction, [258]."""
        return np.hypot(self.x, self.y)


@lru_cache(maxsize=16)
def waves(key: bytes) -> Waves:
    """Return the waves of a key."""
    half = TILE_PX // 2
    y, x = np.mgrid[-half : half + 1, 0 : half + 1]
    length = np.hypot(x, y)
    taken = (length >= _SLOWEST) & (length <= FASTEST) & ((x > 0) | (y > 0))
    y, x = y[taken], x[taken]
    stream = hashlib.shake_256(b"ganmill waves " + key).digest(16 * len(x))
    order, turn = np.frombuffer(stream, "<u8").reshape(2, -1)
    dealt = np.argsort(order, kind="stable")
    phase = np.exp(2j * np.pi * (turn / 2.0**64)).astype(np.complex64)
    return Waves(x[dealt], y[dealt], phase[dealt])


def signs(bits: NDArray[np.float32], of: Waves) -> NDArray[np.float32]:
    """Return the two bits of each wave, float32 [258, 2] of -1 and 1, for coded `bits` [384]."""
    return np.concatenate([bits, np.ones(2 * len(of.x) - len(bits), np.float32)]).reshape(-1, 2)


def tile(amounts: NDArray[np.float32], of: Waves) -> NDArray[np.float32]:
    """Return the pattern, float32 [63, 63], mean 0 and mean square 1.

    Args:
        amounts: How much each wave has of its two bits, [258, 2]; their common size says nothing.
        of: The waves of the key.
    """
    weights = ((amounts[:, 0] + 1j * amounts[:, 1]) * of.phase).astype(np.complex128)
    sums = fft.irfft2(half_spectrum(weights, of, TILE_PX), s=(TILE_PX, TILE_PX))
    sums /= np.sqrt(np.mean(sums**2))
    pattern: NDArray[np.float32] = (np.rint(sums * _EXACT) / _EXACT).astype(np.float32)
    return pattern


def half_spectrum(
    weights: NDArray[np.complexfloating], of: Waves, side_px: int
) -> NDArray[np.complexfloating]:
    """Return the spectrum of waves, as `irfft2` takes it, [..., side, side // 2 + 1].

    Args:
        weights: Of each wave, [..., waves].
        of: The waves.
        side_px: In how many points the period of the tile is sampled.
    """
    spectrum = np.zeros((*weights.shape[:-1], side_px, side_px // 2 + 1), weights.dtype)
    spectrum[..., of.y, of.x] = weights
    upright = of.x == 0  # those stand here together with their twins
    spectrum[..., -of.y[upright], 0] = np.conj(weights[..., upright])
    return spectrum
