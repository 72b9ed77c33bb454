"""The canary: sixteen assets that show whether a bundle can be loaded, minted from and delivered.

A clean process answers on stdout with one line of JSON, the `Report`. For each line `go` on stdin
it then times the generator on one chunk, and answers {"seconds_per_image": x}, so that whoever asks
two such processes in turn compares two bundles on equally busy moments of one machine.
"""

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import numpy as np
import torch
from PIL import Image
from torch import nn

from gan.assets.batch import CHUNK, mint
from gan.assets.manifest import BATCH, MANIFEST, Request, Row, read_batch, read_rows, verify
from gan.bundle import Bundle, latents, open_bundle
from gan.changes import explained, make_folder, rename
from gan.durable import remove_folder
from gan.errors import DamagedError
from gan.sections import AssetsSpec

GO = "go"
_SLOT, _SEED = "canary", 1  # the same latents for every bundle, always
_STATUS = Path("/proc/self/status")
_MB = 1e6


@dataclass(frozen=True)
class Report:
    """What a bundle made.

    Attributes:
        bundle_digest: Which bundle.
        count: Assets minted.
        accepted: Those of them that passed every filter.
        files: SHA-256 of each asset, by its file's name.
        memory_mb: The most that the process held, 10^6 bytes.
    """

    bundle_digest: str
    count: int
    accepted: int
    files: dict[str, str]
    memory_mb: float


def attend(
    folder: Path, recipe: str, spec: AssetsSpec, out: Path, asks: TextIO, answers: TextIO
) -> None:
    """Mint the canary of a bundle into `out`, report, and time the generator as often as asked.

    Args:
        folder: The bundle; every byte of it is checked.
        recipe: The product line, which the assets are named by.
        spec: Their size and upscaling.
        out: Becomes a batch's folder, in place of whatever was there.
        asks: A line `go` for each measurement; its end is the end.
        answers: One line of JSON for the report, and one for each measurement.

    Raises:
        DamagedError: The bundle, or an asset as it was written, is not what its digest says.
        DivergedError: The bundle makes images that are not finite.
        GanmillError: `out` cannot be written, or the disk is full.
    """
    bundle = open_bundle(folder)
    _answer(answers, asdict(_mint_into(bundle, recipe, spec, out)))
    network = bundle.generator()
    for line in asks:
        if line.strip() == GO:
            _answer(answers, {"seconds_per_image": _seconds_per_image(bundle, network)})


def deviation(bundle: Bundle, recipe: str, kept: Path) -> float | None:
    """Mint the canary of a bundle again, and return how far it is from the one that was kept.

    Args:
        bundle: The bundle in use.
        recipe: The product line.
        kept: The folder that `attend` filled when the bundle was judged.

    Returns:
        The mean absolute difference of all pixels and channels, in levels of 255; None when no
        canary of this bundle and recipe was kept there.

    Raises:
        DamagedError: What was kept is not as it was written.
        DivergedError: The bundle makes images that are not finite.
    """
    if not (kept / BATCH).exists():
        return None
    card = read_batch(kept)
    if (card.recipe, card.bundle_digest) != (recipe, bundle.digest):
        return None
    _require_whole(kept)
    # At the size of then: the recipe may ask for another one today.
    spec = AssetsSpec.model_validate({"size_px": card.size_px, "upscale": card.upscale})
    with TemporaryDirectory(prefix="ganmill-canary-") as room:
        again = Path(room) / "canary"
        _mint_into(bundle, recipe, spec, again)
        new, old = _by_ordinal(again), _by_ordinal(kept)
        apart = [_difference(again / new[n].file, kept / old[n].file) for n in sorted(new)]
    return float(np.mean(apart))


def _mint_into(bundle: Bundle, recipe: str, spec: AssetsSpec, out: Path) -> Report:
    """Make `out` the folder of the bundle's canary, verified as any batch is."""
    with explained(out, "written"):
        make_folder(out.parent)
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as room:
            request = Request(recipe, CHUNK, _SEED, _SLOT)
            minted = mint(bundle, spec, request, Path(room), progress=lambda _: None)
            _require_whole(minted.folder)
            files = {row.file: row.sha256 for row in read_rows(minted.folder / MANIFEST)}
            remove_folder(out)
            rename(minted.folder, out)
    return Report(bundle.digest, minted.count, minted.accepted, files, _peak_mb())


@torch.no_grad()
def _seconds_per_image(bundle: Bundle, network: nn.Module) -> float:
    card = bundle.card
    z = latents(_SEED, _SLOT, count=CHUNK, z_dim=card.z_dim)
    c = torch.arange(CHUNK) % len(card.classes)
    began = time.perf_counter()
    network(z, c)
    return (time.perf_counter() - began) / CHUNK


def _peak_mb() -> float:
    """Return the most that this program has held in memory, 10^6 bytes."""
    if _STATUS.exists():  # getrusage also counts what the parent held when it started us
        lines = _STATUS.read_text().splitlines()
        return (
            next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")) / _MB
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024) / _MB


def _require_whole(folder: Path) -> None:
    if problems := verify(folder):
        raise DamagedError(f"{folder}: the canary is not as it was written: {problems[0]}.")


def _by_ordinal(folder: Path) -> dict[int, Row]:
    return {row.ordinal: row for row in read_rows(folder / MANIFEST)}


def _difference(a: Path, b: Path) -> float:
    """Return the mean absolute difference of two pictures of one size, in levels of 255."""
    with Image.open(a) as one, Image.open(b) as other:
        return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


def _answer(answers: TextIO, value: dict[str, object]) -> None:
    print(json.dumps(value), file=answers, flush=True)
