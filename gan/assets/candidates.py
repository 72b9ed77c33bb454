"""Draw candidates and look at each: the first half of minting, in jobs of up to 256 ordinals.

A candidate is a function of (seed, request id, ordinal, class) and the model alone. G always runs
on whole chunks of 16 ordinals and on one thread, since kernels may differ by batch size and by how
many share the work: so neither jobs, nor threads, nor machines of one kind change a byte.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan.bundle import Bundle, latents, open_bundle
from gan.durable import read_sealed, write_sealed
from gan.errors import DamagedError, DivergedError
from gan.modality import modality
from gan.screening.look import Look, Scores
from gan.screening.references import References
from gan.screening.screens import open_screens
from gan.sections import CampaignSpec

CHUNK = 16
JOB = 256  # ordinals, a multiple of the chunk

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Done:
    """What a job did: small, since it may come from another machine.

    Attributes:
        first: Its first ordinal.
        count: How many ordinals it has.
        made: How many of them it made; the others were there.
    """

    first: int
    count: int
    made: int


@dataclass(frozen=True)
class DrawJob:
    """Consecutive candidates to draw and to look at.

    Attributes:
        room: The folder that they are kept in until the batch is complete.
        bundle: The model's folder.
        bundle_digest: Which model it must be.
        request_id: Of the request.
        spec: Its campaign.
        references: What the screens need.
        first: The first ordinal.
        classes: Number of the class of each candidate.
    """

    room: Path
    bundle: Path
    bundle_digest: str
    request_id: str
    spec: CampaignSpec
    references: References
    first: int
    classes: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many candidates."""
        return len(self.classes)

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return self.room / f"{self.first:08d}"

    @property
    def key(self) -> str:
        """What their bytes depend on: what is kept under another key is drawn anew."""
        made_of = [self.bundle_digest, self.request_id, self.first, self.classes]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Drawn:
    """Candidates of a job as they were kept.

    Attributes:
        images: uint8 [n, C, H, W].
        looks: What is known of each.
        notes: What a screen could not look at, and why.
    """

    images: Images
    looks: list[Look]
    notes: list[str]


def draw(job: DrawJob) -> Done:
    """Draw the candidates of a job, look at them, and keep both; whole ones stay as they are.

    Raises:
        DivergedError: The model makes images that are not finite.
        DamagedError: The model's files are not those of the digest.
        GanmillError: The folder cannot be written, or the disk is full.
    """
    if _is_there(job):
        return Done(job.first, job.count, 0)
    bundle = _bundle(job.bundle, job.bundle_digest)
    ordinals = range(job.first, job.first + job.count)
    with _one_thread():
        screens = open_screens(bundle, job.spec, job.references)
        images = sample(bundle, job.spec, job.request_id, ordinals, job.classes)
        looks = screens.look(images, np.array(job.classes, np.int64))
    header = {
        "key": job.key,
        "shape": images.shape,
        "notes": screens.notes,
        "looks": [_plain(look) for look in looks],
    }
    write_sealed(job.path, [f"{json.dumps(header)}\n".encode(), images.tobytes()])
    return Done(job.first, job.count, job.count)


def read_drawn(path: Path, key: str) -> Drawn:
    """Return what `draw` kept.

    Raises:
        DamagedError: It is missing, not as it was written, or of another job.
    """
    head, _, pixels = read_sealed(path).partition(b"\n")
    header = json.loads(head)
    if header["key"] != key:
        raise DamagedError(f"{path}: holds the candidates of another request. Mint again.")
    images = np.frombuffer(pixels, np.uint8).reshape(header["shape"])
    return Drawn(images, [_look(each) for each in header["looks"]], header["notes"])


def sample(
    bundle: Bundle,
    spec: CampaignSpec,
    request_id: str,
    ordinals: Sequence[int],
    classes: Sequence[int],
) -> Images:
    """Return the candidates with these ordinals as the model makes them, uint8 [n, C, H, W].

    Args:
        bundle: The model.
        spec: The campaign: its seed and truncation.
        request_id: Of the request.
        ordinals: Which ones, rising.
        classes: Number of the class of each.

    Raises:
        DivergedError: The model makes images that are not finite.
    """
    network = _network(bundle.folder, bundle.digest)
    class_of = dict(zip(ordinals, classes, strict=True))
    images = []
    with _one_thread():
        for start in sorted({ordinal // CHUNK * CHUNK for ordinal in ordinals}):
            chunk = range(start, start + CHUNK)
            z = torch.cat([_latent(bundle, spec, request_id, ordinal) for ordinal in chunk])
            c = torch.tensor([class_of.get(ordinal, 0) for ordinal in chunk])
            made = _images(bundle, network, z, c)
            images.append(made[[ordinal in class_of for ordinal in chunk]])
    return np.concatenate(images)


def truncated(z: Tensor, bound: float) -> Tensor:
    """Return standard normal values bounded to (-bound, bound): truncation (Brock 2019, BigGAN).

    The paper draws a value again until it fits; here each is moved to the same quantile of the
    bounded distribution, which has the same law, is smooth in z, and needs one draw.
    """
    exact = z.to(torch.float64)
    low = torch.special.ndtr(torch.tensor(-bound, dtype=torch.float64))
    share = low + torch.special.ndtr(exact) * (1 - 2 * low)
    bounded: Tensor = torch.special.ndtri(share).clamp(-bound, bound)
    return bounded.to(torch.float32)


def _latent(bundle: Bundle, spec: CampaignSpec, request_id: str, ordinal: int) -> Tensor:
    z = latents(spec.seed, "asset", request_id, ordinal, count=1, z_dim=bundle.card.z_dim)
    return z if spec.truncation is None else truncated(z, spec.truncation)


@torch.no_grad()
def _images(bundle: Bundle, network: nn.Module, z: Tensor, c: Tensor) -> Images:
    try:
        return modality(bundle.card.modality).to_uint8(network(z, c))
    except DivergedError as error:
        raise DivergedError(
            f"bundle {bundle.digest[:8]}: {error} Nothing is minted from it; "
            "promote another version."
        ) from error


@lru_cache(maxsize=2)
def _bundle(folder: Path, digest: str) -> Bundle:
    """Open a bundle once in a process, and make sure that it is the one that is meant."""
    bundle = open_bundle(folder)
    if bundle.digest != digest:
        raise DamagedError(
            f"{folder}: holds bundle {bundle.digest[:12]}, expected {digest[:12]}. Fetch it again."
        )
    return bundle


@lru_cache(maxsize=2)
def _network(folder: Path, digest: str) -> nn.Module:
    return _bundle(folder, digest).generator("cpu")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on the calling thread alone; torch has a number of threads for each that calls it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_there(job: DrawJob) -> bool:
    try:
        read_drawn(job.path, job.key)
    except DamagedError:  # or not there yet
        return False
    return True


def _plain(look: Look) -> dict[str, Any]:
    """Return a look as JSON has it."""
    return {**asdict(look), "colour": look.colour.hex()}


def _look(plain: dict[str, Any]) -> Look:
    scores, colour = Scores(**plain["scores"]), bytes.fromhex(plain["colour"])
    return Look(**{**plain, "scores": scores, "colour": colour})
