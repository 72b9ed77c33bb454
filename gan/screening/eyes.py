"""The recipe's own extractor, as the screens use it: features and class probabilities at once."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load

from gan.errors import DamagedError
from gan.metrics.cards import WEIGHTS, DomainCard, read_card
from gan.metrics.extractors import build_network
from gan.modality import modality
from gan.screening.chunks import chunks

# A domain extractor is trained with targets that give this share to all classes alike
# (`gan.metrics.domain`), and its probabilities are so too: that is taken out of them again, or of
# two classes none would ever seem less likely than a twentieth.
SMOOTHING = 0.1

Images = NDArray[np.uint8]


class Seen(NamedTuple):
    """What the extractor sees in N images.

    Attributes:
        features: [N, D] float32.
        probabilities: Of each class of its own card, [N, K] float64, 0..1, four decimals.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]


class Eyes:
    """A domain extractor whose every byte was checked."""

    def __init__(
        self, folder: Path, digest: str, card: DomainCard, network: torch.nn.Module
    ) -> None:
        """Take a loaded network; `open_eyes` is the way to get one."""
        self._folder = folder
        self.digest = digest
        self.card = card
        self._network = network.eval()
        self._room = modality(card.modality)

    @torch.no_grad()
    def read(self, images: Images) -> Seen:
        """Return what is seen in images [N, C, H, W] uint8 of the card's shape.

        Raises:
            DamagedError: It is not finite: no comparison would hold, and each image would pass.
        """
        features = np.empty((len(images), self.card.dims), np.float32)
        probabilities = np.empty((len(images), self.card.outputs), np.float64)
        for some, places in chunks(images):
            count = places.stop - places.start
            inputs = self._room.from_uint8(torch.from_numpy(some))
            seen, logits = self._network(inputs.contiguous(memory_format=torch.channels_last))
            features[places] = seen[:count].numpy()
            probabilities[places] = logits[:count].double().softmax(1).numpy()
        if not (np.isfinite(features).all() and np.isfinite(probabilities).all()):
            raise DamagedError(
                f"{self._folder / WEIGHTS}: the weights are not finite, or make features that are "
                "not. Make it anew: ganmill extractor renew RECIPE"
            )
        plain = (probabilities - SMOOTHING / self.card.outputs) / (1 - SMOOTHING)
        return Seen(features, plain.clip(0, 1).round(4))


def open_eyes(folder: Path, resolution: int, channels: int) -> Eyes | str:
    """Return the extractor in `folder`, or a sentence: why it cannot look at such images.

    Raises:
        DamagedError: A file is missing, extra or altered, or the weights do not fit the card.
    """
    digest, card = read_card(folder)
    if not isinstance(card, DomainCard):
        return f"the extractor is {card.name!r}, which knows no class of the recipe"
    if (card.channels, card.resolution) != (channels, resolution):
        return (
            f"the extractor sees {card.resolution} px with {card.channels} channels, "
            f"the bundle makes {resolution} px with {channels}"
        )
    try:
        network = build_network(card, load((folder / WEIGHTS).read_bytes()), torch.float32)
    except (ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(
            f"{folder / WEIGHTS}: does not fit its card: {reason}. "
            "Make it anew: ganmill extractor renew RECIPE"
        ) from error
    return Eyes(folder, digest, card, network)
