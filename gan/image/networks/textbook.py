"""What the two textbook networks share: layers of DCGAN's initialisation that take any dtype.

Every weight is drawn from N(0, 0.02^2) and every bias starts at 0 (Radford et al., "Unsupervised
Representation Learning with Deep Convolutional Generative Adversarial Networks", 2015). Weights
are float32 and cast to the input's dtype on use, as in the house network.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

Z_DIM = 100
CLASS_DIM = 50  # of the class embedding beside z
SLOPE = 0.2  # of the critics' leaky ReLU
_STD = 0.02
_KERNEL_PX = 4  # a multiple of the stride: no chequerboard, and a side exactly halves or doubles
_STRIDE = 2
_PADDING = 1


class Dense(nn.Module):
    """A linear map with a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Draw the weight."""
        super().__init__()
        self.weight = nn.Parameter(_STD * torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs] to [N, outputs], same dtype."""
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class Down(nn.Module):
    """A strided 4x4 convolution with a bias: half the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Draw the weight."""
        super().__init__()
        self.weight = nn.Parameter(_STD * torch.randn(outputs, inputs, _KERNEL_PX, _KERNEL_PX))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/2, W/2], same dtype."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, stride=_STRIDE, padding=_PADDING)


class Up(nn.Module):
    """A strided 4x4 transposed convolution with a bias: twice the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Draw the weight."""
        super().__init__()
        self.weight = nn.Parameter(_STD * torch.randn(inputs, outputs, _KERNEL_PX, _KERNEL_PX))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, 2H, 2W], same dtype."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.conv_transpose2d(x, weight, bias, stride=_STRIDE, padding=_PADDING)


class Latent(nn.Module):
    """z with the class beside it, as in conditional GANs (Mirza and Osindero 2014)."""

    dims = Z_DIM + CLASS_DIM

    def __init__(self, num_classes: int) -> None:
        """Draw the embeddings as z is drawn, from N(0, 1), so that neither drowns the other."""
        super().__init__()
        self.embed = nn.Parameter(torch.randn(num_classes, CLASS_DIM))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Map z [N, 100] float32 and classes [N] int64 to [N, 150] float32."""
        return torch.cat([z, self.embed[c]], dim=1)


class Score(nn.Module):
    """Features to one logit, with a projection on the class (Miyato and Koyama 2018)."""

    def __init__(self, inputs: int, pooled: int, num_classes: int) -> None:
        """Build for `inputs` features, of which `pooled` sums meet the class."""
        super().__init__()
        self.dense = Dense(inputs, 1)
        self.embed = nn.Parameter(_STD * torch.randn(num_classes, pooled))

    def forward(self, features: Tensor, pooled: Tensor, c: Tensor) -> Tensor:
        """Map float32 [N, inputs], float32 [N, pooled] and classes [N] to logits [N] float32."""
        logits: Tensor = self.dense(features).squeeze(1) + (pooled * self.embed[c]).sum(dim=1)
        return logits
