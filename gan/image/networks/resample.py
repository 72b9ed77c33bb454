"""Halving and doubling of maps by the filter [1, 3, 3, 1], each the other's derivative.

Let S be the separable filter [1, 3, 3, 1]/8 with stride 2 and zeros beyond the border: one axis of
`halve`. Bilinear doubling is then 2 S^T (x[i-1] + 3 x[i])/4, (3 x[i] + x[i+1])/4. So in two axes
the derivative of halving is doubling over 4, that of doubling is halving times 4, and so on for any
order. Both run as forward operations only: torch's own derivative of an interpolation adds in no
fixed order on CUDA, and its derivatives of a depthwise convolution are slow everywhere.

`double_repeating` is `F.interpolate`, which repeats the border instead: the same inside.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it


def halve(x: Tensor) -> Tensor:
    """Map [N, C, 2H, 2W] to [N, C, H, W], same dtype: [1, 3, 3, 1]/8 in both axes."""
    return _apply(_Halve, x, 1.0)


def double(x: Tensor) -> Tensor:
    """Map [N, C, H, W] to [N, C, 2H, 2W], same dtype: bilinear, zeros beyond the border."""
    return _apply(_Double, x, 1.0)


def double_repeating(x: Tensor) -> Tensor:
    """Map [N, C, H, W] to [N, C, 2H, 2W], same dtype: bilinear, the border repeated."""
    return _apply(_DoubleRepeating, x)


def _apply(function: type[torch.autograd.Function], *values: Any) -> Tensor:
    out: Tensor = function.apply(*values)
    return out


def _filter(x: Tensor, padding_px: int, gain: float) -> Tensor:
    """Return [1, 3, 3, 1]/8 with stride 2 in both axes, times `gain`, as a depthwise convolution.

    The weights are small integers over a power of two: exact in bfloat16.
    """
    channels = x.shape[1]
    place = torch.arange(4, device=x.device)  # made there: a copy from the host would wait
    axis = 1 + place * (3 - place)
    kernel = (axis[:, None] * axis * (gain / 64)).to(x.dtype)
    weight = kernel.expand(channels, 1, 4, 4).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, weight, stride=2, padding=padding_px, groups=channels)


def _bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: float) -> Tensor:
        ctx.gain = gain
        return _filter(x, 1, gain)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _apply(_Double, grads[0], ctx.gain / 4), None


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: float) -> Tensor:
        ctx.gain = gain
        wide = _bilinear(F.pad(x if gain == 1.0 else x * gain, (1, 1, 1, 1)))
        return wide[:, :, 2:-2, 2:-2].contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _apply(_Halve, grads[0], ctx.gain * 4), None


class _DoubleRepeating(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return _bilinear(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return _apply(_GatherRepeating, grads[0])


class _GatherRepeating(torch.autograd.Function):
    """The transpose of `double_repeating`: the filter on the map with its border repeated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return _filter(F.pad(x, (1, 1, 1, 1), mode="replicate"), 0, 4.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return _apply(_DoubleRepeating, grads[0])
