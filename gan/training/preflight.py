"""What is checked and chosen before the first step: device, number format, enough images."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from gan.durable import read_json, write_json
from gan.errors import SourceError, UsageError
from gan.hardware import has_fast_bf16, use_idle_processors
from gan.sections import TrainSpec
from gan.training.team import Team

THREADS = "threads.json"


@dataclass(frozen=True)
class Hardware:
    """Where training runs and in which format activations are kept."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """`bf16` or `float32`."""
        return "bf16" if self.dtype is torch.bfloat16 else "float32"


def choose_hardware(spec: TrainSpec, team: Team) -> Hardware:
    """Return this process's device and the activations' format that the recipe asks for.

    Raises:
        UsageError: `train.device` is cuda and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if spec.device == "cuda" and not has_cuda:
        raise UsageError("train.device is cuda, but torch sees no GPU here. Set it to auto.")
    on_cuda = has_cuda and spec.device != "cpu"
    device = torch.device(f"cuda:{team.local_rank}" if on_cuda else "cpu")
    wants_bf16 = spec.precision == "bf16" or (spec.precision == "auto" and has_fast_bf16(device))
    return Hardware(device, torch.bfloat16 if wants_bf16 else torch.float32)


def make_deterministic(device: torch.device, *, wanted: bool) -> None:
    """Ask torch for the same bits each time: free on a processor, by the recipe's wish on CUDA.

    There cuBLAS must be told before its first use, by its own environment variable, to keep one
    workspace for each stream: torch refuses its matrix products otherwise.
    """
    if wanted and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=wanted or device.type == "cpu")


def settle_threads(folder: Path, team: Team) -> None:
    """Give torch its threads for a whole training: chosen once, kept for whoever resumes it.

    Sums are split between threads, so another number of them gives other last bits.

    Raises:
        DamagedError: `threads.json` in the training's folder is not readable.
    """
    path = folder / THREADS
    if team.size > 1:  # the launcher gave each process its share
        return
    if path.exists():
        torch.set_num_threads(int(read_json(path)["threads"]))
    else:
        write_json(path, {"threads": use_idle_processors()})


def require_enough(images: int, spec: TrainSpec, recipe: str) -> None:
    """Refuse a data set whose training part could not fill one batch.

    Raises:
        SourceError: With both counts.
    """
    if images < spec.batch_size:
        raise SourceError(
            f"data/{recipe}/train: {images} to train on, but recipes.{recipe}.train.batch_size is "
            f"{spec.batch_size}. Add images or lower the batch size in params.yaml."
        )
