"""What augmentation does to the critic's images must not be learnt by the generator."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan.bundle import latents, open_bundle
from gan.modality import modality
from gan.seeding import generator_at

SHIPPED = Path(__file__).resolve().parents[3] / "gan" / "shipped" / "stickers"
COUNT, BOX_PX = 500, 12


def _share_with_a_box(images: Tensor) -> float:
    """Return the share of images [N, 3, H, W] with a block of what cut-out fills with: 0."""
    empty = (images.abs().amax(dim=1, keepdim=True) < 0.04).float()
    fullest = avg_pool2d(empty, BOX_PX, stride=1).flatten(1).amax(dim=1)
    return float((fullest > 0.98).float().mean())


def test_cut_outs_do_not_leak_into_samples() -> None:
    """A model that was trained for 1,000 kimg on images with boxes cut out draws none itself.

    The same images after augmentation show them, so the eye that looks for boxes is not blind.
    """
    room, bundle = modality("image"), open_bundle(SHIPPED)
    strength = bundle.card.train["augment"]
    z = latents(1, "leak", count=COUNT, z_dim=bundle.card.z_dim)
    with torch.no_grad():
        made = bundle.generator()(z, torch.arange(COUNT) % len(bundle.card.classes))
    draws = room.augment_draws(COUNT, torch.device("cpu"), generator_at(1, "leak"))
    augmented = room.augment(made, torch.tensor(strength), draws)

    assert strength >= 0.3
    assert _share_with_a_box(augmented) > 0.1
    assert _share_with_a_box(made) == 0.0
