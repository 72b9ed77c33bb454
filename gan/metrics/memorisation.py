"""Does a generator copy its training images? Held-out images, which it never saw, are the control.

    memorisation   the chance that a fake's nearest real image is a training image, where both
                   kinds weigh alike: 0.5 honest, 1 copies
    copied_share   share of fakes that lie unusually near to a training image, less what honest
                   chance brings, as seen on the held-out images

A generator that never saw which images were held out finds them nearest as often as their number
says, however blurred, noisy, collapsed or one-sided its images are: both figures compare that count
with what was found. So a near-duplicate inside the data, a prototype near to everything, or a class
of simple drawings is no sign of copying. `memorisation` sees copies that are inexact; a few copies
among honest images it hardly sees, and for those is `copied_share`.

Unusually near is a small ratio of the distance to the nearest real image to the mean distance of
the 50 nearest (Carlini 2023, section 4.2: free of scale), below that of 98 % of held-out images.

An interval counts the different real images that were found nearest, not the fakes: ten thousand
fakes beside one training image say little. Where fewer than some 200 differ and a fiftieth of the
data is held out, copies cannot be told from a collapse, and the interval says so by its width.

Which features: `thumbnails` see copies that are blurred or noisy, an extractor's features copies
that are mirrored or moved by a pixel; each misses the other's. Ask both.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gan.metrics.intervals import Interval
from gan.metrics.moments import Features
from gan.metrics.neighbours import nearest

THUMBNAIL_PX = 8
_AROUND = 50
_UNUSUAL = 0.02
_NORMAL = 1.959963984540054
_PORTION = 1000

# Lower bounds that no honest set passed: 450 random splits, generators trained on three data sets,
# new images, sharp, blurred or noisy. Copies pass them by far. A tenth of copies among 2,000 fakes
# is at the edge of what 1 to 3 % of held-out images can tell, among 5,000 it passes.
MEMORISATION_LIMIT = 0.55
COPIED_SHARE_LIMIT = 0.01


@dataclass(frozen=True, eq=False)
class Memorisation:
    """How near fakes lie to training images; the arrays are by fake.

    Attributes:
        memorisation: 0.5 for an honest generator, 1 for copies; None where no image is held out:
            then it cannot be measured.
        copied_share: 0..1; None likewise.
        training: Ordinal of the nearest training image, [M] int64.
        distance: Distance to it, [M] float64.
        held_out_distance: Distance to the nearest held-out image, [M] float64; infinite without.
        ratio: Distance to the nearest training image over the mean distance of the 50 nearest, or
            of all where there are fewer: [M] float64, 0..1; 0 is an exact copy.
    """

    memorisation: Interval | None
    copied_share: Interval | None
    training: NDArray[np.int64]
    distance: NDArray[np.float64]
    held_out_distance: NDArray[np.float64]
    ratio: NDArray[np.float64]

    def most_copied(self, count: int) -> NDArray[np.int64]:
        """Return ordinals of the fakes that look most like copies, the worst first.

        Each has another nearest training image, so that fewer than `count` may be returned.
        """
        order = np.argsort(self.ratio, kind="stable")
        _, first = np.unique(self.training[order], return_index=True)
        return np.asarray(order[np.sort(first)[:count]], np.int64)


def memorisation(training: Features, held_out: Features, fake: Features) -> Memorisation:
    """Return how near fakes lie to training images, against held-out ones.

    Args:
        training: Features of all images that the generator was trained on, [N, D]; may be a
            memory map, and is read twice, by portions.
        held_out: Features of images that neither it nor the extractor was trained on, [H, D]; H
            may be 0.
        fake: Features of generated images, [M, D].

    Raises:
        ValueError: There are fewer than 2 training images, or no fake.
    """
    if len(training) < 2:
        raise ValueError(f"{len(training)} training images; at least 2 are needed for a ratio")
    near, which = nearest(fake, training, _AROUND)
    ratio = _ratio(near)
    if len(held_out) == 0:
        far = np.full(len(fake), np.inf)
        return Memorisation(None, None, which[:, 0], near[:, 0], far, ratio)
    beside, which_held = nearest(fake, held_out, _AROUND)
    is_held = beside[:, 0] < near[:, 0]
    # Ratios among all real images, for then a held-out image may be the nearest.
    among_all = _ratio(np.concatenate([near, beside], axis=1))
    usual = np.quantile(_held_out_ratio(training, held_out), _UNUSUAL)
    target = np.where(is_held, len(training) + which_held[:, 0], which[:, 0])
    everywhere = _Found.of(target, len(training), len(held_out))
    close = _Found.of(target[among_all <= usual], len(training), len(held_out))
    return Memorisation(
        everywhere.balance(),
        close.share_of(len(fake)),
        which[:, 0],
        near[:, 0],
        beside[:, 0],
        ratio,
    )


def is_copying(found: Memorisation) -> bool:
    """Return whether the generator copies, beyond the doubt of either interval.

    Not measured is not copying: ask `found.memorisation` whether there was anything to go by.
    """
    if found.memorisation is None or found.copied_share is None:
        return False
    return (
        found.memorisation.low > MEMORISATION_LIMIT or found.copied_share.low > COPIED_SHARE_LIMIT
    )


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return means over 8 x 8 fields as features: [N, C, H, W] uint8 -> [N, C * 64], 0..255.

    Coarse on purpose: at 16 x 16 a copy that is a little blurred is no longer near.
    """
    parts = [
        torch.nn.functional.adaptive_avg_pool2d(
            torch.from_numpy(images[start : start + _PORTION].astype(np.float32)), THUMBNAIL_PX
        ).flatten(1)
        for start in range(0, len(images), _PORTION)
    ]
    return torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class _Found:
    """Which real images are the nearest of a number of fakes.

    Attributes:
        fakes: How many fakes.
        share: Share of them whose nearest is held out.
        different: How many real images they stand for: equal numbers of fakes at that many images
            would give a mean over images the same variance (Kish 1965).
        honest: The share that chance gives.
    """

    fakes: int
    share: float
    different: float
    honest: float

    @classmethod
    def of(cls, target: NDArray[np.int64], training: int, held_out: int) -> "_Found":
        """Take ordinals of the nearest real image of each fake; the held-out ones come last."""
        counts = np.unique(target, return_counts=True)[1].astype(np.float64)
        share = float(np.mean(target >= training)) if len(target) else 0.0
        different = float(counts.sum() ** 2 / (counts @ counts)) if len(target) else 0.0
        return cls(len(target), share, different, held_out / (training + held_out))

    def balance(self) -> Interval:
        """Return the chance of a training image where both kinds weigh alike."""
        held = _wilson(self.share, self.different)

        def balanced(share: float) -> float:
            training = (1 - share) / (1 - self.honest)
            return training / (training + share / self.honest)

        return Interval(balanced(held.value), balanced(held.high), balanced(held.low))

    def share_of(self, count: int) -> Interval:
        """Return the share of `count` fakes that these are, less the honest ones, from 0 up.

        For each of them at a held-out image, chance puts (1 - honest) / honest at training images.
        The two intervals are joined by their distances from the values (Zou and Donner 2008).
        """
        if self.fakes == 0:
            return Interval(0.0, 0.0, _wilson(0.0, count).high)
        these, held = _wilson(self.fakes / count, count), _wilson(self.share, self.different)
        net = 1 - held.value / self.honest
        value = these.value * net
        down = math.hypot(
            (these.value - these.low) * net,
            these.value * (held.high - held.value) / self.honest,
        )
        up = math.hypot(
            (these.high - these.value) * net, these.value * (held.value - held.low) / self.honest
        )
        return Interval(*(min(1.0, max(0.0, end)) for end in (value, value - down, value + up)))


def _held_out_ratio(training: Features, held_out: Features) -> NDArray[np.float64]:
    """Return the ratio of each held-out image among all other real ones, [H] float64."""
    near, _ = nearest(held_out, training, _AROUND)
    if len(held_out) > 1:
        beside, _ = nearest(held_out, held_out, _AROUND, itself=True)
        near = np.concatenate([near, beside], axis=1)
    return _ratio(near)


def _ratio(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least of some distances over the mean of the 50 least, [N, k] -> [N] float64.

    Where all 50 are 0 it is 1: what lies on a heap of equal images is a copy of none of them.
    """
    least = np.sort(distances, axis=1)[:, :_AROUND]
    mean = least.mean(axis=1)
    found = np.ones(len(mean))
    np.divide(least[:, 0], mean, out=found, where=mean > 0)
    return found


def _wilson(share: float, count: float) -> Interval:
    """Return a share of `count` independent trials with its interval (Wilson 1927)."""
    pull = _NORMAL**2 / count
    middle = (share + pull / 2) / (1 + pull)
    reach = math.sqrt(pull * share * (1 - share) + pull**2 / 4) / (1 + pull)
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach))
