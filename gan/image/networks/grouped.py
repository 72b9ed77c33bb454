"""A grouped convolution whose every derivative is one convolution call, never one per group.

torch's double backward of a grouped convolution slices the groups and convolves each: a critic step
of the published CIFAR-10 size makes 1,795 calls that way. A convolution is bilinear, so its
derivatives close over two operations, the convolution itself and its weight's gradient:

    conv(x, w)      d/dx: conv(g, turned(w))      d/dw: correlate(x, g)
    correlate(x, g) d/dx: conv(g, turned(v))      d/dg: conv(x, v)       for a gradient v

where turned(w) swaps a group's inputs and outputs and rotates the kernel by half a turn (stride 1,
an odd kernel, zeros beyond the border, as many maps out as in).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it


def grouped_conv(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Convolve each group of channels by itself, at stride 1 and with the same size out.

    Args:
        x: [N, C, H, W], C a multiple of `groups`.
        weight: [C, C / groups, k, k], k odd, of x's dtype.
        groups: Number of groups.

    Returns:
        [N, C, H, W], of x's dtype. It can be differentiated any number of times.
    """
    # A view, so that the engine can say whether a weight that is a leaf wants its gradient.
    out: Tensor = _Conv.apply(x, weight.view_as(weight), groups)
    return out


def _turned(weight: Tensor, groups: int) -> Tensor:
    """Return the weight that carries a gradient back: [C, C / groups, k, k] to the same shape."""
    outputs, inputs, *kernel = weight.shape
    grouped = weight.reshape(groups, outputs // groups, inputs, *kernel).transpose(1, 2)
    return grouped.reshape(groups * inputs, outputs // groups, *kernel).flip(2, 3)


def is_wanted(ctx: Any, place: int) -> bool:
    """Return whether the backward pass that runs now wants the gradient of an input, not a leaf.

    `ctx.needs_input_grad` says only whether it could be. A penalty asks for the gradient of the
    images with `create_graph`, and the weights' would be a third of its work for nothing. Only
    under `create_graph` is the engine asked: elsewhere the weights' gradient is always wanted.
    """
    if not ctx.needs_input_grad[place]:
        return False
    if not torch.is_grad_enabled():
        return True
    return torch._C._will_engine_execute_node(ctx.next_functions[place][0])  # noqa: SLF001  # as torch.autograd.graph does


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        weight = weight.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (g,), (x, weight), groups = grads, ctx.saved_tensors, ctx.groups
        for_x = for_weight = None
        if ctx.needs_input_grad[0]:
            for_x = grouped_conv(g, _turned(weight, groups), groups)
        if is_wanted(ctx, 1):
            for_weight = _Correlate.apply(x, g, weight.shape, groups)
        return for_x, for_weight, None


class _Correlate(torch.autograd.Function):
    """The gradient of a convolution's weight: [C, C / groups, k, k] of x and g [N, C, H, W]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, shape: torch.Size, groups: int) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.groups = groups
        padding = [shape[-1] // 2] * 2
        like = torch.empty(shape, dtype=x.dtype, device=x.device)
        like = like.to(memory_format=torch.channels_last)  # only its shape and layout are read
        _, out, _ = torch.ops.aten.convolution_backward(
            g,
            x,
            like,
            None,
            [1, 1],
            padding,
            [1, 1],
            False,  # noqa: FBT003  # the operator takes no names
            [0, 0],
            groups,
            [False, True, False],
        )
        return out  # type: ignore[no-any-return]  # torch's own

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (v,), (x, g), groups = grads, ctx.saved_tensors, ctx.groups
        for_x = grouped_conv(g, _turned(v, groups), groups) if ctx.needs_input_grad[0] else None
        for_g = grouped_conv(x, v, groups) if ctx.needs_input_grad[1] else None
        return for_x, for_g, None, None
