"""Which images are measured: generated ones, the real ones, and noise; all by seed, in portions.

Generated classes follow the data's own shares, so that a model is not charged for a class balance
that it was not asked for. Sample i is the same image whatever the number of samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from gan.bundle import Bundle, latents
from gan.errors import DivergedError, UsageError
from gan.metrics.extractors import Extractor
from gan.metrics.frechet import BLOCKS, Reference
from gan.metrics.moments import BlockMoments, Features, Moments, moments_of, pooled
from gan.modality import Items, modality
from gan.progress import Pace, Say
from gan.sections import EvaluateSpec
from gan.seeding import seed_at

_PORTION = 250
_REAL_AT_MOST = 50_000
_KEPT_EACH = 10  # images of each class that are kept for the pictures
_KEPT_CLASSES = 256

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass
class Gathered:
    """What is kept of a stream of images: moments by block and by class, and a few to look at.

    Attributes:
        blocks: Moments by block, in the stream's order.
        by_class: Moments of each class that occurred.
        right: For each block, how many images the extractor took for their class, [B] int64.
        counts: For each block, how many images it holds, [B] int64.
        kept: The first few images of each class.
    """

    blocks: list[Moments]
    by_class: dict[int, Moments]
    right: NDArray[np.int64]
    counts: NDArray[np.int64]
    kept: dict[int, Images]


@dataclass(frozen=True)
class Real:
    """The real images as a reference.

    Attributes:
        reference: Of all of them.
        half: Blocks of a random half.
        other_half: Reference of the other half.
        by_class: Moments of each class.
        kept: A few images of each class.
        mean: Of each channel, [C] float64, 0..255.
        std: Of each channel, [C] float64.
    """

    reference: Reference
    half: list[Moments]
    other_half: Reference
    by_class: dict[int, Moments]
    kept: dict[int, Images]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def read_real(data: Items, extractor: Extractor, spec: EvaluateSpec, progress: Say) -> Real:
    """Return the reference: at most 50,000 of the real images, drawn by seed.

    Raises:
        UsageError: There are too few images, or they do not fit the extractor.
    """
    if len(data) < 4:
        raise UsageError(f"evaluate: {len(data)} real images; at least 4 are needed. Add images.")
    order = _order(data, spec)[:_REAL_AT_MOST]
    shades = _Shades(data.channels)
    pace = Pace("evaluate: real images read", len(order), progress)
    stream = _real_portions(data, order, shades)
    gathered = gather(stream, len(order), extractor, pace, blocks=2 * BLOCKS)
    blocks = gathered.blocks
    mean, std = shades.figures()
    return Real(
        reference=Reference(pooled(blocks)),
        half=blocks[: len(blocks) // 2],
        other_half=Reference(pooled(blocks[len(blocks) // 2 :])),
        by_class=gathered.by_class,
        kept=gathered.kept,
        mean=mean,
        std=std,
    )


def generated(
    bundle: Bundle, data: Items, extractor: Extractor, spec: EvaluateSpec
) -> Iterator[tuple[Images, Labels]]:
    """Yield portions of generated images uint8 [n, C, H, W] and the data's class of each [n].

    Raises:
        UsageError: The bundle makes other images than the data holds, or lacks a class.
        DivergedError: An image holds a value that is not finite.
    """
    numbers = _class_numbers(bundle, data)
    order = _order(data, spec)
    network = bundle.generator(extractor.device)
    to_uint8 = modality(bundle.card.modality).to_uint8
    for start in range(0, spec.samples, _PORTION):
        # A whole portion is always made, and cut: convolutions may differ by batch size.
        z = latents(spec.seed, "evaluate", start, count=_PORTION, z_dim=bundle.card.z_dim)
        labels = data.labels[order[np.arange(start, start + _PORTION) % len(order)]]
        with torch.no_grad():
            c = torch.from_numpy(numbers[labels]).to(extractor.device)
            images = network(z.to(extractor.device), c)
        try:
            made = to_uint8(images)
        except DivergedError as error:
            raise DivergedError(f"bundle {bundle.digest[:8]}: {error} Train it again.") from error
        count = min(_PORTION, spec.samples - start)
        yield made[:count], labels[:count]


def noise(real: Real, data: Items, spec: EvaluateSpec) -> Iterator[tuple[Images, Labels]]:
    """Yield portions of Gaussian noise with the data's mean and spread in each channel.

    Of RGBA no colour is above its alpha: a ceiling is a set of pictures, and that would be none.
    """
    shape = (data.channels, data.resolution, data.resolution)
    for start in range(0, spec.samples, _PORTION):
        random = np.random.default_rng(seed_at(spec.seed, "noise", start))
        drawn = random.standard_normal((_PORTION, *shape), dtype=np.float32)
        drawn *= real.std.astype(np.float32)[:, None, None]
        drawn += real.mean.astype(np.float32)[:, None, None]
        count = min(_PORTION, spec.samples - start)
        images = drawn.round().clip(0, 255).astype(np.uint8)[:count]
        if data.channels == 4:
            images = np.minimum(images, images[:, 3:])
        yield images, np.zeros(count, np.int64)


def gather(
    stream: Iterator[tuple[Images, Labels]],
    total: int,
    extractor: Extractor,
    pace: Pace,
    *,
    blocks: int = BLOCKS,
) -> Gathered:
    """Read a stream of `total` images through the extractor, keeping moments and a few images."""
    moments = BlockMoments(total, blocks)
    classes = _ByClass()
    parts: list[NDArray[np.bool_]] = []
    seen = 0
    for images, labels in stream:
        reading = extractor.read(images)
        moments.add(reading.features)
        classes.add(images, reading.features, labels)
        parts.append(reading.predicted == labels)
        seen += len(images)
        pace.at(seen)
    by_block = moments.by_block()
    place = np.arange(total) * len(by_block) // total
    right = np.bincount(place[np.concatenate(parts)], minlength=len(by_block))
    counts = np.bincount(place, minlength=len(by_block))
    return Gathered(by_block, classes.moments, right, counts, classes.kept)


@dataclass
class _ByClass:
    """Moments and a few images of each class."""

    moments: dict[int, Moments] = field(default_factory=dict)
    kept: dict[int, Images] = field(default_factory=dict)

    def add(self, images: Images, features: Features, labels: Labels) -> None:
        for number in np.unique(labels).tolist():
            mine = labels == number
            part = moments_of(features[mine])
            held = self.moments.get(number)
            self.moments[number] = part if held is None else pooled([held, part])
            kept = self.kept.get(number, images[:0])
            if len(kept) < _KEPT_EACH and len(self.kept) < _KEPT_CLASSES:
                self.kept[number] = np.concatenate([kept, images[mine]])[:_KEPT_EACH]


class _Shades:
    """Mean and spread of each channel, summed exactly."""

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, 256), np.int64)

    def add(self, images: Images) -> None:
        for channel in range(len(self._counts)):
            self._counts[channel] += np.bincount(images[:, channel].ravel(), minlength=256)

    def figures(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shares = self._counts / self._counts.sum(axis=1, keepdims=True)  # [C, 256]
        shades = np.arange(256)
        mean = shares @ shades
        return mean, np.sqrt((shares * (shades - mean[:, None]) ** 2).sum(axis=1))


def _real_portions(
    data: Items, ordinals: Labels, shades: _Shades
) -> Iterator[tuple[Images, Labels]]:
    for start in range(0, len(ordinals), _PORTION):
        portion = ordinals[start : start + _PORTION]
        images = np.asarray(data.images[portion])
        shades.add(images)
        yield images, data.labels[portion]


def _order(data: Items, spec: EvaluateSpec) -> Labels:
    """Return a shuffled order of the real images; prepared data lie sorted by class."""
    return np.random.default_rng(seed_at(spec.seed, "real")).permutation(len(data))


def _class_numbers(bundle: Bundle, data: Items) -> Labels:
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
