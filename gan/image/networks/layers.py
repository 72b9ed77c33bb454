"""What both house networks are made of: convolution, activation, residual block."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.grouped import grouped_conv, is_wanted

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))


class Conv(nn.Module):
    """A convolution without bias; its float32 weight is cast to the input's dtype on use."""

    def __init__(
        self, inputs: int, outputs: int, kernel_px: int, gain: float = 1.0, groups: int = 1
    ) -> None:
        """Draw the weight from N(0, gain^2 / fan_in); a gain of 0 starts the layer at zero."""
        super().__init__()
        weight = torch.randn(outputs, inputs // groups, kernel_px, kernel_px)
        weight *= gain / math.sqrt(inputs // groups * kernel_px**2)
        self.weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
        self.padding = kernel_px // 2
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W], same dtype."""
        weight = self.weight.to(x.dtype)
        if self.groups > 1:
            return grouped_conv(x, weight, self.groups)
        return F.conv2d(x, weight, padding=self.padding)


class Block(nn.Module):
    """x + conv1x1(act(conv3x3(act(conv1x1(x))))), biases only before the two activations."""

    def __init__(self, width: int, hidden: int, depth: int, groups: int = 1) -> None:
        """Initialise as Fixup for a network of `depth` blocks: the branch starts at zero."""
        super().__init__()
        gain = _GAIN * depth**-0.25
        self.narrow = Conv(width, hidden, 1, gain)
        self.bias1 = nn.Parameter(torch.zeros(1, hidden, 1, 1))
        self.mix = Conv(hidden, hidden, 3, gain, groups)
        self.bias2 = nn.Parameter(torch.zeros(1, hidden, 1, 1))
        self.widen = Conv(hidden, width, 1, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, width, H, W] to the same shape and dtype."""
        y = biased_leaky_relu(self.narrow(x), self.bias1.to(x.dtype))
        y = biased_leaky_relu(self.mix(y), self.bias2.to(x.dtype))
        out: Tensor = self.widen(y)
        return out.add_(x)


class Stage(nn.Sequential):
    """Residual blocks of one map size; on a processor, a few images at a time.

    What stays in the processor's cache is faster: grouped convolutions by a half at 32 px.
    """

    cache_bytes = 2 << 20  # of a block's widest map

    def __init__(self, *blocks: Block) -> None:
        """Take the blocks, in order."""
        super().__init__(*blocks)
        mix = blocks[0].mix
        self.hidden = mix.weight.shape[0] if mix.groups > 1 else 0  # 0: `tiny` runs whole, as ever

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, width, H, W] to the same shape and dtype."""
        count = len(x)
        if x.device.type == "cpu" and self.hidden:
            count = max(1, self.cache_bytes // (x[0, 0].numel() * self.hidden * x.element_size()))
        if count >= len(x):
            return self._through(x)
        return torch.cat([self._through(part) for part in x.split(count)])  # type: ignore[no-untyped-call]  # torch's own

    def _through(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x


def biased_leaky_relu(x: Tensor, bias: Tensor) -> Tensor:
    """Return leaky_relu(x + bias), slope 0.2, in x's own memory.

    Args:
        x: [N, C, H, W]: a convolution's result, which nothing else needs.
        bias: [1, C, 1, 1], of x's dtype.
    """
    out: Tensor = _BiasedLeakyReLU.apply(x, bias.view_as(bias))
    return out


class _BiasedLeakyReLU(torch.autograd.Function):
    """In place, as only the sign of the result is needed to go back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        F.leaky_relu_(x.add_(bias), _SLOPE)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        (y,) = ctx.saved_tensors
        for_x: Tensor = _Slope.apply(grads[0], y)
        return for_x, for_x.sum((0, 2, 3), keepdim=True) if is_wanted(ctx, 1) else None


class _Slope(torch.autograd.Function):
    """g times the slope at y. The slope is constant almost everywhere, so y gets no gradient.

    torch's own hands back zeros for y, which then flow through the rest of the network.
    """

    @staticmethod
    def forward(ctx: Any, g: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        out: Tensor = torch.ops.aten.leaky_relu_backward(g, y, _SLOPE, self_is_result=True)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        out: Tensor = _Slope.apply(grads[0], ctx.saved_tensors[0])
        return out, None
