"""Fresh images of several bundles: what the detector learns from and is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gan.bundle import Bundle, latents
from gan.errors import UsageError
from gan.inference import generate
from gan.modality import Items, modality
from gan.seeding import generator_at

_LEAST_TRUNCATION = 0.5  # campaigns draw nearer to the mean: half of the images are as theirs


@dataclass(frozen=True)
class Maker:
    """A bundle with its network, ready to draw.

    Attributes:
        bundle: The bundle.
        network: Its generator.
        numbers: The bundle's class for each of the data's, int64 [K]; -1 where it has none.
    """

    bundle: Bundle
    network: nn.Module
    numbers: NDArray[np.int64]

    def draw(self, labels: NDArray[np.int64], *place: int | str) -> NDArray[np.uint8]:
        """Return an image for each label, uint8 [N, C, R, R], a function of bundle and place.

        Args:
            labels: Classes of the data, int64 [N]; where the bundle lacks one, any of its own.
            place: Where in the work; its first part is the seed.
        """
        count = len(labels)
        card, seed, rest = self.bundle.card, int(place[0]), place[1:]
        where = ("detector", *rest, self.bundle.digest)
        z = latents(seed, *where, "latents", count=count, z_dim=card.z_dim)
        generator = generator_at(seed, *where, "classes")
        nearer = torch.rand(count, 1, generator=generator) * (1 - _LEAST_TRUNCATION)
        z = z * torch.where(torch.rand(count, 1, generator=generator) < 0.5, 1 - nearer, 1.0)
        any_class = torch.randint(len(card.classes), (count,), generator=generator)
        wanted = torch.from_numpy(self.numbers[labels])
        c = torch.where(wanted >= 0, wanted, any_class)
        return generate(modality(card.modality), self.network, z, c)


def open_makers(bundles: Sequence[Bundle], data: Items) -> list[Maker]:
    """Return what draws the images of each bundle.

    Raises:
        UsageError: There is none, or one makes other images than the data holds.
        DamagedError: The weights are not those of the card.
    """
    if not bundles:
        raise UsageError("detector: no model to tell from real images. Promote one first.")
    makers = []
    for bundle in bundles:
        card = bundle.card
        if (card.resolution, card.channels) != (data.resolution, data.channels):
            raise UsageError(
                f"detector: bundle {bundle.digest[:8]} makes {card.resolution} px images with "
                f"{card.channels} channels, the data has {data.resolution} px with "
                f"{data.channels}. Leave that version out."
            )
        numbers = [card.classes.index(n) if n in card.classes else -1 for n in data.classes]
        makers.append(Maker(bundle, bundle.generator(), np.array(numbers, np.int64)))
    return makers


def are_relatives(one: Bundle, other: Bundle) -> bool:
    """Return whether one of two bundles was trained from the other."""
    return one.digest == other.card.start_digest or other.digest == one.card.start_digest


def drawn(
    makers: Sequence[Maker], labels: NDArray[np.int64], seed: int, name: str
) -> tuple[NDArray[np.uint8], list[Maker]]:
    """Return an image for each label, evenly from all models, and who made each.

    Args:
        makers: At least one.
        labels: Classes of the data, int64 [N].
        seed: Of the draws, with `name`.
        name: What they are for.
    """
    images, by, start = [], [], 0
    for maker, count in shared_out(len(labels), makers, 0):
        images.append(maker.draw(labels[start : start + count], seed, name))
        by += [maker] * count
        start += count
    return np.concatenate(images), by


def shared_out(count: int, makers: Sequence[Maker], turn: int) -> list[tuple[Maker, int]]:
    """Return how many of `count` images each model draws: as even as can be, the rest in turn."""
    each, rest = divmod(count, len(makers))
    shares = [each + ((place - turn) % len(makers) < rest) for place in range(len(makers))]
    return [(maker, share) for maker, share in zip(makers, shares, strict=True) if share]
