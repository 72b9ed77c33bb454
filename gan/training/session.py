"""One training as it is opened: what stays the same from its first step to its last."""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gan.bundle import Bundle, Card, open_bundle, pack
from gan.errors import DamagedError
from gan.modality import Items, Modality, modality
from gan.paths import Layout
from gan.recipe import Recipe
from gan.seeding import seed_at
from gan.split import split
from gan.training.checkpoint import State
from gan.training.identity import start_digest
from gan.training.losses import OBJECTIVES
from gan.training.preflight import (
    Hardware,
    choose_hardware,
    make_deterministic,
    require_enough,
    settle_threads,
)
from gan.training.step import Stepper
from gan.training.team import Team
from gan.training.watch import Remedy


@dataclass(frozen=True)
class Session:
    """What stays the same from the first step to the last.

    Attributes:
        layout: The workspace.
        recipe: What is trained.
        room: The modality.
        data: The prepared data.
        train: Ordinals of the images to train on, int64.
        held_out: Ordinals of those that training never sees, int64; may be empty.
        hardware: Device and number format.
        team: The processes that share a batch.
        start: The bundle that training starts from, or None for scratch.
        z_dim: Size of a latent.
        folder: Of checkpoints and statistics.
    """

    layout: Layout
    recipe: Recipe
    room: Modality
    data: Items
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    hardware: Hardware
    team: Team
    start: Bundle | None
    z_dim: int
    folder: Path


def open_session(
    layout: Layout, recipe: Recipe, folder: Path, team: Team, *, warm: bool = True
) -> Session:
    """Open data and starting bundle, and choose the hardware.

    Args:
        layout: The workspace.
        recipe: What is trained.
        folder: Of checkpoints and statistics; made if it is not there.
        team: The processes that share a batch.
        warm: Whether to open the starting bundle; what only measures does not need its weights.

    Raises:
        SourceError: Too few images for a batch.
        DamagedError: Prepared data or starting bundle are damaged or not here.
        UsageError: The recipe asks for a device that is not there.
    """
    room = modality("image")
    data = room.open_dataset(layout.train_data(recipe.name))
    train, held_out = split(len(data), data.digest, data.groups)
    require_enough(len(train), recipe.train, recipe.name)
    hardware = choose_hardware(recipe.train, team)
    make_deterministic(hardware.device, wanted=recipe.train.deterministic)
    folder.mkdir(parents=True, exist_ok=True)
    settle_threads(folder, team)
    return Session(
        layout=layout,
        recipe=recipe,
        room=room,
        data=data,
        train=train,
        held_out=held_out,
        hardware=hardware,
        team=team,
        start=_open_start(layout, recipe, data) if warm else None,
        z_dim=room.z_dim(recipe.model.preset),
        folder=folder,
    )


def fresh_state(session: Session, attempt: int = 0) -> State:
    """Return networks and optimizers before the first step, from the pinned bundle if any.

    Args:
        session: The training.
        attempt: Roll-backs so far; each draws other weights where training starts from scratch.
    """
    recipe, data, start = session.recipe, session.data, session.start
    shape = (recipe.model.preset, data.resolution, data.channels, len(data.classes))
    dtype, device = session.hardware.dtype, session.hardware.device
    again = (attempt,) if attempt else ()
    torch.manual_seed(seed_at(recipe.train.seed, "weights", *again))
    generator = session.room.build_generator(*shape, dtype)
    critic = session.room.build_critic(*shape, dtype)
    if start is not None:
        generator.load_state_dict(start.generator().state_dict())
        critic.load_state_dict(start.critic().state_dict())
    generator, critic = generator.to(device), critic.to(device)
    average = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    return State(
        networks={"G": generator, "D": critic, "G_ema": average},
        optimizers={"G": _adam(session, generator), "D": _adam(session, critic)},
        attempt=attempt,
        gamma=_inherited_gamma(session),
    )


def build_stepper(
    session: Session, state: State, remedy: Remedy, team: Team, *, parts: int = 1
) -> Stepper:
    """Return what takes the training's iterations on `state`.

    Args:
        session: The training.
        state: Whose networks learn.
        remedy: What roll-backs changed.
        team: The processes that exchange gradients.
        parts: Micro-batches of a step.
    """
    spec = session.recipe.train
    penalised = spec.gamma == "auto" or spec.gamma > 0
    whole = spec.penalty == "whole" or remedy.whole_penalty
    if remedy.float32_critic:
        setattr(state.networks["D"], "dtype", torch.float32)  # noqa: B010  # of every critic
    return Stepper(
        state.networks,
        state.optimizers,
        session.room,
        OBJECTIVES[spec.loss],
        team,
        penalty="none" if not penalised else "whole" if whole else "quarter",
        augments=spec.augment > 0,
        flips=spec.flip,
        parts=parts,
    )


def pack_bundle(session: Session, state: State, *, degraded: bool) -> Bundle:
    """Write the bundle of a training that has ended, and return it."""
    recipe, data, start = session.recipe, session.data, session.start
    before = start.card.total_kimg if start else 0.0
    card = Card(
        recipe=recipe.name,
        preset=recipe.model.preset,
        resolution=data.resolution,
        channels=data.channels,
        z_dim=session.z_dim,
        classes=data.classes,
        data_digest=data.digest,
        start_digest=start.digest if start else None,
        kimg=state.nimg / 1000,
        total_kimg=before + state.nimg / 1000,
        seed=recipe.train.seed,
        precision=session.hardware.precision,
        torch=torch.__version__,
        train=recipe.train.model_dump(),
        status="degraded" if degraded else "healthy",
        rollbacks=state.attempt,
        gamma=state.gamma,
    )
    folder = session.layout.bundle(recipe.name)
    return pack(folder, state.networks["G_ema"], state.networks["D"], card)


def _inherited_gamma(session: Session) -> float | None:
    """Return the gamma that `auto` goes on with: that of the bundle that training starts from.

    Chosen anew each time, it would follow the gradients that the last choice led to: weaker
    penalties, steeper critics, a smaller choice, night after night.
    """
    if session.start is None or session.recipe.train.gamma != "auto":
        return None
    card = session.start.card
    given = card.train.get("gamma")
    found = given if isinstance(given, int | float) else card.gamma
    return found or None  # a start without a penalty has none to hand on


def _adam(session: Session, network: nn.Module) -> torch.optim.Adam:
    """Return Adam with a rate that is a tensor: it changes without a new capture of the step."""
    spec, device = session.recipe.train, session.hardware.device
    return torch.optim.Adam(
        network.parameters(),
        lr=torch.tensor(spec.lr, device=device),
        betas=(spec.beta1, 0.9),
        fused=True,
        capturable=device.type == "cuda",
    )


def _open_start(layout: Layout, recipe: Recipe, data: Items) -> Bundle | None:
    """Return the pinned bundle, fetched or shipped with the code, or None to start from scratch."""
    digest = start_digest(layout, recipe)
    if digest is None:
        return None
    for folder in (layout.bundle_store / digest, layout.shipped_bundle(recipe.name)):
        if folder.is_dir():
            bundle = open_bundle(folder)
            if bundle.digest == digest:
                return _if_of_shape(bundle, recipe, data)
    raise DamagedError(
        f"{layout.pin(recipe.name)}: bundle {digest[:12]} is not on this machine. "
        f"Fetch it with: ganmill retrain {recipe.name}"
    )


def _if_of_shape(bundle: Bundle, recipe: Recipe, data: Items) -> Bundle | None:
    """Return the bundle if its networks are those that recipe and data ask for."""
    card = bundle.card
    found = (card.preset, card.resolution, card.channels, card.classes)
    if found == (recipe.model.preset, data.resolution, data.channels, data.classes):
        return bundle
    print(
        f"train {recipe.name}: the pinned bundle has another shape; from scratch.", file=sys.stderr
    )
    return None
