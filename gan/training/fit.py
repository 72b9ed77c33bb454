"""How a step is laid on the device: in how many micro-batches, and whether as a CUDA graph.

Chosen once when a training begins, kept in its folder as `fit.json` with the device's name, and
chosen anew on another device or for another number of processes. Never changed while a training
runs: a step that no longer fits ends it with a clear message.

Micro-batches of pairs are exact: losses and penalties are means over images that no network here
mixes, so the mean over parts is the same gradient up to the order of float sums. Kept, that order
is the same for whoever resumes. A network with batch normalisation does mix images, and is refused
instead.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan.durable import read_json, write_json
from gan.errors import GanmillError
from gan.hardware import free_bytes
from gan.training.feed import Feed
from gan.training.session import Session, fresh_state
from gan.training.trial import Trial, release, try_out

if TYPE_CHECKING:
    from gan.training.arithmetic import Rehearsal

FIT = "fit.json"
_SHARE = 0.9  # of the memory that is there: measurements and the allocator's gaps take the rest
_TEMPORARIES = 2.0  # of the activations counted: the house network's steps took 1.3 to 1.8 of them
_COPIES = 4  # of a weight: itself, its gradient, Adam's two moments
_CLOSE = 0.01  # between two ways to take the same steps, as a share of how far the weights moved


@dataclass(frozen=True)
class Fit:
    """How a step is laid on the device.

    Attributes:
        device: Its name.
        processes: That share a batch.
        parts: Micro-batches of a step.
        captures: Whether the step is replayed as a CUDA graph.
        because: Why, with the figures where it was measured.
    """

    device: str
    processes: int
    parts: int
    captures: bool
    because: str

    @property
    def said(self) -> str:
        """It as a sentence, for whoever watches the training."""
        cut = f"in {self.parts} parts, as memory allows" if self.parts > 1 else "whole"
        way = "replayed as a CUDA graph" if self.captures else "taken as it is"
        return f"a step is {way}, {cut}: {self.because}"


def settle_fit(session: Session, feed: Feed) -> Fit:
    """Return the training's fit: as its folder has it, else chosen now and kept there.

    Args:
        session: The training.
        feed: Placed on its device.

    Raises:
        DamagedError: `fit.json` is not readable.
        GanmillError: Memory is too small for the smallest micro-batch, or for a batch that must
            stay whole.
    """
    path, team = session.folder / FIT, session.team
    kept = read_json(path) if path.exists() else {}
    wanted = device_name(session.hardware.device), team.size
    if team.told((kept.get("device"), kept.get("processes")) == wanted):
        return Fit(**team.told(kept))
    found = choose_fit(session, feed)
    largest = team.worst(torch.tensor(found.parts))
    fit = Fit(**team.told({**asdict(found), "parts": int(largest)}))
    if team.leads:
        write_json(path, asdict(fit))
    return fit


def choose_fit(session: Session, feed: Feed) -> Fit:
    """Return the fit of this process's part of a batch to its device, as it is now.

    Raises:
        GanmillError: Memory is too small.
    """
    if session.hardware.device.type == "cuda":
        return _by_trial(session, feed)
    return _fit(session, _by_arithmetic(session), captures=False, because="no GPU")


def _fit(session: Session, parts: int, *, captures: bool, because: str) -> Fit:
    name = device_name(session.hardware.device)
    return Fit(name, session.team.size, parts, captures, because)


def device_name(device: torch.device) -> str:
    """Return what a GPU calls itself, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def possible_parts(images: int) -> Iterator[int]:
    """Yield into how many parts so many images can be cut, each a multiple of 4, ever smaller."""
    last = 0
    for parts in range(1, images // 4 + 1):
        if images % (4 * parts) == 0 and parts >= 2 * last:
            last = parts
            yield parts


def _by_arithmetic(session: Session) -> int:
    """Return the fewest parts whose activations fit into the processor's free memory."""
    networks, rehearsal = _rehearsed(session)
    item = session.data.images.shape[1:]
    weights = sum(p.numel() for network in networks for p in network.parameters())
    free = _SHARE * free_bytes(session.hardware.device) / session.team.size
    images = _images(session)
    needed = 0.0
    for parts in possible_parts(images):
        rehearsal.batch = images // parts
        critic = rehearsal.critic_step(session.z_dim, item).activations
        generator = rehearsal.generator_step(session.z_dim, item).activations
        needed = 4.0 * _COPIES * weights + _TEMPORARIES * max(critic, generator)
        if needed <= free:
            _require_separable(session, networks[0], parts, needed, free)
            return parts
    raise GanmillError(_too_small(session, needed, free))


def _rehearsed(session: Session) -> "tuple[list[nn.Module], Rehearsal]":
    """Return generator and critic without content, and what counts their steps."""
    from gan.training.arithmetic import META, Rehearsal

    recipe, data = session.recipe, session.data
    shape = (recipe.model.preset, data.resolution, data.channels, len(data.classes))
    with META:
        networks = [
            session.room.build_generator(*shape, session.hardware.dtype),
            session.room.build_critic(*shape, session.hardware.dtype),
        ]
    return networks, Rehearsal(session.room, recipe.train, networks[0], networks[1])


def _by_trial(session: Session, feed: Feed) -> Fit:
    """Return the fewest parts that a GPU has memory for, and the faster way to take them."""
    device = session.hardware.device
    network = _rehearsed(session)[0][0]
    for parts in possible_parts(_images(session)):
        _require_separable(session, network, parts, None, None)
        eager = _attempt(session, feed, parts, captures=False)
        if eager is not None and _has_room(device, eager):
            captures, because = _weigh(session, feed, parts, eager)
            return _fit(session, parts, captures=captures, because=because)
    raise GanmillError(_too_small(session, None, free_bytes(device)))


def _weigh(session: Session, feed: Feed, parts: int, eager: Trial) -> tuple[bool, str]:
    """Return whether to capture the step, and why: only if it is faster and computes the same."""
    plain = f"{eager.images_per_second:.0f} img/s"
    if session.team.size > 1:
        return False, f"eager, {plain}: processes exchange gradients within a step"
    graph = _attempt(session, feed, parts, captures=True)
    if graph is None or graph.failure is not None:
        reason = "out of memory" if graph is None else graph.failure
        return False, f"eager, {plain}: a step cannot be captured ({reason})"
    apart = difference(session, eager, graph)
    if apart > (0.0 if session.recipe.train.deterministic else _CLOSE):
        return False, f"eager, {plain}: a captured step differs by {apart:.2g} of a step"
    found = f"{graph.images_per_second:.0f} img/s captured, {plain} eager"
    return graph.seconds < eager.seconds and _has_room(session.hardware.device, graph), found


def difference(session: Session, one: Trial, other: Trial) -> float:
    """Return how far apart two trials ended, as a share of how far the first one moved."""
    networks = fresh_state(session).networks
    begun = torch.cat([p.detach().flatten().cpu() for n in "GD" for p in networks[n].parameters()])
    apart, moved = (one.weights - other.weights).norm(), (one.weights - begun).norm()
    return float(apart / moved)


def _attempt(session: Session, feed: Feed, parts: int, *, captures: bool) -> Trial | None:
    """Return a trial, or None where memory was too small for it."""
    trial = None
    with suppress(torch.OutOfMemoryError):
        trial = try_out(session, feed, parts=parts, captures=captures)
    release(session.hardware.device)
    return trial


def _has_room(device: torch.device, trial: Trial) -> bool:
    """Return whether a GPU has room for more than the trial took, others' memory counted."""
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    return trial.peak_bytes + others <= _SHARE * total


def _images(session: Session) -> int:
    """Return the images of a step of this process."""
    return session.recipe.train.batch_size // session.team.size


def _require_separable(
    session: Session, generator: nn.Module, parts: int, needed: float | None, free: float | None
) -> None:
    """Refuse micro-batches of a network that normalises by its batch."""
    if parts > 1 and any(isinstance(part, _BatchNorm) for part in generator.modules()):
        raise GanmillError(
            f"{_too_small(session, needed, free, whole=True)} Parts of a batch cannot stand in for "
            f"it: {session.recipe.model.preset} normalises by the batch."
        )


def _too_small(
    session: Session, needed: float | None, free: float | None, *, whole: bool = False
) -> str:
    """Say that memory is too small for a step."""
    recipe, data = session.recipe, session.data
    images = _images(session) if whole else 4
    figures = [f"needs about {needed / 1e9:.2g} GB"] if needed is not None else ["does not fit"]
    figures += [f"{free / 1e9:.2g} GB are free"] if free is not None else []
    return (
        f"train {recipe.name}: a step on {images} images of {data.resolution} px with "
        f"{recipe.model.preset} {'; '.join(figures)} on {device_name(session.hardware.device)}. "
        "Take a smaller model.preset, a lower train.batch_size or more train.gpus in params.yaml."
    )
