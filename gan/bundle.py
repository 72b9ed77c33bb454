"""The bundle: a trained model as plain files, named everywhere by its digest.

    generator.safetensors   averaged weights (EMA), float16: what assets are minted from
    critic.safetensors      the critic, float16: what the next training starts from
    card.json               what it was made from, and how to build the networks
    SHA256SUMS              written last; its own SHA-256 is the bundle's digest

A card holds no time and no host, so the same training gives the same digest, killed or not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gan.durable import SUMS, read_json, verify_sums, write_atomically, write_json, write_sums
from gan.errors import DamagedError
from gan.modality import modality
from gan.seeding import generator_at

GENERATOR = "generator.safetensors"
CRITIC = "critic.safetensors"
CARD = "card.json"


class Card(BaseModel):
    """What a bundle is: how to build its networks, and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    recipe: str
    modality: Literal["image"] = "image"
    preset: str
    resolution: int
    channels: int
    z_dim: int
    classes: list[str] = Field(min_length=1)
    data_digest: str
    start_digest: str | None
    kimg: float
    total_kimg: float  # with the trainings that it started from
    seed: int
    precision: str
    torch: str
    train: dict[str, Any]  # the recipe's section, as a record
    status: Literal["healthy", "degraded"] = "healthy"  # degraded: the guards gave up on it
    rollbacks: int = 0  # to earlier healthy checkpoints, each with other parameters
    gamma: float | None = None  # as chosen from the data, where the recipe says auto


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file was checked against its digest.

    Attributes:
        folder: Where it lies.
        digest: Its identity, 64 hex digits.
        card: Its card.
    """

    folder: Path
    digest: str
    card: Card

    def generator(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> nn.Module:
        """Return G in evaluation mode: (z [N, z_dim], c [N]) -> images, about [-1, 1].

        Raises:
            DamagedError: The weights are not finite, or not of the shapes that the card asks for.
        """
        return self._network(GENERATOR, "build_generator", device, dtype)

    def critic(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> nn.Module:
        """Return D in evaluation mode: (images, c [N]) -> logits [N].

        Raises:
            DamagedError: The weights are not finite, or not of the shapes that the card asks for.
        """
        return self._network(CRITIC, "build_critic", device, dtype)

    def _network(
        self, name: str, builder: str, device: torch.device | str, dtype: torch.dtype
    ) -> nn.Module:
        card = self.card
        build = getattr(modality(card.modality), builder)
        shape = (card.preset, card.resolution, card.channels, len(card.classes))
        try:
            network: nn.Module = build(*shape, dtype)
            weights = load((self.folder / name).read_bytes())
            network.load_state_dict(weights)
        except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DamagedError(f"{self.folder / name}: does not fit its card: {reason}") from error
        for key, value in weights.items():
            if not value.isfinite().all():
                raise DamagedError(f"{self.folder / name}: weight {key} is not finite.")
        return network.eval().to(device)


def pack(folder: Path, generator: nn.Module, critic: nn.Module, card: Card) -> Bundle:
    """Write a bundle into `folder` and return it, read back and verified.

    Raises:
        DamagedError: A weight is not finite in float16.
    """
    for name, network in ((GENERATOR, generator), (CRITIC, critic)):
        state = {key: _half(key, value) for key, value in network.state_dict().items()}
        write_atomically(folder / name, save(state))
    write_json(folder / CARD, card.model_dump())
    write_sums(folder)
    return open_bundle(folder)


def open_bundle(folder: Path) -> Bundle:
    """Return the bundle in `folder` after checking every byte of it.

    Raises:
        DamagedError: A file is missing, extra or altered, or the card is malformed.
    """
    if not (folder / SUMS).is_file():
        raise DamagedError(
            f"{folder}: no bundle here ({SUMS} is missing). Train or fetch it first."
        )
    digest = verify_sums(folder)
    try:
        card = Card.model_validate(read_json(folder / CARD))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"{folder / CARD}: {place}: {first['msg']}.") from error
    return Bundle(folder, digest, card)


def latents(seed: int, *place: int | str, count: int, z_dim: int) -> Tensor:
    """Return [count, z_dim] standard normal float32 drawn on the CPU, equal on every device."""
    return torch.randn(count, z_dim, generator=generator_at(seed, *place))


def _half(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():  # a counter of batch normalisation
        return value.detach().cpu().contiguous()
    half = value.detach().to("cpu", torch.float16).contiguous()
    if not half.isfinite().all():
        raise DamagedError(f"bundle: weight {key} is not finite in float16; nothing was packed.")
    return half
