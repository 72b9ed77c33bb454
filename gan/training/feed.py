"""What one iteration needs, as tensors on the device: real images, latents, draws, the schedule.

Everything is a function of the seed and of the images shown so far, so nothing is saved or
restored. A data set that fits stays on the device as uint8; a larger one is read from its memory
map by a thread that is one iteration ahead.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.bundle import latents
from gan.hardware import free_bytes
from gan.modality import Items, Modality
from gan.sections import TrainSpec
from gan.seeding import generator_at
from gan.training.sampler import indices
from gan.training.team import Team

ROLES = ("D", "G")
_RESIDENT_SHARE = {"cpu": 0.25, "cuda": 0.4}  # of the memory that is free


@dataclass(frozen=True)
class Half:
    """The inputs of one network's step: this process's slice of the batch, on the device.

    Attributes:
        reals: uint8 [N, ...].
        c: Class indices, int64 [N].
        z: Latents, float32 [N, z_dim].
        draws: Uniform, float32 [2 K + 1, N]: of the augmentation of reals and of fakes, and of the
            mirroring.
    """

    reals: Tensor
    c: Tensor
    z: Tensor
    draws: Tensor


class Feed:
    """Hands out the inputs of an iteration by its place."""

    def __init__(
        self, data: Items, train: NDArray[np.int64], room: Modality, spec: TrainSpec, z_dim: int
    ) -> None:
        """Feed the images at ordinals `train` of `data`; `place` must follow.

        Args:
            data: The prepared data.
            train: Ordinals of the images to train on, int64 [n].
            room: The modality.
            spec: Seed and batch size.
            z_dim: Size of a latent.
        """
        self._data, self._train, self._room, self._spec = data, train, room, spec
        self._z_dim = z_dim
        self._attempt = 0
        self._ahead: tuple[int, Future[list[Tensor]]] | None = None
        self._thread = ThreadPoolExecutor(1, "feed")

    def place(
        self, device: torch.device, team: Team, *, allowance_bytes: float | None = None
    ) -> None:
        """Choose where inputs go and which slice of a batch is ours; load what fits there.

        Args:
            device: Of the inputs.
            team: The processes that share a batch.
            allowance_bytes: How much the images may take there, else they are streamed; a share of
                what is free if not given. It changes no input.
        """
        self._device, self._team = device, team
        self._labels = torch.from_numpy(np.asarray(self._data.labels)[self._train]).to(device)
        if allowance_bytes is None:
            allowance_bytes = _RESIDENT_SHARE[device.type] * free_bytes(device)
        self._resident = (
            torch.from_numpy(np.asarray(self._data.images)[self._train]).to(device)
            if self._data.images.nbytes <= allowance_bytes
            else None
        )

    @property
    def streams(self) -> bool:
        """Whether the images stay on disk because memory is too small for them."""
        return self._resident is None

    def restart(self, attempt: int) -> None:
        """Draw other latents and augmentations from here on: roll-back number `attempt`."""
        self._attempt = attempt

    def at(self, nimg: int) -> tuple[Half, Half]:
        """Return the inputs of the critic's and of the generator's step after `nimg` images."""
        reals = self._reals(nimg)
        critic, generator = (
            self._half(role, nimg, images) for role, images in zip(ROLES, reals, strict=True)
        )
        return critic, generator

    def _half(self, role: str, nimg: int, reals: Tensor) -> Half:
        spec, mine = self._spec, self._team.slice_of(self._spec.batch_size)
        again = (self._attempt,) if self._attempt else ()
        z = latents(spec.seed, "z", role, nimg, *again, count=spec.batch_size, z_dim=self._z_dim)[
            mine
        ]
        generator = generator_at(spec.seed, "augment", role, nimg, *again, device=self._device)
        batch, device = spec.batch_size, self._device
        draws = torch.cat(
            [
                self._room.augment_draws(batch, device, generator),
                self._room.augment_draws(batch, device, generator),
                torch.rand(1, batch, device=device, generator=generator),
            ]
        )
        places = sent(self._places(role, nimg), device)
        return Half(reals, self._labels[places], sent(z, device), draws[:, mine])

    def _reals(self, nimg: int) -> list[Tensor]:
        if self._resident is not None:
            resident = self._resident
            return [resident[sent(self._places(role, nimg), self._device)] for role in ROLES]
        if self._ahead is None or self._ahead[0] != nimg:
            self._ahead = nimg, self._thread.submit(self._read, nimg)
        images = self._ahead[1].result()
        following = nimg + self._spec.batch_size
        self._ahead = following, self._thread.submit(self._read, following)
        return [sent(part, self._device) for part in images]

    def _read(self, nimg: int) -> list[Tensor]:
        """Read both halves from the memory map, in rising order: neighbours lie on one page."""
        halves = []
        for role in ROLES:
            places = self._train[self._places(role, nimg).numpy()]
            order = np.argsort(places)
            images = np.empty((len(places), *self._data.images.shape[1:]), np.uint8)
            images[order] = self._data.images[places[order]]
            half = torch.from_numpy(images)
            halves.append(half.pin_memory() if self._device.type == "cuda" else half)
        return halves

    def _places(self, role: str, nimg: int) -> Tensor:
        """Return our slice of the batch as places in the training part, int64 on the CPU."""
        spec = self._spec
        chosen = indices(spec.seed, role, nimg, spec.batch_size, len(self._train))
        return chosen[self._team.slice_of(spec.batch_size)]


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a host's tensor on the device; the host does not wait until it has arrived."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
