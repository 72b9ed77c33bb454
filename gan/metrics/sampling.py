"""Which images are measured: generated ones, the real ones, and noise; all by seed, in portions.

Generated classes follow the data's own shares, so that a model is not charged for a class balance
that it was not asked for. Sample i is the same image whatever the number of samples.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from gan.bundle import Bundle, latents
from gan.errors import DivergedError, UsageError
from gan.modality import Items, modality
from gan.sections import EvaluateSpec
from gan.seeding import seed_at
from gan.split import split

_PORTION = 250
_REAL_AT_MOST = 50_000

Images = NDArray[np.uint8]
Ordinals = NDArray[np.int64]


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


def real_images(data: Items, ordinals: Ordinals) -> Iterator[Images]:
    """Yield portions of the real images uint8 [n, C, H, W], in the order of `ordinals`."""
    for start in range(0, len(ordinals), _PORTION):
        yield np.asarray(data.images[ordinals[start : start + _PORTION]])


def asked_classes(data: Items, spec: EvaluateSpec) -> Ordinals:
    """Return the data's class that each generated image is asked for, [samples] int64."""
    order = np.random.default_rng(seed_at(spec.seed, "real")).permutation(len(data))
    return data.labels[order[np.arange(spec.samples) % len(order)]]


def generated_images(
    bundle: Bundle, data: Items, spec: EvaluateSpec, device: torch.device | str = "cpu"
) -> Iterator[Images]:
    """Yield portions of generated images uint8 [n, C, H, W].

    Raises:
        UsageError: The bundle makes other images than the data holds, or lacks a class.
        DivergedError: An image holds a value that is not finite.
    """
    numbers = _class_numbers(bundle, data)
    network = bundle.generator(str(device))
    classes = numbers[asked_classes(data, spec)]
    for start in range(0, spec.samples, _PORTION):
        yield _portion(bundle, network, classes, spec.seed, start)


def generated_at(bundle: Bundle, data: Items, spec: EvaluateSpec, places: Ordinals) -> Images:
    """Return the generated images at some places of the stream, uint8 [len(places), C, H, W].

    Raises:
        UsageError: The bundle makes other images than the data holds, or lacks a class.
        DivergedError: An image holds a value that is not finite.
    """
    classes = _class_numbers(bundle, data)[asked_classes(data, spec)]
    network = bundle.generator("cpu")
    portions: dict[int, Images] = {}
    for start in sorted({int(place) // _PORTION * _PORTION for place in places}):
        portions[start] = _portion(bundle, network, classes, spec.seed, start)
    shape = (data.channels, data.resolution, data.resolution)
    found = [portions[place // _PORTION * _PORTION][place % _PORTION] for place in places.tolist()]
    return np.stack(found) if found else np.empty((0, *shape), np.uint8)


def noise_images(data: Items, spec: EvaluateSpec) -> Iterator[Images]:
    """Yield portions of Gaussian noise with the data's mean and spread in each channel.

    Of RGBA no colour is above its alpha: a ceiling is a set of pictures, and that would be none.
    """
    mean, std = _shades(data)
    shape = (data.channels, data.resolution, data.resolution)
    for start in range(0, spec.samples, _PORTION):
        random = np.random.default_rng(seed_at(spec.seed, "noise", start))
        drawn = random.standard_normal((_PORTION, *shape), dtype=np.float32)
        drawn *= std.astype(np.float32)[:, None, None]
        drawn += mean.astype(np.float32)[:, None, None]
        count = min(_PORTION, spec.samples - start)
        images = drawn.round().clip(0, 255).astype(np.uint8)[:count]
        if data.channels == 4:
            images = np.minimum(images, images[:, 3:])
        yield images


@torch.no_grad()
def _portion(
    bundle: Bundle, network: torch.nn.Module, classes: Ordinals, seed: int, start: int
) -> Images:
    """Return the images from place `start` on, uint8 [n, C, H, W]."""
    # A whole portion is always made, and cut: convolutions may differ by batch size.
    z = latents(seed, "evaluate", start, count=_PORTION, z_dim=bundle.card.z_dim)
    c = torch.zeros(_PORTION, dtype=torch.int64)
    wanted = torch.from_numpy(classes[start : start + _PORTION])
    c[: len(wanted)] = wanted
    device = next(network.parameters()).device
    try:
        made = modality(bundle.card.modality).to_uint8(network(z.to(device), c.to(device)))
    except DivergedError as error:
        raise DivergedError(f"bundle {bundle.digest[:8]}: {error} Train it again.") from error
    return made[: len(wanted)]


def _shades(data: Items) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel of the real images, summed exactly."""
    counts = np.zeros((data.channels, 256), np.int64)
    for images in real_images(data, real_ordinals(data)):
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
