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
from torch import nn

from gan.assets.batch import Marks, mint
from gan.assets.candidates import CHUNK
from gan.assets.files import picture
from gan.assets.manifest import BATCH, MANIFEST, Row, read_batch, read_rows, verify
from gan.assets.regenerate import campaign, difference, redraw
from gan.assets.request import Request
from gan.bundle import Bundle, latents, open_bundle
from gan.changes import explained, make_folder, rename
from gan.durable import remove, remove_folder
from gan.errors import DamagedError
from gan.marking.identity import Signing
from gan.marking.watermark import PUBLIC_KEY
from gan.platforms import platform
from gan.screening.references import References
from gan.sections import CampaignSpec, ScreensSpec

GO = "go"
_SLOT, _SEED, _PLATFORM = "canary", 1, "png"
_STATUS = Path("/proc/self/status")
_MB = 1e6


@dataclass(frozen=True)
class Report:
    """What a bundle made.

    Attributes:
        bundle_digest: Which bundle.
        count: Assets minted.
        accepted: Those of them that passed every filter.
        files: SHA-256 of each asset, by its path in the folder.
        memory_mb: The most that the process held, 10^6 bytes.
    """

    bundle_digest: str
    count: int
    accepted: int
    files: dict[str, str]
    memory_mb: float


def attend(
    folder: Path,
    recipe: str,
    spec: CampaignSpec,
    signing: Signing,
    out: Path,
    asks: TextIO,
    answers: TextIO,
) -> None:
    """Mint the canary of a bundle into `out`, report, and time the generator as often as asked.

    Args:
        folder: The bundle; every byte of it is checked.
        recipe: The product line, which the assets are named by.
        spec: Of which their size and upscaling are taken.
        signing: Who signs them.
        out: Becomes a batch's folder, in place of whatever was there.
        asks: A line `go` for each measurement; its end is the end.
        answers: One line of JSON for the report, and one for each measurement.

    Raises:
        DamagedError: The bundle, or an asset as it was written, is not what its digest says.
        DivergedError: The bundle makes images that are not finite.
        GanmillError: `out` cannot be written, or the disk is full.
    """
    bundle = open_bundle(folder)
    _answer(answers, asdict(_mint_into(bundle, recipe, spec, signing, out)))
    network = bundle.generator()
    for line in asks:
        if line.strip() == GO:
            _answer(answers, {"seconds_per_image": _seconds_per_image(bundle, network)})


def deviation(bundle: Bundle, recipe: str, kept: Path) -> float | None:
    """Draw the canary of a bundle again, and return how far it is from the one that was kept.

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
    rows, spec = read_rows(kept / MANIFEST), campaign(card)  # as it was asked for then
    apart = [
        difference(
            picture(image, platform(_PLATFORM, spec.size_px), spec, row.asset, PUBLIC_KEY), path
        )
        for row, image in zip(rows, redraw(bundle, rows, card), strict=True)
        for path in _pictures(kept, row)
    ]
    return float(np.mean(apart)) if apart else None


def canary_campaign(spec: CampaignSpec) -> CampaignSpec:
    """Return the campaign of a canary: one chunk as it comes, nothing held against anything."""
    screens = ScreensSpec(off_class=0, near_distance=0, past=0, copies=0)
    return CampaignSpec(
        count=CHUNK,
        seed=_SEED,
        platforms=[_PLATFORM],
        size_px=spec.size_px,
        upscale=spec.upscale,
        budget=1,
        rejection=0,
        screens=screens,
    )


def _mint_into(
    bundle: Bundle, recipe: str, spec: CampaignSpec, signing: Signing, out: Path
) -> Report:
    """Make `out` the folder of the bundle's canary, verified as any batch is."""
    request = Request(recipe, canary_campaign(spec), _SLOT)
    with explained(out, "written"):
        make_folder(out.parent)
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as room:
            references = References(None, None, Path(room) / "store")
            marks = Marks(signing)
            minted = mint(bundle, request, Path(room), marks, references, progress=_say_nothing)
            _require_whole(minted.folder)
            rows = read_rows(minted.folder / MANIFEST)
            _remove_tree(out)
            rename(minted.folder, out)
    files = {file.path: file.sha256 for row in rows for file in row.files}
    return Report(bundle.digest, minted.candidates, minted.accepted, files, _peak_mb())


def _remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        remove(path)
    remove_folder(folder)


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


def _pictures(folder: Path, row: Row) -> list[Path]:
    """Return the picture of an accepted asset; a blank one was set aside, and has no file."""
    return [folder / file.path for file in row.files]


def _say_nothing(line: str) -> None:
    """Stay silent: stdout is for answers, stderr for what goes wrong."""
    del line


def _answer(answers: TextIO, value: dict[str, object]) -> None:
    print(json.dumps(value), file=answers, flush=True)
