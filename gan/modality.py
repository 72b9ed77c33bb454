"""What a kind of media must offer so that training, metrics and assets need not know it.

A modality is a module (a room beside `gan/image/`) with these names. Text and video come as one
more room and one more line in `_ROOMS`.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Items(Protocol):
    """A prepared data set: equal-sized items of one kind, with a class each."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """All items, uint8, [N, ...], possibly memory-mapped."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of each item, int64, [N]."""

    @property
    def groups(self) -> NDArray[np.int64]:
        """Equal numbers belong together, trained on or held out, int64, [N]."""

    @property
    def classes(self) -> list[str]:
        """Class names; at least one."""

    @property
    def digest(self) -> str:
        """SHA-256 that names this data set."""

    @property
    def resolution(self) -> int:
        """Side in px."""

    @property
    def channels(self) -> int:
        """1 (grey), 3 (RGB) or 4 (RGBA, premultiplied)."""

    def __len__(self) -> int:
        """N."""


class Modality(Protocol):
    """The names that a room offers."""

    def open_dataset(self, folder: Path) -> Items:
        """Open what `prepare` wrote, verified."""

    def build_generator(
        self, preset: str, resolution: int, channels: int, num_classes: int, dtype: torch.dtype
    ) -> nn.Module:
        """Return G: (z [N, z_dim] float32, c [N] int64) -> items [N, ...] float32."""

    def build_critic(
        self, preset: str, resolution: int, channels: int, num_classes: int, dtype: torch.dtype
    ) -> nn.Module:
        """Return D: (items [N, ...] float32, c [N] int64) -> logits [N] float32."""

    def build_features(self, channels: int, resolution: int, num_classes: int) -> nn.Module:
        """Return the metric's network: items -> (features [N, d], logits [N, num_classes])."""

    def build_inception(self, state: Mapping[str, Tensor], precision: torch.dtype) -> nn.Module:
        """Return the FID's network: items uint8 [N, 3, H, W] -> features [N, 2048] float32.

        Raises:
            ValueError: A weight is missing or misshapen.
        """

    def build_backbone(
        self, name: str, state: Mapping[str, Tensor], precision: torch.dtype
    ) -> nn.Module:
        """Return a named network: items uint8 [N, 3, H, W] -> features [N, d] float32.

        Raises:
            ValueError: There is no such network, or a weight is missing or misshapen.
        """

    def z_dim(self, preset: str) -> int:
        """Size of a preset's latent."""

    def from_uint8(self, items: Tensor) -> Tensor:
        """Map stored uint8 items to float32 in [-1, 1]."""

    def to_uint8(self, items: Tensor) -> NDArray[np.uint8]:
        """Map float items in about [-1, 1] to uint8, clipped."""

    def augment_draws(
        self, count: int, device: torch.device | str, generator: torch.Generator
    ) -> Tensor:
        """Return what `augment` needs for `count` items: [K, N] float32, uniform in [0, 1)."""

    def augment(self, items: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
        """Return augmented items, differentiable twice; nothing is read back to the host.

        Each transform fires for an item with probability `strength`, a 0-dim float32 tensor.
        """

    def flip(self, items: Tensor, draws: Tensor) -> Tensor:
        """Return items, mirrored where draws [N] in [0, 1) say so and mirroring makes sense."""

    def grid(self, items: NDArray[np.uint8], columns: int, scale: int = 1) -> Any:  # PIL image
        """Return one picture of many items."""


_ROOMS = {"image": "gan.image.room"}


def modality(name: str) -> Modality:
    """Return the room of a modality.

    Raises:
        KeyError: No such modality; names come from cards that were checked, not from users.
    """
    return cast("Modality", importlib.import_module(_ROOMS[name]))
