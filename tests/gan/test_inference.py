"""What a generator makes, on the way to figures and pictures."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan.errors import DivergedError
from gan.inference import generate
from gan.modality import modality


class Shades(nn.Module):
    """One grey pixel an item: the latent, normalised over the batch in training mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.scale = nn.BatchNorm1d(1), nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return items [N, 1, 1, 1]."""
        items: Tensor = self.norm(z * self.scale)
        return items.view(len(c), 1, 1, 1)


def test_items_come_in_order_as_stored() -> None:
    """Any number of latents gives as many uint8 items; neighbours change none of them."""
    z, c = torch.linspace(-1, 1, 60)[:, None], torch.zeros(60, dtype=torch.int64)
    items = generate(modality("image"), Shades(), z, c)

    assert items.dtype == np.uint8
    assert items.shape == (60, 1, 1, 1)
    assert np.abs(items.ravel() - np.linspace(0, 255, 60)).max() <= 1
    np.testing.assert_array_equal(generate(modality("image"), Shades(), z[7:9], c[7:9]), items[7:9])


def test_the_network_is_left_as_it_was() -> None:
    """Modes of each part, running statistics and gradients are untouched, also after an error."""
    network = Shades()
    network.norm.eval()
    z, c = torch.tensor([[torch.inf]]), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(DivergedError, match="not finite"):
        generate(modality("image"), network, z, c)

    assert network.training
    assert not network.norm.training
    assert network.norm.num_batches_tracked == 0
    assert network.scale.requires_grad
    assert network.scale.grad is None
