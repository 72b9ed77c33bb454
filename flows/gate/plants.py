"""What the gate's self-test plants: a worse model, a copying one, a broken extractor."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gan.bundle import Bundle, pack
from gan.durable import write_atomically
from gan.metrics.cards import WEIGHTS
from gan.modality import Items, modality
from gan.paths import Layout
from gan.seeding import generator_at
from gan.split import split

_SPREADS = 1.0  # of noise on each weight: next to nothing is left of what was learnt
_BY_HEART = 1000  # images that the copying model knows, at most
_JITTER = 0.02  # of [-1, 1], how much a copy's brightness differs: two or three levels of 255


def worsened(model: Bundle, folder: Path) -> Bundle:
    """Return a bundle, packed into `folder`, of the model with noise on its generator's weights."""
    generator = model.generator()
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            noise = torch.randn(weight.shape, generator=generator_at(1, "self-test", name))
            weight.add_(_SPREADS * weight.std(correction=0) * noise)
    return pack(folder, generator, model.critic(), model.card)


def broken_workspace(layout: Layout, recipe: str, root: Path) -> Layout:
    """Return a workspace at `root` with the recipe's data, and its extractor with one byte off."""
    broken = Layout(root)
    data, extractor = broken.train_data(recipe), broken.extractor(recipe)
    data.parent.mkdir(parents=True)
    data.symlink_to(layout.train_data(recipe).absolute())
    shutil.copytree(layout.extractor(recipe), extractor)
    weights = bytearray((extractor / WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    write_atomically(extractor / WEIGHTS, bytes(weights))
    return broken


@dataclass(frozen=True)
class Copier(Bundle):
    """A model that draws training images again; it takes the latents and classes of another.

    Attributes:
        known: The images that it draws, sorted by class: uint8 [N, C, H, W].
        first: Where each class of the card begins among them, int64 [K].
        count: How many each has, int64 [K], from 1 up.
    """

    known: Tensor
    first: Tensor
    count: Tensor

    @classmethod
    def of(cls, model: Bundle, data: Items) -> "Copier":
        """Return a copier of the data's training images; none of those held out."""
        trained, _ = split(len(data), data.digest, data.groups)
        chosen = trained[np.linspace(0, len(trained) - 1, min(_BY_HEART, len(trained))).astype(int)]
        numbers = np.array([model.card.classes.index(name) for name in data.classes])
        classes = numbers[data.labels[chosen]]
        order = np.argsort(classes, kind="stable")
        every = np.arange(len(model.card.classes))
        first, end = (np.searchsorted(classes[order], every, side) for side in ("left", "right"))
        absent = first == end  # a class without an image has them all
        first, end = np.where(absent, 0, first), np.where(absent, len(chosen), end)
        return cls(
            folder=model.folder,
            digest=hashlib.sha256(f"copier {data.digest} {model.digest}".encode()).hexdigest(),
            card=model.card,
            known=torch.from_numpy(np.array(data.images[chosen[order]])),
            first=torch.from_numpy(first),
            count=torch.from_numpy(end - first),
        )

    def generator(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> nn.Module:
        """Return what looks images up: (z [N, z_dim], c [N]) -> images, about [-1, 1]."""
        return _Recall(self).to(device).to(dtype)


class _Recall(nn.Module):
    """Draws the image that latent and class point to, a little brighter or darker."""

    def __init__(self, copier: Copier) -> None:
        super().__init__()
        self.known = nn.Parameter(copier.known, requires_grad=False)
        self.first = nn.Parameter(copier.first, requires_grad=False)
        self.count = nn.Parameter(copier.count, requires_grad=False)
        self._from_uint8 = modality(copier.card.modality).from_uint8

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        share = torch.special.ndtr(z[:, 0]).clamp(max=1 - 1e-6)  # even in [0, 1)
        place = self.first[c] + (share * self.count[c]).long()
        jitter = _JITTER * z[:, 1].clamp(-2, 2)
        copies: Tensor = self._from_uint8(self.known[place]) + jitter[:, None, None, None]
        return copies
