"""Train the detector: real images against what several models make, on the same journeys.

Each batch is half real and half fresh from every model in turn; no generated image is shown twice.
What a detector knows of a model that it was not shown is measured by two more, each shown every
other model for half as long, and asked about the rest: one left out in turn where there are two.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from gan.bundle import Bundle
from gan.detector.cards import (
    CARD,
    EXAMPLES,
    WEIGHTS,
    DetectorCard,
    ModelShown,
)
from gan.detector.judging import Judge
from gan.detector.measuring import Pupil, measure
from gan.detector.models import Maker, open_makers, shared_out
from gan.detector.network import DetectorNetwork, window_px
from gan.detector.parts import Parts, parts_of
from gan.detector.pictures import after, travelled
from gan.durable import SUMS, remove, replacing, write_atomically, write_json, write_sums
from gan.errors import DivergedError, UsageError
from gan.hardware import has_fast_bf16
from gan.modality import Items, modality
from gan.progress import Pace, Say, say
from gan.sections import DetectorSpec
from gan.seeding import generator_at, seed_at

_HALF = 64  # of a batch: so many real images, and as many generated ones
_WIDTH = 16
_LR = 2e-3
_WEIGHT_DECAY = 0.02
_WARM_UP_SHARE = 0.15


@dataclass(frozen=True)
class _Course:
    """What one detector is shown.

    Attributes:
        name: Part of the place of its chances.
        data: Real images.
        learnt: Ordinals of those to learn from.
        makers: The models that it is shown, at least one.
        shown: Images in all, a multiple of the batch.
        seed: Of everything.
    """

    name: str
    data: Items
    learnt: NDArray[np.int64]
    makers: Sequence[Maker]
    shown: int
    seed: int

    def batches(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (images shown before, windows [128, C, S, S] in [-1, 1], targets [128])."""
        targets = torch.cat([torch.zeros(_HALF), torch.ones(_HALF)])
        queue, passes = np.empty(0, np.int64), 0
        for turn in range(self.shown // (2 * _HALF)):
            while len(queue) < _HALF:
                random = np.random.default_rng(seed_at(self.seed, "detector", "pass", passes))
                queue, passes = np.concatenate([queue, random.permutation(self.learnt)]), passes + 1
            ordinals, queue = np.sort(queue[:_HALF]), queue[_HALF:]
            place = (self.name, turn)
            items = [self.data.images[ordinals], *self._drawn(self.data.labels[ordinals], place)]
            images = after(travelled, np.concatenate(items), self.seed, *place)
            windows = _window(images, generator_at(self.seed, "detector", "window", *place))
            yield turn * 2 * _HALF, modality("image").from_uint8(windows), targets

    def _drawn(
        self, labels: NDArray[np.int64], place: tuple[str, int]
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield what each model makes of its share of the classes."""
        start = 0
        for maker, count in shared_out(len(labels), self.makers, place[1]):
            yield maker.draw(labels[start : start + count], self.seed, *place)
            start += count


def train_detector(
    folder: Path,
    real: Items,
    bundles: Sequence[Bundle],
    spec: DetectorSpec,
    seed: int,
    progress: Say = say,
) -> DetectorCard:
    """Train a detector, measure it, write its folder, and return its card.

    The same data, bundles, seed, thread count and machine give the same bytes.

    Args:
        folder: Where it goes: weights, examples, card, and SHA256SUMS last. What is there is
            replaced, and is no detector until that is complete.
        real: The prepared images: those held out of the models' training are measured on.
        bundles: The champion first, then earlier ones, the newest first.
        spec: How many images are shown; `kimg` must be above 0.
        seed: Of everything that is drawn.
        progress: Where the lines of progress go.

    Raises:
        UsageError: No bundle, one of another size, or nothing is to be shown.
        SourceError: Too few real images.
        DivergedError: The loss became not finite.
    """
    if spec.kimg <= 0:
        raise UsageError("detector: detector.kimg is 0, so none is trained. Set it above 0.")
    makers, parts = open_makers(bundles, real), parts_of(real, seed)
    shown = max(2 * _HALF, round(spec.kimg * 1000) // (2 * _HALF) * (2 * _HALF))
    with _reproducible(seed):
        network = _trained(_Course("all", real, parts.learnt, makers, shown, seed), progress)
        pupils = _pupils(real, parts, makers, shown, seed, progress)
    progress("detector: measuring what it can tell")
    judge = Judge(network, real.resolution)
    measures, examples = measure(judge, pupils, real, parts, makers, seed)
    card = DetectorCard(
        **dict(measures),
        channels=1 if real.channels == 1 else 3,
        resolution=real.resolution,
        width=_WIDTH,
        data_digest=real.digest,
        models=[ModelShown.of(each) for each in bundles],
        spec=spec.model_dump(),
        seed=seed,
        images_shown=shown,
        real=parts.counts,
        precision=str(_precision()).removeprefix("torch."),
        torch=torch.__version__,
        notes=[*parts.notes, *_notes(makers)],
    )
    _write(folder, network, examples, card)
    return card


def _trained(course: _Course, progress: Say) -> DetectorNetwork:
    """Return a network after the course, one cycle of AdamW."""
    channels = 1 if course.data.channels == 1 else 3
    network = DetectorNetwork(channels, course.data.resolution, _WIDTH)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=_WEIGHT_DECAY)
    steps = course.shown // (2 * _HALF)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LR, total_steps=max(steps, 2), pct_start=_WARM_UP_SHARE
    )
    precision = _precision()
    pace = Pace(f"detector ({course.name}): images shown", course.shown, progress)
    for nimg, windows, targets in course.batches():
        inputs = windows.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            logits = network(inputs)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        if not loss.isfinite():
            raise DivergedError(f"detector: the loss is not finite after {nimg:,} images.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        schedule.step()
        pace.at(nimg + 2 * _HALF)
    return network.eval()


def _pupils(
    real: Items, parts: Parts, makers: Sequence[Maker], shown: int, seed: int, progress: Say
) -> list[Pupil]:
    """Return two detectors that were shown every other model each; none where there is one."""
    if len(makers) < 2:
        return []
    half = max(2 * _HALF, shown // 2 // (2 * _HALF) * (2 * _HALF))
    sides = [list(makers[place::2]) for place in (0, 1)]
    pupils = []
    for place, (shown_to, not_shown) in enumerate((sides, sides[::-1])):
        course = _Course(f"half {place + 1}", real, parts.learnt, shown_to, half, seed)
        judge = Judge(_trained(course, progress), real.resolution)
        pupils.append(Pupil(judge, shown_to, not_shown))
    return pupils


def _notes(makers: Sequence[Maker]) -> list[str]:
    """Return what is to be known of the models, sentences."""
    alone = "It knows one model alone: what it would say of another one was not measured."
    return [alone] if len(makers) == 1 else []


def _window(images: NDArray[np.uint8], generator: torch.Generator) -> Tensor:
    """Return a window of each image [N, C, R, R], at a random place, uint8 [N, C, S, S]."""
    side, size = images.shape[2], window_px(images.shape[2])
    if side == size:
        return torch.from_numpy(images)
    corners = torch.randint(side - size + 1, (len(images), 2), generator=generator).tolist()
    cut = [
        image[:, top : top + size, left : left + size]
        for image, (top, left) in zip(images, corners, strict=True)
    ]
    return torch.from_numpy(np.stack(cut))


def _write(
    folder: Path, network: DetectorNetwork, examples: NDArray[np.uint8], card: DetectorCard
) -> None:
    """Write the folder; the list of digests comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / SUMS, *sorted(folder.iterdir())):  # unsealed first
        if path.is_file():
            remove(path)
    state = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    write_atomically(folder / WEIGHTS, save(state))
    with replacing(folder / EXAMPLES) as partial, partial.open("wb") as file:
        np.save(file, examples, allow_pickle=False)
    write_json(folder / CARD, card.model_dump(mode="json"))
    write_sums(folder)


def _precision() -> torch.dtype:
    return torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed the weights' start and ask torch for deterministic kernels, then put both back."""
    was_on = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_at(seed, "detector", "weights"))
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(mode=was_on)
