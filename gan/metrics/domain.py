"""Train the domain extractor: a small network that learns the recipe's own classes, offline.

With one class it learns to tell by which quarter turn an image was rotated (Gidaris 2018). Labels
ignore colour and style, and a network that learns them alone would not notice a model that lost
its colours; so it also has to tell a 4x4 thumbnail of the image from the same features.
It never sees what a training does not see (`gan.split`): there its accuracy, which goes into the
card, is tested, and there a generator's copies of training images show. Where that is nothing, a
random tenth is held out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan.errors import DivergedError, SourceError
from gan.hardware import has_fast_bf16
from gan.metrics.cards import DomainCard
from gan.metrics.extractors import write_extractor
from gan.modality import Items, modality
from gan.progress import Pace, Say, say
from gan.seeding import generator_at, seed_at
from gan.split import split

_BATCH = 128
_LR = 1e-2
_WARM_UP_SHARE = 0.2
_WEIGHT_DECAY = 0.02
_SMOOTHING = 0.1
_THUMBNAIL_PX = 4
_THUMBNAIL_WEIGHT = 1.0
_SHIFT_SHARE = 1 / 16  # of the side; shifts alone, since letters and arrows do not survive flips
_TURNS = 4
_SHOWN_EACH = 16
_SHOWN_AT_LEAST, _SHOWN_AT_MOST = 12_800, 160_000


@dataclass(frozen=True)
class _Lesson:
    """What is learnt: images by ordinal, with a target each, in batches.

    Attributes:
        data: The data set.
        turns: Whether the target is a quarter turn and not the class.
    """

    data: Items
    turns: bool

    def batch(self, ordinals: NDArray[np.int64], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return images [N, C, H, W] float32 in [-1, 1] and targets [N] int64."""
        images = torch.from_numpy(np.ascontiguousarray(self.data.images[ordinals]))
        inputs = modality("image").from_uint8(images)
        if not self.turns:
            return inputs, torch.from_numpy(self.data.labels[ordinals].astype(np.int64))
        targets = torch.randint(0, _TURNS, (len(inputs),), generator=generator)
        turned = [torch.rot90(inputs, quarter, (2, 3)) for quarter in range(_TURNS)]
        return torch.stack(turned)[targets, torch.arange(len(inputs))], targets


@dataclass(frozen=True)
class _Course:
    """Which images are shown, how many, in which order, at which precision.

    Attributes:
        learnt: Ordinals of the images to learn from, int64 [M].
        shown: How many are shown in all, a multiple of the batch.
        seed: Of the order and of the shifts.
        precision: Of the activations.
    """

    learnt: NDArray[np.int64]
    shown: int
    seed: int
    precision: torch.dtype

    def batches(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (images shown before, ordinals [128] ascending), pass after shuffled pass."""
        queue = np.empty(0, np.int64)
        passes = 0
        for nimg in range(0, self.shown, _BATCH):
            while len(queue) < _BATCH:
                random = np.random.default_rng(seed_at(self.seed, "extractor", "pass", passes))
                queue = np.concatenate([queue, random.permutation(self.learnt)])
                passes += 1
            yield nimg, np.sort(queue[:_BATCH])  # ascending: the images may be a memory map
            queue = queue[_BATCH:]


def train_extractor(
    data: Items,
    destination: Path,
    seed: int,
    progress: Say = say,
    *,
    images_shown: int | None = None,
) -> str:
    """Train the extractor on a data set, write its folder, and return its digest.

    The same data, seed, thread count and machine give the same bytes.

    Args:
        data: Images uint8 [N, C, H, W] with their labels and classes.
        destination: The folder to write: weights, card, SHA256SUMS last.
        seed: Of the weights, a held-out tenth, the order and the shifts.
        progress: Where the lines of progress go.
        images_shown: The length of the training; by default 16 times N, within limits.

    Raises:
        SourceError: Fewer than 10 images.
        DivergedError: The loss became not finite.
    """
    if len(data) < 10:
        raise SourceError(f"extractor: {len(data)} images; at least 10 are needed. Add images.")
    lesson = _Lesson(data, turns=len(data.classes) < 2)
    shown = images_shown or min(max(_SHOWN_EACH * len(data), _SHOWN_AT_LEAST), _SHOWN_AT_MOST)
    shown = max(_BATCH, shown // _BATCH * _BATCH)
    learnt, held_out = _parts(data, seed)
    precision = torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32
    with _reproducible(seed):
        network = modality("image").build_features(
            data.channels, data.resolution, _TURNS if lesson.turns else len(data.classes)
        )
        network = network.to(memory_format=torch.channels_last)
        _learn(network, lesson, _Course(learnt, shown, seed, precision), progress)
        accuracy = _accuracy(network, lesson, held_out, seed)
    progress(f"extractor: {accuracy:.1%} right on {len(held_out):,} images held out")
    card = DomainCard(
        task="rotation" if lesson.turns else "classes",
        classes=list(data.classes),
        resolution=data.resolution,
        channels=data.channels,
        dims=_dims(network, data),
        accuracy=round(accuracy, 4),
        held_out=len(held_out),
        images_shown=shown,
        seed=seed,
        data_digest=data.digest,
        precision=str(precision).removeprefix("torch."),
        torch=torch.__version__,
    )
    return write_extractor(destination, network.state_dict(), card)


def _parts(data: Items, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ordinals of the images to learn from, and of those to be tested on in rising order."""
    learnt, held_out = split(len(data), data.digest, data.groups)
    if len(held_out):
        return learnt, held_out
    order = np.random.default_rng(seed_at(seed, "extractor", "split")).permutation(len(data))
    tenth = len(data) // 10
    return order[tenth:], np.sort(order[:tenth])


def _learn(network: nn.Module, lesson: _Lesson, course: _Course, progress: Say) -> None:
    """Train in place for the course's images, one cycle of AdamW."""
    shown, precision = course.shown, course.precision
    values = lesson.data.channels * _THUMBNAIL_PX**2
    painter = nn.Linear(_dims(network, lesson.data), values)  # for training alone, never saved
    weights = [*network.parameters(), *painter.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=_LR, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LR, total_steps=shown // _BATCH, pct_start=_WARM_UP_SHARE
    )
    pace = Pace("extractor: images shown", shown, progress)
    for nimg, ordinals in course.batches():
        generator = generator_at(course.seed, "extractor", nimg)
        inputs, targets = lesson.batch(ordinals, generator)
        inputs = _shift(inputs, generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            features, logits = network(inputs)
        loss = nn.functional.cross_entropy(logits.float(), targets, label_smoothing=_SMOOTHING)
        thumbnail = nn.functional.avg_pool2d(inputs, inputs.shape[2] // _THUMBNAIL_PX).flatten(1)
        loss = loss + _THUMBNAIL_WEIGHT * (painter(features.float()) - thumbnail).square().mean()
        if not loss.isfinite():
            raise DivergedError(f"extractor: the loss is not finite after {nimg:,} images.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        pace.at(nimg + _BATCH)


def _shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images [N, C, H, W], each moved by up to a sixteenth of its side, edges mirrored."""
    count, _, height, width = images.shape
    reach = max(1, round(height * _SHIFT_SHARE))
    padded = nn.functional.pad(images, (reach,) * 4, mode="reflect")
    moves = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=generator)
    rows = moves[0] + torch.arange(height)  # [N, H]
    columns = moves[1] + torch.arange(width)  # [N, W]
    each = torch.arange(count)[:, None, None]
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def _accuracy(network: nn.Module, lesson: _Lesson, held_out: NDArray[np.int64], seed: int) -> float:
    """Return the share of held-out images [M] that the network takes for what they are."""
    right = 0
    generator = generator_at(seed, "extractor", "accuracy")
    for start in range(0, len(held_out), _BATCH):
        inputs, targets = lesson.batch(held_out[start : start + _BATCH], generator)
        _, logits = network(inputs.contiguous(memory_format=torch.channels_last))
        right += int((logits.argmax(1) == targets).sum())
    return right / len(held_out)


@torch.no_grad()
def _dims(network: nn.Module, data: Items) -> int:
    """Return D, by asking the network."""
    features, _ = network(torch.zeros(1, data.channels, data.resolution, data.resolution))
    return int(features.shape[1])


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed the weights' start and ask torch for deterministic kernels, then put both back."""
    was_on = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_at(seed, "extractor", "weights"))
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(mode=was_on)
