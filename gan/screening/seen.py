"""Near duplicates among the assets of a batch and those before it, asked one after the other.

Two are near as in `gan.image.similar`: perceptual hashes that differ in few of 64 bits, and 4 x 4
thumbnails that differ in few levels. All hashes are compared at once: for 100,000 assets that is
less work than keeping tables of their parts up to date.
"""

import numpy as np
from numpy.typing import NDArray

_MEAN_LEVELS, _MOST_LEVELS = 6, 24  # of 255, as `gan.image.similar` has them
_COLOUR_BYTES = 48
_FIRST_ROOM = 1024


class Seen:
    """What was seen so far; asked whether another is near to any of it."""

    def __init__(self, near_distance: int) -> None:
        """Begin with nothing.

        Args:
            near_distance: Bits of 64 by which the hashes of near ones may differ; 0 leaves the
                screen out: then nothing is near.
        """
        self._distance = near_distance
        self._assets: list[str] = []
        self._hashes = np.empty(_FIRST_ROOM, np.uint64)
        self._colours = np.empty((_FIRST_ROOM, _COLOUR_BYTES), np.uint8)

    def __len__(self) -> int:
        """Return how many were added."""
        return len(self._assets)

    def add(self, asset: str, phash: int, colour: bytes) -> None:
        """Remember an asset by its hash (64 bits, signed) and its 48 bytes of colour."""
        place = len(self._assets)
        if place == len(self._hashes):  # doubled, so that room is made a few times alone
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
            self._colours = np.concatenate([self._colours, np.empty_like(self._colours)])
        self._hashes[place] = _unsigned(phash)
        self._colours[place] = np.frombuffer(colour, np.uint8)
        self._assets.append(asset)

    def like(self, phash: int, colour: bytes) -> str | None:
        """Return the asset added first of those that are near to this one, or None."""
        count = len(self._assets)
        if self._distance == 0 or count == 0:
            return None
        unlike = np.bitwise_count(self._hashes[:count] ^ _unsigned(phash))
        places = np.flatnonzero(unlike <= self._distance)
        if len(places) == 0:
            return None
        alike = _alike(self._colours[places], np.frombuffer(colour, np.uint8))
        return self._assets[places[alike.argmax()]] if alike.any() else None


def _alike(colours: NDArray[np.uint8], colour: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which of [n, 48] are like [48]."""
    apart = np.abs(colours.astype(np.int16) - colour)
    near: NDArray[np.bool_] = (apart.mean(axis=1) <= _MEAN_LEVELS) & (
        apart.max(axis=1) <= _MOST_LEVELS
    )
    return near


def _unsigned(phash: int) -> np.uint64:
    return np.uint64(phash & 0xFFFF_FFFF_FFFF_FFFF)
