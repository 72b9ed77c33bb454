"""The FID network against torch-fidelity's on the same weights, images and threads."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gan.image.networks.inception import build_inception
from gan.metrics.frechet import Reference
from gan.metrics.moments import moments_of
from tests.benchmarks.figures import show
from tests.gan.image.networks.fid_weights import fidelity_network, random_images, random_weights

SIDE_PX = 32
ROUND_IMAGES = 16
ROUNDS = 5
SET_IMAGES = 200  # of each set, end to end


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the best time of each, s; one after the other, so that all meet the same load."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            best[name] = min(best[name], _timed(work))
    return best


def _theirs_end_to_end(network: nn.Module, real: Tensor, fake: Tensor) -> float:
    """Return torch-fidelity's distance, its features taken in its default batches of 64."""
    from torch_fidelity.metric_fid import (  # type: ignore[import-untyped]
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    sides = [
        torch.cat([network(part)[0] for part in torch.split(images, 64)]) for images in (real, fake)
    ]
    statistics = [fid_features_to_statistics(side) for side in sides]
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def _reference(network: nn.Module, real: Tensor) -> Reference:
    return Reference(moments_of(network(real).numpy()))


def _distance(network: nn.Module, reference: Reference, fake: Tensor) -> float:
    return reference.distance(moments_of(network(fake).numpy()))


def main() -> None:
    """Print images/s, times end to end, and ratios; torch-fidelity is 1."""
    weights = random_weights()
    with tempfile.TemporaryDirectory() as folder:
        theirs = fidelity_network(weights, Path(folder))
    networks = {
        "float32": build_inception(weights),
        "bfloat16": build_inception(weights, torch.bfloat16),
    }
    images = random_images(ROUND_IMAGES, SIDE_PX, 1)
    for network in networks.values():
        network(images)  # packs the weights
    taken = _in_turn(
        {
            "torch-fidelity": lambda: theirs(images),
            **{name: lambda n=network: n(images) for name, network in networks.items()},  # type: ignore[misc]
        },
        ROUNDS,
    )
    for name, best in taken.items():
        ratio = taken["torch-fidelity"] / best
        show(f"features, {name}", ROUND_IMAGES / best, "img/s", f"{ratio:.2f} x torch-fidelity")

    real, fake = random_images(SET_IMAGES, SIDE_PX, 2), random_images(SET_IMAGES, SIDE_PX, 3) // 2
    values: dict[str, float] = {}

    def keep(name: str, value: float) -> None:
        values[name] = value

    works: dict[str, Callable[[], object]] = {
        "torch-fidelity": lambda: keep("torch-fidelity", _theirs_end_to_end(theirs, real, fake))
    }
    for name, network in networks.items():
        cached = _reference(network, real)
        works[name] = lambda k=name, n=network: keep(k, _distance(n, _reference(n, real), fake))  # type: ignore[misc]
        works[f"{name}, reference cached"] = lambda k=name, n=network, r=cached: keep(  # type: ignore[misc]
            f"{k}, reference cached", _distance(n, r, fake)
        )
    for name, best in (ends := _in_turn(works, 1)).items():
        off = abs(values[name] / values["torch-fidelity"] - 1)
        ratio = ends["torch-fidelity"] / best
        note = f"{ratio:.2f} x torch-fidelity; distance off by {off:.1e}"
        show(f"{SET_IMAGES} + {SET_IMAGES} images to distance, {name}", best, "s", note)
