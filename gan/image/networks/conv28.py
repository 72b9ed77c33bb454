"""The convolutional GAN of the field's textbooks, published for 28x28x1: a baseline.

The accounts, all descendants of DCGAN, have: z of 100, a dense layer to 7x7 maps, transposed
convolutions with batch normalisation and ReLU up to 28x28 with a tanh; a critic of strided
convolutions with batch normalisation or dropout and leaky ReLU 0.2, ending in a sigmoid; binary
cross-entropy, batches of 32, Adam with 2e-4. Kept as they have it: z, depth, widths, activations,
tanh for images in [-1, 1], N(0, 0.02^2) for every weight. Mended, because a literal reading does
not train here, or does not fit what all networks of this room share:

* no sigmoid at the critic's end: the losses take logits. A saturated sigmoid has no gradient, and
  least squares through one could not reach its targets 0 and 1;
* no batch normalisation in the critic: a score would depend on the neighbours in the batch, so
  that R1 and R2 were no longer per image, and reals and fakes could not share one pass;
* no dropout in the critic: a noisy score makes the penalties' gradient noise as well, and a
  resumed training draws its numbers by place, never from a layer;
* the generator's loss is `train.loss`; minimax is the non-saturating form, as the accounts' code
  (not their equation, which stops learning once the critic is sure) has it;
* kernels of 4 with stride 2, where accounts have 3 or 5: those overlap unevenly (a chequerboard)
  and need a padding of their own for each side;
* classes: an embedding beside z in the generator, a projection on summed features in the critic.

It works at every side that is a multiple of 4, with two stages always (the first map is a quarter
of the side), and with 1, 3 or 4 channels, so that it can be compared on a recipe's own data.
In training mode the generator normalises by the batch; in evaluation mode by running statistics,
which are buffers, so that an image no longer depends on its batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.r3gan import Shape
from gan.image.networks.textbook import SLOPE, Dense, Down, Latent, Score, Up

_WIDTHS = (128, 64)  # of the first map and of the one at half the side
_STD = 0.02


class Generator(nn.Module):
    """Latent and class to image."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations between the latent and the image are of `dtype`.

        Raises:
            ValueError: The resolution is not a multiple of 4 from 8 up.
        """
        super().__init__()
        self.dtype = dtype
        self.side_px = _quarter(shape.resolution)
        wide, narrow = _WIDTHS
        self.latent = Latent(shape.num_classes)
        self.start = Dense(Latent.dims, wide * self.side_px**2)
        self.norm1 = _norm(wide)
        self.up1 = Up(wide, narrow)
        self.norm2 = _norm(narrow)
        self.up2 = Up(narrow, shape.channels)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return images.

        Args:
            z: Latents, [N, 100], float32, standard normal.
            c: Class indices, [N], int64.

        Returns:
            [N, channels, resolution, resolution], float32, in [-1, 1].
        """
        x = self.start(self.latent(z, c).to(self.dtype))
        x = x.unflatten(1, (-1, self.side_px, self.side_px))  # [N, 128, H/4, W/4]
        x = self.up1(F.relu(self.norm1(x)))
        images: Tensor = self.up2(F.relu(self.norm2(x))).float().tanh()
        return images


class Critic(nn.Module):
    """Image and class to one score; higher means more real."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations between the image and the features are of `dtype`.

        Raises:
            ValueError: The resolution is not a multiple of 4 from 8 up.
        """
        super().__init__()
        self.dtype = dtype
        wide, narrow = _WIDTHS
        self.down1 = Down(shape.channels, narrow)
        self.down2 = Down(narrow, wide)
        self.score = Score(wide * _quarter(shape.resolution) ** 2, wide, shape.num_classes)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return logits, [N], float32.

        Args:
            x: Images, [N, channels, resolution, resolution], float32, about [-1, 1].
            c: Class indices, [N], int64.
        """
        x = F.leaky_relu(self.down1(x.to(self.dtype)), SLOPE)
        x = F.leaky_relu(self.down2(x), SLOPE).float()  # [N, 128, H/4, W/4]
        logits: Tensor = self.score(x.flatten(1), x.sum(dim=(2, 3)), c)
        return logits


def _quarter(resolution: int) -> int:
    """Return a quarter of a side in px."""
    if resolution < 8 or resolution % 4:
        raise ValueError(f"resolution is {resolution} px; it must be a multiple of 4 from 8 up")
    return resolution // 4


def _norm(width: int) -> nn.BatchNorm2d:
    """Return batch normalisation whose scale starts at N(1, 0.02^2), as DCGAN's."""
    norm = nn.BatchNorm2d(width)
    nn.init.normal_(norm.weight, 1.0, _STD)
    return norm
