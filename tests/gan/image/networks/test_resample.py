"""Halving and doubling: the published filter, and derivatives that are its transposes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from gan.image.networks.resample import double, double_repeating, halve
from gan.seeding import generator_at

EACH = pytest.mark.parametrize("resample", [halve, double, double_repeating])


def _maps(side_px: int) -> Tensor:
    shape = (2, 3, side_px, side_px)
    return torch.randn(shape, dtype=torch.float64, generator=generator_at(1, side_px))


def test_the_filter_is_the_published_one() -> None:
    """A point becomes [1, 3, 3, 1]/4 in both axes when doubled; halving weighs by a quarter."""
    point = torch.zeros(1, 1, 4, 4)
    point[0, 0, 1, 1] = 1
    axis = torch.tensor([0, 1, 3, 3, 1, 0, 0, 0]) / 4
    halved = halve(torch.ones(1, 1, 8, 8))[0, 0]

    assert torch.equal(double(point)[0, 0], axis[:, None] * axis)
    assert torch.equal(halved[1:-1, 1:-1], torch.ones(2, 2))
    assert halved[0, 0] == (7 / 8) ** 2  # zeros beyond the border


def test_inside_it_is_bilinear_interpolation() -> None:
    """Away from the border doubling is torch's bilinear; repeating the border it is everywhere."""
    x = _maps(6)
    bilinear = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    assert torch.allclose(double(x)[:, :, 1:-1, 1:-1], bilinear[:, :, 1:-1, 1:-1])
    assert torch.equal(double_repeating(x), bilinear)


@EACH
def test_all_derivatives_are_right(resample: Callable[[Tensor], Tensor]) -> None:
    """Finite differences confirm the first and the second derivative."""
    x = _maps(6).requires_grad_()

    assert torch.autograd.gradcheck(resample, (x,))
    assert torch.autograd.gradgradcheck(lambda y: resample(y).pow(2), (x,), fast_mode=True)


@EACH
def test_bfloat16_maps_stay_so_and_lie_channels_last(
    resample: Callable[[Tensor], Tensor],
) -> None:
    """Nothing is widened on the way, and no convolution after it has to reorder."""
    x = _maps(8).to(torch.bfloat16).to(memory_format=torch.channels_last)
    y = resample(x)

    assert y.dtype is torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(y.float(), resample(x.float()), rtol=0.02, atol=0.02)
