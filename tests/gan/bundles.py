"""One way to pack a bundle of untrained networks, for every test that needs one."""

from collections.abc import Sequence
from pathlib import Path

import torch

from gan.bundle import Bundle, Card, pack
from gan.modality import modality

# Keys of a campaign whose screens set nothing aside: what untrained networks make is what they are
# there for.
UNSCREENED = {
    "rejection": 0.0,
    "budget": 1.0,
    "screens": {"off_class": 0.0, "near_distance": 0, "past": 0, "copies": 0.0},
}


def pack_untrained(
    folder: Path,
    classes: Sequence[str],
    *,
    seed: int = 1,
    resolution: int = 16,
    channels: int = 3,
    recipe: str = "tiny",
    data_digest: str = "d" * 64,
    kimg: float = 0.0,
    preset: str = "tiny",
) -> Bundle:
    """Return a packed bundle of a preset whose weights depend on `seed`."""
    room = modality("image")
    torch.manual_seed(seed)
    shape = (preset, resolution, channels, len(classes), torch.float32)
    card = Card(
        recipe=recipe,
        preset=preset,
        resolution=resolution,
        channels=channels,
        z_dim=room.z_dim(preset),
        classes=list(classes),
        data_digest=data_digest,
        start_digest=None,
        kimg=kimg,
        total_kimg=kimg,
        seed=seed,
        precision="float32",
        torch=torch.__version__,
        train={},
    )
    return pack(folder, room.build_generator(*shape), room.build_critic(*shape), card)
