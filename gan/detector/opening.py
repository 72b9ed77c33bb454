"""Read a detector back and ask it about pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from gan.detector.cards import EXAMPLES, WEIGHTS, DetectorCard, read_card
from gan.detector.judging import Judge, Scale
from gan.detector.network import DetectorNetwork
from gan.detector.pictures import Picture, reduced
from gan.errors import DamagedError

_PORTION = 64


@dataclass(frozen=True)
class Detector:
    """A detector whose every file was checked.

    Attributes:
        digest: Its identity, 64 hex digits.
        card: What it can tell, measured.
        judge: Its network.
    """

    digest: str
    card: DetectorCard
    judge: Judge

    def probability(self, pictures: Sequence[Picture]) -> NDArray[np.float64]:
        """Return how probable it is that each picture is synthetic, [N] float64, 0..1.

        It holds where as many real as synthetic pictures are asked about.

        Args:
            pictures: Each uint8 [H, W, 1, 3 or 4] of any size; alpha is not multiplied in.
        """
        card = self.card
        scale = Scale(card.temperature, card.offset, card.threshold, card.surest)
        found = [np.empty(0)]
        for start in range(0, len(pictures), _PORTION):
            images = reduced(pictures[start : start + _PORTION], card.resolution, card.channels)
            found.append(scale.probability(self.judge.logits(images)))
        return np.concatenate(found)


def open_detector(folder: Path) -> Detector:
    """Return the detector in `folder` after checking every byte of it.

    Raises:
        DamagedError: A file is missing, extra or altered, or does not fit the card.
    """
    digest, card = read_card(folder)
    try:
        network = DetectorNetwork(card.channels, card.resolution, card.width)
        weights = load((folder / WEIGHTS).read_bytes())
        network.load_state_dict(weights)
    except (ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(f"{folder / WEIGHTS}: does not fit its card: {reason}") from error
    for key, value in weights.items():
        if not value.isfinite().all():
            raise DamagedError(f"{folder / WEIGHTS}: weight {key} is not finite.")
    return Detector(digest, card, Judge(network.eval(), card.resolution))


def open_examples(folder: Path, card: DetectorCard) -> NDArray[np.uint8]:
    """Return the pictures of a card's examples, in its order, uint8 [n, 1 or 3, R, R].

    Raises:
        DamagedError: They cannot be read, or are not the card's.
    """
    try:
        pictures: NDArray[np.uint8] = np.load(folder / EXAMPLES, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedError(f"{folder / EXAMPLES}: is not readable ({error}).") from error
    wanted = (len(card.examples), card.channels, card.resolution, card.resolution)
    if pictures.shape != wanted or pictures.dtype != np.uint8:
        raise DamagedError(
            f"{folder / EXAMPLES}: is {pictures.dtype} {pictures.shape}, the card wants {wanted}."
        )
    return pictures
