"""Feature networks, pinned by digest: uint8 images in, float32 features out.

An extractor is a folder: `extractor.safetensors`, `card.json`, `SHA256SUMS`. Its digest is part of
every metric id, so figures of different extractors are never compared.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from gan.durable import SUMS, read_json, verify_sums
from gan.errors import DamagedError, UsageError
from gan.modality import Items, modality

WEIGHTS = "extractor.safetensors"
CARD = "card.json"

# Every forward pass has this many images, the last one padded: convolution kernels may differ by
# batch size, and an image's features must not depend on how many others are measured.
_CHUNK = 250


class ExtractorCard(BaseModel):
    """What an extractor is: how to build its network, and what it was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: Literal["domain"] = "domain"
    modality: Literal["image"] = "image"
    task: Literal["classes", "rotation"]  # what it was trained to tell
    classes: list[str] = Field(min_length=1)
    resolution: int
    channels: int
    dims: int
    accuracy: float = Field(ge=0.0, le=1.0)  # on the held-out tenth
    held_out: int
    images_shown: int
    seed: int
    data_digest: str
    precision: str
    torch: str

    @property
    def outputs(self) -> int:
        """Number of logits: one a class, or one a quarter turn."""
        return len(self.classes) if self.task == "classes" else 4


@dataclass(frozen=True)
class Reading:
    """What the extractor sees in N images.

    Attributes:
        features: [N, dims] float32.
        predicted: The class it takes each for, int64 [N]; of no use where the task is rotation.
    """

    features: NDArray[np.float32]
    predicted: NDArray[np.int64]


class Extractor:
    """A feature network whose every byte was checked, ready to read images."""

    def __init__(self, digest: str, card: ExtractorCard, network: nn.Module, device: str) -> None:
        """Take a loaded network; `load_extractor` is the way to get one."""
        self.digest = digest
        self.card = card
        self.dims = card.dims
        self.device = device
        self._network = network.eval().to(device).to(memory_format=torch.channels_last)
        self._from_uint8 = modality(card.modality).from_uint8

    @property
    def knows_classes(self) -> bool:
        """Whether it was trained to tell the data's classes apart."""
        return self.card.task == "classes"

    def move(self, device: torch.device | str) -> None:
        """Compute on `device` from now on."""
        if torch.device(device) != torch.device(self.device):
            self.device = str(device)
            self._network.to(device)

    def require_fit(self, data: Items) -> None:
        """Refuse data other than it was trained on.

        Raises:
            UsageError: The classes or the shape of the images differ.
        """
        card, name = self.card, f"extractor {self.digest[:8]}"
        if card.classes != list(data.classes):
            raise UsageError(
                f"{name}: was trained on {len(card.classes)} classes, other than the "
                f"{len(data.classes)} of this data. Train it again: dvc repro extractor"
            )
        if (card.channels, card.resolution) != (data.channels, data.resolution):
            raise UsageError(
                f"{name}: was trained on {card.resolution} px images with {card.channels} "
                f"channels, the data has {data.resolution} px with {data.channels}. "
                "Train it again: dvc repro extractor"
            )

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features [N, dims] float32 of images [N, C, H, W] uint8.

        Raises:
            UsageError: The images have another shape than the network was made for.
        """
        return self.read(images).features

    @torch.no_grad()
    def read(self, images: NDArray[np.uint8]) -> Reading:
        """Return features and predicted classes of images [N, C, H, W] uint8; N may be 0.

        Raises:
            UsageError: The images have another shape than the network was made for.
        """
        card = self.card
        wanted = (card.channels, card.resolution, card.resolution)
        if images.shape[1:] != wanted or images.dtype != np.uint8:
            raise UsageError(
                f"extractor {self.digest[:8]}: images are {images.dtype} {list(images.shape[1:])}, "
                f"wanted uint8 {list(wanted)}. Train an extractor on this data: dvc repro extractor"
            )
        features = np.empty((len(images), self.dims), np.float32)
        predicted = np.empty(len(images), np.int64)
        for start in range(0, len(images), _CHUNK):
            portion = images[start : start + _CHUNK]
            padded = np.zeros((_CHUNK, *wanted), np.uint8)
            padded[: len(portion)] = portion
            inputs = self._from_uint8(torch.from_numpy(padded)).to(
                self.device, memory_format=torch.channels_last
            )
            seen, logits = self._network(inputs)
            features[start : start + _CHUNK] = seen[: len(portion)].cpu().numpy()
            predicted[start : start + _CHUNK] = logits[: len(portion)].argmax(1).cpu().numpy()
        return Reading(features, predicted)


def load_extractor(folder: Path, device: str = "cpu") -> Extractor:
    """Return the extractor in `folder` after checking every byte of it.

    Raises:
        DamagedError: A file is missing, extra or altered, or the weights do not fit the card.
    """
    if not (folder / SUMS).is_file():
        raise DamagedError(
            f"{folder}: no extractor here ({SUMS} is missing). Make it with: dvc repro extractor"
        )
    digest = verify_sums(folder)
    try:
        card = ExtractorCard.model_validate(read_json(folder / CARD))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{folder / CARD}: {place}: {first['msg']}.") from error
    network = modality(card.modality).build_features(card.channels, card.resolution, card.outputs)
    try:
        network.load_state_dict(load((folder / WEIGHTS).read_bytes()))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DamagedError(f"{folder / WEIGHTS}: does not fit its card: {reason}") from error
    return Extractor(digest, card, network, device)
