"""The house network: R3GAN's modernised residual generator and critic, with a preset for two cores.

After Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (2024): residual
blocks without normalisation, Fixup initialisation, a learned 4x4 basis, a projection critic.
What the `tiny` preset changes, and why:

* the 3x3 convolutions are dense and narrow: torch's double backward of grouped convolutions loops
  over the groups, which on a processor costs more than the arithmetic saved;
* the finest layers work on 2x2-pixel patches (sub-pixel convolution, Shi et al. 2016), because
  full-resolution layers are where a processor's time goes;
* down-sampling is a 2x2 mean, not the [1, 3, 3, 1] filter, which would be a grouped convolution.

Weights are float32; activations take the dtype given (bfloat16 where the hardware has it), except
in the 4x4 stage; images and logits are float32.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))


@dataclass(frozen=True)
class Preset:
    """A network size.

    Attributes:
        widths: Channels of the residual stream per stage, 4x4 first; the last one repeats.
        hidden: Channels of the 3x3 convolutions per stage, 4x4 first; the last one repeats.
        blocks: Residual blocks per stage.
        z_dim: Size of the latent.
        embed_dim: Size of the class embedding, in both networks.
        patch_px: Side of the pixel patch that one position of the finest stage stands for.
    """

    widths: tuple[int, ...]
    hidden: tuple[int, ...]
    blocks: int
    z_dim: int
    embed_dim: int
    patch_px: int


PRESETS = {
    # 2 cores, a few hundred images a second at 32x32; both networks together under 2 MB in float16.
    "tiny": Preset((256, 192, 128), (96, 96, 64), 1, 64, 64, 2),
}


@dataclass(frozen=True)
class Shape:
    """What a network is built for: preset, resolution in px (a power of two), channels, classes."""

    preset: str
    resolution: int
    channels: int
    num_classes: int

    @property
    def size(self) -> Preset:
        """The preset's numbers."""
        return PRESETS[self.preset]

    def stages(self) -> list[tuple[int, int]]:
        """Return (width, hidden) for each stage, 4x4 first."""
        count = int(math.log2(self.resolution // self.size.patch_px)) - 1
        widths, hidden = self.size.widths, self.size.hidden
        last = len(widths) - 1
        return [(widths[min(i, last)], hidden[min(i, last)]) for i in range(count)]


class Conv(nn.Module):
    """A convolution without bias; its float32 weight is cast to the input's dtype on use."""

    def __init__(self, inputs: int, outputs: int, kernel_px: int, gain: float = 1.0) -> None:
        """Draw the weight from N(0, gain^2 / fan_in); a gain of 0 starts the layer at zero."""
        super().__init__()
        weight = torch.randn(outputs, inputs, kernel_px, kernel_px)
        weight *= gain / math.sqrt(inputs * kernel_px**2)
        self.weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
        self.padding = kernel_px // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W], same dtype."""
        return F.conv2d(x, self.weight.to(x.dtype), padding=self.padding)


class Block(nn.Module):
    """x + conv1x1(act(conv3x3(act(conv1x1(x))))), biases only before the two activations."""

    def __init__(self, width: int, hidden: int, depth: int) -> None:
        """Initialise as Fixup for a network of `depth` blocks: the branch starts at zero."""
        super().__init__()
        gain = _GAIN * depth**-0.25
        self.narrow = Conv(width, hidden, 1, gain)
        self.bias1 = nn.Parameter(torch.zeros(1, hidden, 1, 1))
        self.mix = Conv(hidden, hidden, 3, gain)
        self.bias2 = nn.Parameter(torch.zeros(1, hidden, 1, 1))
        self.widen = Conv(hidden, width, 1, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, width, H, W] to the same shape and dtype."""
        y = F.leaky_relu(self.narrow(x) + self.bias1.to(x.dtype), _SLOPE)
        y = F.leaky_relu(self.mix(y) + self.bias2.to(x.dtype), _SLOPE)
        out: Tensor = x + self.widen(y)
        return out


class Generator(nn.Module):
    """Latent and class to image."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations beyond the 4x4 stage are of `dtype`."""
        super().__init__()
        size, stages = shape.size, shape.stages()
        depth = len(stages) * size.blocks
        self.dtype = dtype
        self.basis = nn.Parameter(torch.randn(stages[0][0], 4, 4))
        self.embed = nn.Parameter(torch.randn(shape.num_classes, size.embed_dim))
        inputs = size.z_dim + size.embed_dim
        self.scale = nn.Parameter(torch.randn(stages[0][0], inputs) / math.sqrt(inputs))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(w, h, depth) for _ in range(size.blocks))) for w, h in stages
        )
        self.transitions = nn.ModuleList(Conv(a, b, 1) for (a, _), (b, _) in pairwise(stages))
        self.paint = Conv(stages[-1][0], shape.channels * size.patch_px**2, 3)
        self.patch_px = size.patch_px

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return images.

        Args:
            z: Latents, [N, z_dim], float32, standard normal.
            c: Class indices, [N], int64.

        Returns:
            [N, channels, resolution, resolution], float32, about [-1, 1] but not clipped.
        """
        scale = F.linear(torch.cat([z, self.embed[c]], dim=1), self.scale)  # [N, width]
        x = self.basis * scale[:, :, None, None]  # [N, width, 4, 4]
        x = self.stages[0](x.to(memory_format=torch.channels_last)).to(self.dtype)
        for transition, stage in zip(self.transitions, self.stages[1:], strict=True):
            x = F.interpolate(transition(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = stage(x)
        return F.pixel_shuffle(self.paint(x).float(), self.patch_px)


class Critic(nn.Module):
    """Image and class to one score; higher means more real."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations before the 4x4 stage are of `dtype`."""
        super().__init__()
        size, stages = shape.size, shape.stages()[::-1]
        depth = len(stages) * size.blocks
        self.dtype = dtype
        self.patch_px = size.patch_px
        self.look = Conv(shape.channels * size.patch_px**2, stages[0][0], 3)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(w, h, depth) for _ in range(size.blocks))) for w, h in stages
        )
        self.transitions = nn.ModuleList(Conv(a, b, 1) for (a, _), (b, _) in pairwise(stages))
        width = stages[-1][0]
        self.pool = nn.Parameter(torch.randn(width, 4, 4) / 4)  # a learned dot product per channel
        self.head = nn.Parameter(torch.randn(size.embed_dim, width) / math.sqrt(width))
        self.embed = nn.Parameter(
            torch.randn(shape.num_classes, size.embed_dim) / math.sqrt(size.embed_dim)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return logits, [N], float32.

        Args:
            x: Images, [N, channels, resolution, resolution], float32, about [-1, 1].
            c: Class indices, [N], int64.
        """
        x = F.pixel_unshuffle(x, self.patch_px).to(memory_format=torch.channels_last)
        x = self.stages[0](self.look(x.to(self.dtype)))
        for transition, stage in zip(self.transitions, self.stages[1:], strict=True):
            x = transition(F.avg_pool2d(x, 2))
            x = stage(x.float() if x.shape[-1] == 4 else x)  # the 4x4 stage
        features = F.linear((x.float() * self.pool).sum(dim=(2, 3)), self.head)  # [N, embed_dim]
        logits: Tensor = (features * self.embed[c]).sum(dim=1)
        return logits
