"""Feature networks, pinned by digest: uint8 images in, float32 features out.

An extractor is a folder: `extractor.safetensors`, `card.json`, `SHA256SUMS`. Its digest is part of
every metric id, so figures of different extractors are never compared. There are three kinds, and
one way to read with them:

    domain       learnt from the recipe's own images (`gan.metrics.domain`)
    inception    the network of the FID, its weights given by the user (`gan.metrics.weights`)
    backbone     a network of torchvision, its weights given by the user
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gan.durable import SUMS, remove, write_atomically, write_json, write_sums
from gan.errors import DamagedError, UsageError
from gan.metrics.cards import CARD, WEIGHTS, DomainCard, ExtractorCard, InceptionCard, read_card
from gan.modality import Items, modality

# Every forward pass has this many images, the last one padded: convolution kernels may differ by
# batch size, and an image's features must not depend on how many others are measured.
# Large networks read few at a time on a processor: there it costs nothing, and padding does.
_CHUNK, _LARGE_CHUNK, _LARGE_CPU_CHUNK = 250, 100, 4

Images = NDArray[np.uint8]
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Reading:
    """What the extractor sees in N images.

    Attributes:
        features: [N, dims] float32.
        predicted: The class of its own card it takes each for, int64 [N]; None where it was not
            trained to tell classes.
    """

    features: NDArray[np.float32]
    predicted: NDArray[np.int64] | None


class Extractor:
    """A feature network whose every byte was checked, ready to read images."""

    def __init__(
        self,
        digest: str,
        card: ExtractorCard,
        network: nn.Module,
        device: str,
        precision: torch.dtype,
    ) -> None:
        """Take a loaded network; `load_extractor` is the way to get one."""
        self.digest = digest
        self.card = card
        self.dims = card.dims
        self.device = device
        self.precision = precision
        self._network = network.eval().to(device)
        self._from_uint8 = modality(card.modality).from_uint8

    def knows(self, data: Items) -> bool:
        """Return whether it tells the classes of these data apart, so that accuracy has a meaning.

        A pinned extractor outlives a change of classes: features and distances stand.
        """
        card = self.card
        return (
            isinstance(card, DomainCard)
            and card.task == "classes"
            and card.classes == list(data.classes)
        )

    def move(self, device: torch.device | str) -> None:
        """Compute on `device` from now on."""
        if torch.device(device) != torch.device(self.device):
            self.device = str(device)
            self._network.to(device)

    def require_fit(self, data: Items) -> None:
        """Refuse images that the network does not take: a domain extractor takes one shape alone.

        Raises:
            UsageError: The resolution or the channels differ.
        """
        card = self.card
        if not isinstance(card, DomainCard):
            return
        if (card.channels, card.resolution) != (data.channels, data.resolution):
            raise UsageError(
                f"extractor {self.digest[:8]}: was trained on {card.resolution} px images with "
                f"{card.channels} channels, the data has {data.resolution} px with "
                f"{data.channels}. Make another: ganmill extractor renew RECIPE"
            )

    def features(self, images: Images) -> NDArray[np.float32]:
        """Return the features [N, dims] float32 of images [N, C, H, W] uint8.

        Raises:
            UsageError: The network does not take images of this shape.
        """
        return self.read(images).features

    @torch.no_grad()
    def read(self, images: Images) -> Reading:
        """Return features and predicted classes of images [N, C, H, W] uint8; N may be 0.

        Raises:
            UsageError: The network does not take images of this shape.
        """
        self._require_shape(images)
        chunk, tells = self._chunk(), _tells_classes(self.card)
        features = np.empty((len(images), self.dims), np.float32)
        predicted = np.empty(len(images), np.int64)
        for start in range(0, len(images), chunk):
            portion = images[start : start + chunk]
            padded = np.zeros((chunk, *images.shape[1:]), np.uint8)
            padded[: len(portion)] = portion
            seen, logits = self._forward(padded)
            features[start : start + chunk] = seen[: len(portion)].float().cpu().numpy()
            if tells and logits is not None:
                predicted[start : start + chunk] = logits[: len(portion)].argmax(1).cpu().numpy()
        return Reading(features, predicted if tells else None)

    def _chunk(self) -> int:
        if isinstance(self.card, DomainCard):
            return _CHUNK
        return _LARGE_CPU_CHUNK if torch.device(self.device).type == "cpu" else _LARGE_CHUNK

    def _forward(self, images: Images) -> tuple[Tensor, Tensor | None]:
        """Return the features [N, dims] of one chunk, and the logits where there are any."""
        if not isinstance(self.card, DomainCard):
            return self._network(torch.from_numpy(_to_rgb(images)).to(self.device)), None
        inputs = self._from_uint8(torch.from_numpy(images)).to(
            self.device, memory_format=torch.channels_last
        )
        narrow = self.precision != torch.float32
        with torch.autocast(inputs.device.type, self.precision, enabled=narrow):
            features, logits = self._network(inputs)
        return features, logits

    def _require_shape(self, images: Images) -> None:
        card, shape = self.card, images.shape[1:]
        if isinstance(card, DomainCard):
            fits = shape == (card.channels, card.resolution, card.resolution)
            wanted = f"[{card.channels}, {card.resolution}, {card.resolution}]"
        else:
            fits = len(shape) == 3 and shape[0] in {1, 3, 4}
            wanted = "[1 or 3 or 4, H, W]"
        if not fits or images.dtype != np.uint8:
            raise UsageError(
                f"extractor {self.digest[:8]}: images are {images.dtype} {list(shape)}, wanted "
                f"uint8 {wanted}. Make one for these images: ganmill extractor renew RECIPE"
            )


def load_extractor(
    folder: Path,
    device: str = "cpu",
    *,
    precision: torch.dtype = torch.float32,
    wanted: str | None = None,
) -> Extractor:
    """Return the extractor in `folder` after checking every byte of it.

    Args:
        folder: Where it is pinned.
        device: Where it computes.
        precision: Of the activations. bfloat16 is for the measurements during a training alone,
            which are compared with each other; what is reported is measured in float32.
        wanted: What the recipe asks for (`evaluate.extractor`); another one is refused.

    Raises:
        DamagedError: A file is missing, extra or altered, or the weights do not fit the card.
        UsageError: It is another one than wanted.
    """
    digest, card = read_card(folder)
    if wanted is not None and card.name != wanted:
        raise UsageError(
            f"{folder}: is {card.name!r}, but evaluate.extractor asks for {wanted!r}. A pinned "
            f"extractor changes by command alone: ganmill extractor renew {folder.parent.name}"
        )
    try:
        network = build_network(card, load((folder / WEIGHTS).read_bytes()), precision)
    except (ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(
            f"{folder / WEIGHTS}: does not fit its card: {reason}. "
            "Make it anew: ganmill extractor renew RECIPE"
        ) from error
    return Extractor(digest, card, network, device, precision)


def build_network(card: ExtractorCard, state: State, precision: torch.dtype) -> nn.Module:
    """Return the network that a card describes, with these weights.

    Raises:
        ValueError: The weights are not those of such a network.
    """
    room = modality(card.modality)
    if isinstance(card, InceptionCard):
        return room.build_inception(state, precision)
    if not isinstance(card, DomainCard):
        return room.build_backbone(card.name, state, precision)
    network = room.build_features(card.channels, card.resolution, card.outputs)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return network.to(memory_format=torch.channels_last)


def write_extractor(folder: Path, state: State, card: ExtractorCard) -> str:
    """Write an extractor's folder, its list of digests last; return that list's digest.

    Equal weights and an equal card give equal bytes. Until the list is there, the folder counts for
    nothing: a killed writer leaves no half of an extractor.
    """
    remove(folder / SUMS)
    whole = {name: value.contiguous() for name, value in state.items()}
    write_atomically(folder / WEIGHTS, save(whole))
    write_json(folder / CARD, card.model_dump())
    return write_sums(folder)


def _tells_classes(card: ExtractorCard) -> bool:
    return isinstance(card, DomainCard) and card.task == "classes"


def _to_rgb(images: Images) -> Images:
    """Return images [N, 1, 3 or 4, H, W] as [N, 3, H, W]: grey repeated, RGBA laid on white.

    RGBA is premultiplied, so laid on white a colour is itself plus what the alpha lets through.
    """
    if images.shape[1] == 1:
        return images.repeat(3, axis=1)
    if images.shape[1] == 3:
        return images
    through = 255 - images[:, 3:].astype(np.uint16)
    laid: Images = np.minimum(images[:, :3] + through, 255).astype(np.uint8)
    return laid
