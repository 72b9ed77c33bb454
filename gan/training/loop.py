"""The one training loop. Run it again after any interruption: it resumes, to the same bits on CPU.

An iteration is a critic step, a generator step and the average's update; progress is counted in
real images shown (`nimg`).
"""

import copy
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan.bundle import Bundle, Card, latents, open_bundle, pack
from gan.durable import replacing, run_lock
from gan.errors import DamagedError, PreemptedError
from gan.modality import Items, Modality, modality
from gan.paths import Layout
from gan.recipe import Recipe
from gan.seeding import generator_at, seed_at
from gan.training.checkpoint import State, restore_checkpoint, save_checkpoint
from gan.training.ema import update_average
from gan.training.guards import StopRequest, require_finite
from gan.training.identity import run_folder, start_digest
from gan.training.losses import critic_loss, generator_loss
from gan.training.preflight import (
    Hardware,
    choose_hardware,
    make_deterministic,
    require_enough,
    settle_threads,
)
from gan.training.sampler import indices
from gan.training.schedule import Values, values_at
from gan.training.stats import STATS, Stats

_TICKS = 40  # reports per training
_PICTURES = 8  # sample sheets per training


@dataclass(frozen=True)
class Session:
    """What stays the same from the first step to the last."""

    recipe: Recipe
    room: Modality
    data: Items
    pixels: Tensor  # uint8 [N, C, H, W], resident on the device
    classes: Tensor  # int64 [N], on the device
    hardware: Hardware
    start: Bundle | None
    z_dim: int
    folder: Path


def train(
    layout: Layout, recipe: Recipe, stop: StopRequest, checkpoint_seconds: float = 15.0
) -> Bundle:
    """Train the recipe's GAN on its prepared data and return the packed bundle.

    Args:
        layout: The workspace.
        recipe: What is trained, with its data prepared and its start pinned.
        stop: Asked after each step whether to save and stop.
        checkpoint_seconds: Time between two checkpoints: what a kill may cost.

    Raises:
        SourceError: Too few images for a batch.
        BusyError: The same training runs in another process.
        DamagedError: Prepared data, starting bundle or every checkpoint are damaged.
        DivergedError: A loss is not finite; nothing is packed.
        PreemptedError: Stopped by a signal or a dead parent, after a checkpoint.
    """
    folder = run_folder(layout, recipe)
    with run_lock(layout.lock(f"train-{recipe.name}"), f"train {recipe.name}"):
        session = _open_session(layout, recipe, folder)
        state = _fresh_state(session)
        for note in restore_checkpoint(folder, state):
            print(f"{note} Going back to the one before.", file=sys.stderr)
        if state.nimg:
            print(f"train {recipe.name}: resuming at {state.nimg / 1000:.1f} kimg", file=sys.stderr)
        _run(session, state, stop, checkpoint_seconds)
        return _pack(layout, session, state)


def _open_session(layout: Layout, recipe: Recipe, folder: Path) -> Session:
    room = modality("image")
    data = room.open_dataset(layout.train_data(recipe.name))
    require_enough(data, recipe.train, recipe.name)
    hardware = choose_hardware(recipe.train)
    make_deterministic(hardware.device)
    folder.mkdir(parents=True, exist_ok=True)
    settle_threads(folder)
    return Session(
        recipe=recipe,
        room=room,
        data=data,
        pixels=torch.from_numpy(np.array(data.images)).to(hardware.device),
        classes=torch.from_numpy(np.array(data.labels)).to(hardware.device),
        hardware=hardware,
        start=_open_start(layout, recipe, data),
        z_dim=room.z_dim(recipe.model.preset),
        folder=folder,
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


def _fresh_state(session: Session) -> State:
    """Return networks and optimizers before the first step, from the pinned bundle if any."""
    recipe, data, start = session.recipe, session.data, session.start
    shape = (recipe.model.preset, data.resolution, data.channels, len(data.classes))
    dtype, device = session.hardware.dtype, session.hardware.device
    torch.manual_seed(seed_at(recipe.train.seed, "weights"))
    generator = session.room.build_generator(*shape, dtype)
    critic = session.room.build_critic(*shape, dtype)
    if start is not None:
        generator.load_state_dict(start.generator().state_dict())
        critic.load_state_dict(start.critic().state_dict())
    generator, critic = generator.to(device), critic.to(device)
    average = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    optimizers = {
        "G": torch.optim.Adam(generator.parameters(), betas=(0.0, 0.9), fused=True),
        "D": torch.optim.Adam(critic.parameters(), betas=(0.0, 0.9), fused=True),
    }
    return State({"G": generator, "D": critic, "G_ema": average}, optimizers)


def _run(session: Session, state: State, stop: StopRequest, checkpoint_seconds: float) -> None:
    """Step until the budget of images is spent, with ticks, pictures and checkpoints on the way."""
    spec = session.recipe.train
    total = round(spec.kimg * 1000)
    label = f"train {session.recipe.name}"
    stats = Stats(session.folder / STATS, label, spec.kimg, state.nimg, state.seconds)
    saved = time.monotonic()
    while state.nimg < total:
        before = state.nimg
        _step(session, state, stats)
        state.seconds = stats.seconds
        done, reason = state.nimg >= total, stop.reason()
        if done or _crosses(before, state.nimg, total, _TICKS):
            stats.tick(state.nimg)
        if done or _crosses(before, state.nimg, total, _PICTURES):
            _picture(session, state)
        if done or reason or time.monotonic() - saved > checkpoint_seconds:
            save_checkpoint(session.folder, state)
            saved = time.monotonic()
        if reason and not done:
            at = f"{state.nimg / 1000:.1f} of {spec.kimg:g} kimg"
            raise PreemptedError(f"{label}: stopped at {at} ({reason}); the same command resumes.")


def _crosses(before: int, after: int, total: int, parts: int) -> bool:
    """Return whether a boundary of `parts` equal shares of `total` lies in (before, after]."""
    return before * parts // total != after * parts // total


def _step(session: Session, state: State, stats: Stats) -> None:
    """Take one critic step, one generator step, and move the average."""
    spec, device = session.recipe.train, session.hardware.device
    networks, nimg = state.networks, state.nimg
    values = values_at(nimg, spec, warm=session.start is not None)
    for optimizer in state.optimizers.values():
        optimizer.param_groups[0].update(lr=values.lr, betas=(0.0, values.beta2))
    draws = generator_at(spec.seed, "augment", nimg, device=device)

    def score(images: Tensor, c: Tensor) -> Tensor:
        logits: Tensor = networks["D"](session.room.augment(images, values.augment, draws), c)
        return logits

    reals, c = _real_batch(session, "D", nimg, draws)
    with torch.no_grad():
        fakes = networks["G"](_latent_batch(session, "D", nimg), c)
    terms = critic_loss(score, reals, fakes, c, values.gamma, spec.batch_size // 4)
    _descend(state.optimizers["D"], terms.loss, nimg, "loss_d")

    reals, c = _real_batch(session, "G", nimg, draws)
    networks["D"].requires_grad_(requires_grad=False)
    loss_g = generator_loss(score, reals, networks["G"](_latent_batch(session, "G", nimg), c), c)
    _descend(state.optimizers["G"], loss_g, nimg, "loss_g")
    networks["D"].requires_grad_(requires_grad=True)

    update_average(networks["G_ema"], networks["G"], spec.batch_size, values.ema_half_life)
    state.nimg += spec.batch_size
    parts = {"loss_d": terms.pairing, "r1": terms.r1, "r2": terms.r2, "gap": terms.gap}
    _add_stats(stats, {**parts, "loss_g": loss_g}, values)


def _descend(optimizer: torch.optim.Adam, loss: Tensor, nimg: int, name: str) -> None:
    require_finite(nimg, **{name: loss.item()})
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _add_stats(stats: Stats, parts: dict[str, Tensor], values: Values) -> None:
    measured = {name: value.item() for name, value in parts.items()}
    stats.add(**measured, lr=values.lr, gamma=values.gamma, augment=values.augment)


def _real_batch(
    session: Session, role: str, nimg: int, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return (images [B, C, H, W] float32 in [-1, 1], classes [B] int64) of one step."""
    spec, device = session.recipe.train, session.hardware.device
    chosen = indices(spec.seed, role, nimg, spec.batch_size, len(session.data)).to(device)
    images = session.room.from_uint8(session.pixels[chosen])
    return (session.room.flip(images, draws) if spec.flip else images), session.classes[chosen]


def _latent_batch(session: Session, role: str, nimg: int) -> Tensor:
    spec = session.recipe.train
    z = latents(spec.seed, "z", role, nimg, count=spec.batch_size, z_dim=session.z_dim)
    return z.to(session.hardware.device)


@torch.no_grad()
def _picture(session: Session, state: State) -> None:
    """Write what the average draws from fixed latents, a column a class: ticks compare."""
    count = min(len(session.data.classes), 16)
    c = torch.arange(count).repeat(4).to(session.hardware.device)
    z = latents(session.recipe.train.seed, "picture", count=len(c), z_dim=session.z_dim)
    images = state.networks["G_ema"](z.to(session.hardware.device), c)
    sheet = session.room.grid(session.room.to_uint8(images), columns=count, scale=2)
    with replacing(session.folder / f"samples-{state.nimg:09d}.png") as partial:
        sheet.save(partial, "PNG")


def _pack(layout: Layout, session: Session, state: State) -> Bundle:
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
    )
    return pack(layout.bundle(recipe.name), state.networks["G_ema"], state.networks["D"], card)
