"""The house network, R3GAN: residual generator and critic without normalisation, in four sizes.

After Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (2024): Fixup
initialisation, a learned basis of coarse maps, grouped 3x3 convolutions, a projection critic.
`small`, `base` and `large` are built as published. What `tiny`, for two cores, changes, and why:

* the 3x3 convolutions are dense and narrow: at this size that is faster on a processor;
* the finest layers work on 2x2-pixel patches (sub-pixel convolution, Shi et al. 2016), because
  full-resolution layers are where a processor's time goes;
* down-sampling is a 2x2 mean, up-sampling repeats the border.

Weights are float32; activations take the dtype given (bfloat16 where the hardware has it), except
in the coarsest stage; images and logits are float32. Maps lie in memory channels last.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.layers import Block, Conv, Stage
from gan.image.networks.presets import PRESETS, Preset, Shape
from gan.image.networks.resample import double, double_repeating, halve

__all__ = ["PRESETS", "Block", "Conv", "Critic", "Generator", "Preset", "Shape"]


class Generator(nn.Module):
    """Latent and class to image."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations beyond the coarsest stage are of `dtype`."""
        super().__init__()
        size, stages = shape.size, shape.stages()
        self.dtype = dtype
        self.basis = nn.Parameter(torch.randn(stages[0][0], shape.base_px, shape.base_px))
        self.embed = nn.Parameter(torch.randn(shape.num_classes, size.generator_embed))
        if size.is_published:  # a linear map of the one-hot class, as linear maps are initialised
            self.embed.data /= math.sqrt(shape.num_classes)
        inputs = size.z_dim + size.generator_embed
        self.scale = nn.Parameter(torch.randn(stages[0][0], inputs) / math.sqrt(inputs))
        self.stages = _stages(shape, stages)
        self.transitions = _transitions(shape, stages)
        outputs = shape.channels * size.patch_px**2
        self.paint = Conv(stages[-1][0], outputs, 1 if size.is_published else 3)
        self.patch_px = size.patch_px
        self.grow = double if size.is_published else double_repeating

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Return images.

        Args:
            z: Latents, [N, z_dim], float32, standard normal.
            c: Class indices, [N], int64.

        Returns:
            [N, channels, resolution, resolution], float32, about [-1, 1] but not clipped.
        """
        scale = F.linear(torch.cat([z, self.embed[c]], dim=1), self.scale)  # [N, width]
        x = self.basis * scale[:, :, None, None]  # [N, width, base_px, base_px]
        x = self.stages[0](x.to(memory_format=torch.channels_last)).to(self.dtype)
        for transition, stage in zip(self.transitions, self.stages[1:], strict=True):
            x = stage(self.grow(transition(x)))
        return F.pixel_shuffle(self.paint(x).float(), self.patch_px)


class Critic(nn.Module):
    """Image and class to one score; higher means more real."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        """Build for `shape`; activations before the coarsest stage are of `dtype`."""
        super().__init__()
        size, stages = shape.size, shape.stages()[::-1]
        self.dtype = dtype
        self.patch_px = size.patch_px
        inputs = shape.channels * size.patch_px**2
        self.look = Conv(inputs, stages[0][0], 1 if size.is_published else 3)
        self.stages = _stages(shape, stages)
        self.transitions = _transitions(shape, stages)
        width, side_px, embed = stages[-1][0], shape.base_px, size.critic_embed
        # A learned dot product per channel: the depthwise convolution of the whole map.
        self.pool = nn.Parameter(torch.randn(width, side_px, side_px) / side_px)
        self.head = nn.Parameter(torch.randn(embed, width) / math.sqrt(width))
        self.embed = nn.Parameter(torch.randn(shape.num_classes, embed) / math.sqrt(embed))
        if size.is_published:
            self.embed.data /= math.sqrt(shape.num_classes)
        self.shrink = halve if size.is_published else _mean_of_four

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Return logits, [N], float32.

        Args:
            x: Images, [N, channels, resolution, resolution], float32, about [-1, 1].
            c: Class indices, [N], int64.
        """
        x = F.pixel_unshuffle(x, self.patch_px).to(memory_format=torch.channels_last)
        x = self.look(x.to(self.dtype))
        for stage, transition in zip(self.stages, self.transitions, strict=False):
            x = transition(self.shrink(stage(x)))
        x = self.stages[-1](x.float())
        features = F.linear((x * self.pool).sum(dim=(2, 3)), self.head)  # [N, critic_embed]
        logits: Tensor = (features * self.embed[c]).sum(dim=1)
        return logits


def _mean_of_four(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _stages(shape: Shape, stages: list[tuple[int, int]]) -> nn.ModuleList:
    """Return each stage's residual blocks, in the order given."""
    blocks = shape.size.blocks
    depth = len(stages) * blocks
    return nn.ModuleList(
        Stage(*(Block(w, h, depth, shape.groups(h)) for _ in range(blocks))) for w, h in stages
    )


def _transitions(shape: Shape, stages: list[tuple[int, int]]) -> nn.ModuleList:
    """Return what changes the width between stages: 1x1 convolutions, or nothing."""
    return nn.ModuleList(
        nn.Identity() if shape.size.is_published and before == after else Conv(before, after, 1)
        for (before, _), (after, _) in pairwise(stages)
    )
