"""The dense GAN of the field's textbooks, published for 32x32x3: a baseline.

The accounts have: z of 100, one hidden layer of 128 and a dense layer to the pixels with a tanh; a
critic from the pixels through 128 to one sigmoid; binary cross-entropy, batches of 128, Adam with
2e-4. Kept as they have it: both depths and widths, z, tanh for images in [-1, 1]. Mended, because a
literal reading does not train here, or does not fit what all networks of this room share:

* no sigmoid at the critic's end: the losses take logits. A saturated sigmoid has no gradient, and
  least squares through one could not reach its targets 0 and 1;
* leaky ReLU 0.2 in the critic, also where an account has a plain ReLU: with 128 units and nothing
  that normalises, units die for good, and a dead unit passes no gradient to the generator;
* no batch normalisation and no dropout in the critic, as in `conv28`: a score, and the penalties'
  gradient of it, must be of one image;
* weights from N(0, 0.02^2), as DCGAN's: the output begins as grey, far from where the tanh is flat;
* the generator's loss is `train.loss`; minimax is the non-saturating form;
* classes: an embedding beside z in the generator, a projection on the hidden layer in the critic.

It works at every side and with 1, 3 or 4 channels, so that it can be compared on a recipe's data.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.r3gan import Shape
from gan.image.networks.textbook import SLOPE, Dense, Latent, Score

_HIDDEN = 128


class Generator(nn.Module):
    """Latent and class to image."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations between the latent and the image are of `dtype`.

        Raises:
            ValueError: The resolution is below 1.
        """
        super().__init__()
        self.dtype = dtype
        self.image = _image(shape)
        self.latent = Latent(shape.num_classes)
        self.hidden = Dense(Latent.dims, _HIDDEN)
        self.pixels = Dense(_HIDDEN, self.image.numel())

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return images.

        Args:
            z: Latents, [N, 100], float32, standard normal.
            c: Class indices, [N], int64.

        Returns:
            [N, channels, resolution, resolution], float32, in [-1, 1].
        """
        x = F.relu(self.hidden(self.latent(z, c).to(self.dtype)))  # [N, 128]
        images: Tensor = self.pixels(x).float().tanh().unflatten(1, self.image)
        return images


class Critic(nn.Module):
    """Image and class to one score; higher means more real."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; the hidden layer is computed in `dtype`.

        Raises:
            ValueError: The resolution is below 1.
        """
        super().__init__()
        self.dtype = dtype
        self.hidden = Dense(_image(shape).numel(), _HIDDEN)
        self.score = Score(_HIDDEN, _HIDDEN, shape.num_classes)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return logits, [N], float32.

        Args:
            x: Images, [N, channels, resolution, resolution], float32, about [-1, 1].
            c: Class indices, [N], int64.
        """
        x = F.leaky_relu(self.hidden(x.flatten(1).to(self.dtype)), SLOPE).float()  # [N, 128]
        logits: Tensor = self.score(x, x, c)
        return logits


def _image(shape: Shape) -> torch.Size:
    """Return the size of one image, [C, H, W]."""
    if shape.resolution < 1:
        raise ValueError(f"resolution is {shape.resolution} px; it must be from 1 up")
    return torch.Size((shape.channels, shape.resolution, shape.resolution))
