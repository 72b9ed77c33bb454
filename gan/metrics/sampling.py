"""Which images are measured: generated ones, the real ones, and noise; all by seed, in portions.

Generated classes follow the data's own shares, so that a model is not charged for a class balance
that it was not asked for. Sample i is the same image whatever the number of samples.

A portion says of 250 images what they are, in few bytes: any process that sees the same files makes
them alone. It does so on one thread, since kernels may differ by how many share the work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gan.bundle import Bundle, latents, open_bundle
from gan.errors import DamagedError, DivergedError, UsageError
from gan.metrics.moments import on_one_thread
from gan.modality import Items, modality
from gan.sections import EvaluateSpec
from gan.seeding import seed_at
from gan.split import split

_PORTION = 250
_REAL_AT_MOST = 50_000

Images = NDArray[np.uint8]
Ordinals = NDArray[np.int64]


class Portion(Protocol):
    """Up to 250 images of a stream."""

    def images(self, data: Callable[[], Items], _device: str = "cpu") -> Images:
        """Return them, uint8 [n, C, H, W].

        Args:
            data: Gives the real images, to those that need them.

        Raises:
            DivergedError: A generated image holds a value that is not finite.
            DamagedError: The bundle's folder holds another bundle by now, or on this machine.
        """


@dataclass(frozen=True, eq=False)
class RealPortion:
    """Real images.

    Attributes:
        ordinals: Which ones, [n].
    """

    ordinals: Ordinals

    def images(self, data: Callable[[], Items], _device: str = "cpu") -> Images:
        """Return them, uint8 [n, C, H, W]."""
        return np.asarray(data().images[self.ordinals])


@dataclass(frozen=True, eq=False)
class GeneratedPortion:
    """Images that a bundle makes.

    Attributes:
        bundle: The bundle.
        seed: Of the samples.
        start: Place of the first in the stream.
        classes: The bundle's number of the class of each, [n].
    """

    bundle: Bundle
    seed: int
    start: int
    classes: Ordinals

    @torch.no_grad()
    def images(self, _data: Callable[[], Items], device: str = "cpu") -> Images:
        """Return them, uint8 [n, C, H, W]."""
        card, digest = self.bundle.card, self.bundle.digest
        network = _network(self.bundle, device)
        # A whole portion is always made, and cut: convolutions may differ by batch size.
        z = latents(self.seed, "evaluate", self.start, count=_PORTION, z_dim=card.z_dim)
        c = torch.zeros(_PORTION, dtype=torch.int64)
        c[: len(self.classes)] = torch.from_numpy(self.classes)
        with on_one_thread():
            try:
                made = modality(card.modality).to_uint8(network(z.to(device), c.to(device)))
            except DivergedError as error:
                raise DivergedError(f"bundle {digest[:8]}: {error} Train it again.") from error
        return made[: len(self.classes)]


@dataclass(frozen=True, eq=False)
class NoisePortion:
    """Gaussian noise.

    Attributes:
        seed: Of the samples.
        start: Place of the first in the stream.
        count: How many, n.
        side_px: Of each.
        mean: Of each channel, [C].
        std: Of each channel, [C].
    """

    seed: int
    start: int
    count: int
    side_px: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def images(self, _data: Callable[[], Items], _device: str = "cpu") -> Images:
        """Return them, uint8 [n, C, H, W]; of RGBA no colour is above its alpha.

        A ceiling is a set of pictures, and that would be none.
        """
        random = np.random.default_rng(seed_at(self.seed, "noise", self.start))
        shape = (_PORTION, len(self.mean), self.side_px, self.side_px)
        drawn = random.standard_normal(shape, dtype=np.float32)
        drawn *= self.std.astype(np.float32)[:, None, None]
        drawn += self.mean.astype(np.float32)[:, None, None]
        images = drawn.round().clip(0, 255).astype(np.uint8)[: self.count]
        return np.minimum(images, images[:, 3:]) if len(self.mean) == 4 else images


def real_ordinals(data: Items) -> Ordinals:
    """Return which real images are measured, rising: all, or 50,000 drawn by the data's digest.

    The convention of the Frechet distance is to measure against all of them. Those held out of
    training (`gan.split`) are always among them.
    """
    if len(data) <= _REAL_AT_MOST:
        return np.arange(len(data), dtype=np.int64)
    trained, held_out = split(len(data), data.digest, data.groups)
    order = np.random.default_rng(seed_at(int(data.digest[:12], 16), "measured"))
    drawn = order.permutation(trained)[: _REAL_AT_MOST - len(held_out)]
    return np.sort(np.concatenate([drawn, held_out]))


def real_portions(ordinals: Ordinals) -> list[RealPortion]:
    """Return the portions of the real images, in the order of `ordinals`."""
    starts = range(0, len(ordinals), _PORTION)
    return [RealPortion(ordinals[start : start + _PORTION]) for start in starts]


def asked_classes(data: Items, spec: EvaluateSpec) -> Ordinals:
    """Return the data's class that each generated image is asked for, [samples] int64."""
    order = np.random.default_rng(seed_at(spec.seed, "real")).permutation(len(data))
    return data.labels[order[np.arange(spec.samples) % len(order)]]


def generated_portions(bundle: Bundle, data: Items, spec: EvaluateSpec) -> list[GeneratedPortion]:
    """Return the portions of the images that a bundle makes.

    Raises:
        UsageError: The bundle makes other images than the data holds, or lacks a class.
    """
    classes = _class_numbers(bundle, data)[asked_classes(data, spec)]
    return [
        GeneratedPortion(bundle, spec.seed, start, classes[start : start + _PORTION])
        for start in range(0, spec.samples, _PORTION)
    ]


def generated_at(bundle: Bundle, data: Items, spec: EvaluateSpec, places: Ordinals) -> Images:
    """Return the generated images at some places of the stream, uint8 [len(places), C, H, W].

    Raises:
        UsageError: The bundle makes other images than the data holds, or lacks a class.
        DivergedError: An image holds a value that is not finite.
    """
    portions = generated_portions(bundle, data, spec)
    made = {
        number: portions[number].images(lambda: data)
        for number in sorted({int(place) // _PORTION for place in places})
    }
    shape = (data.channels, data.resolution, data.resolution)
    found = [made[place // _PORTION][place % _PORTION] for place in places.tolist()]
    return np.stack(found) if found else np.empty((0, *shape), np.uint8)


def noise_portions(data: Items, spec: EvaluateSpec) -> list[NoisePortion]:
    """Return the portions of Gaussian noise with the data's mean and spread in each channel."""
    mean, std = _shades(data)
    return [
        NoisePortion(
            spec.seed, start, min(_PORTION, spec.samples - start), data.resolution, mean, std
        )
        for start in range(0, spec.samples, _PORTION)
    ]


def _network(bundle: Bundle, device: str) -> torch.nn.Module:
    """Return a bundle's generator, read from its files unless it is one that has it in memory."""
    is_read = type(bundle) is Bundle
    if not is_read:
        return bundle.generator(device)
    return _opened(bundle.folder, bundle.digest, device)


@lru_cache(maxsize=2)
def _opened(folder: Path, digest: str, device: str) -> torch.nn.Module:
    """Return a bundle's generator, opened once in a process, if it is the one that is meant."""
    bundle = open_bundle(folder)
    if bundle.digest != digest:
        raise DamagedError(
            f"{folder}: holds bundle {bundle.digest[:12]}, expected {digest[:12]}. Every machine "
            "must see the same workspace; then measure it again."
        )
    return bundle.generator(device)


def _shades(data: Items) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel of the real images, summed exactly."""
    counts = np.zeros((data.channels, 256), np.int64)
    for portion in real_portions(real_ordinals(data)):
        images = portion.images(lambda: data)
        for channel in range(data.channels):
            counts[channel] += np.bincount(images[:, channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)  # [C, 256]
    shades = np.arange(256)
    mean = shares @ shades
    return mean, np.sqrt((shares * (shades - mean[:, None]) ** 2).sum(axis=1))


def _class_numbers(bundle: Bundle, data: Items) -> Ordinals:
    """Return the bundle's class index for each of the data's, [K] int64."""
    card = bundle.card
    if (card.resolution, card.channels) != (data.resolution, data.channels):
        raise UsageError(
            f"bundle {bundle.digest[:8]}: makes {card.resolution} px images with {card.channels} "
            f"channels, the data has {data.resolution} px with {data.channels}; they cannot be "
            "compared. Train a bundle on this data first."
        )
    if missing := [name for name in data.classes if name not in card.classes]:
        raise UsageError(
            f"bundle {bundle.digest[:8]}: knows no class {missing[0]!r} of the data (it has "
            f"{len(card.classes)}). Train a bundle on this data first."
        )
    return np.array([card.classes.index(name) for name in data.classes], dtype=np.int64)
