"""Augmentation: what it does to pixels, and that gradients of gradients pass through it."""

import pytest
import torch
from torch import Tensor

from gan.image.augment import augment, flip
from gan.seeding import generator_at


def _images(count: int = 8, channels: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, channels, side, side, generator=generator_at(1, "images")) * 2 - 1


def test_strength_0_changes_nothing() -> None:
    """Without augmentation the images are the same object: nothing is spent on it."""
    images = _images()

    assert augment(images, 0.0, generator_at(1)) is images


def test_the_generator_decides() -> None:
    """The same generator gives the same images, another one others."""
    images = _images()
    first = augment(images, 0.7, generator_at(1, "a"))

    assert torch.equal(first, augment(images, 0.7, generator_at(1, "a")))
    assert not torch.equal(first, augment(images, 0.7, generator_at(1, "b")))


@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_each_transform_fires_with_this_probability(strength: float) -> None:
    """The share of untouched images is that of five independent transforms staying away."""
    images = _images(4000, 3, 8)
    untouched = (augment(images, strength, generator_at(2)) == images).flatten(1).all(1)

    # A shift by less than half a pixel changes nothing either: hence a little more.
    assert float(untouched.float().mean()) == pytest.approx((1 - strength) ** 5, abs=0.04)


@pytest.mark.parametrize("channels", [1, 3])
def test_values_stay_sane(channels: int) -> None:
    """Images keep shape and type, stay finite, and do not leave the neighbourhood of [-1, 1]."""
    images = _images(500, channels)
    found = augment(images, 1.0, generator_at(3))

    assert found.shape == images.shape
    assert found.dtype is torch.float32
    assert found.isfinite().all()
    assert found.abs().max() < 6


def test_cut_out_is_a_grey_box() -> None:
    """Where a box was cut the image is exactly 0, for about a quarter of the area or less."""
    holes = (augment(_images(500), 1.0, generator_at(4)) == 0).all(1).float().mean(dim=(1, 2))

    assert holes.max() <= 0.3
    assert holes.mean() > 0.1


def test_it_is_differentiable_twice() -> None:
    """The penalty's gradient, a gradient of a gradient, is that of finite differences."""
    images, way = _images(4), 0.01 * _images(4).flip(0)

    def slope(x: Tensor) -> Tensor:
        energy = augment(x, 1.0, generator_at(5)).pow(3).sum()
        (found,) = torch.autograd.grad(energy, x, create_graph=True)
        return found

    middle = images.clone().requires_grad_()
    (bend,) = torch.autograd.grad((slope(middle) * way).sum(), middle)
    ahead, behind = (slope((images + sign * way).requires_grad_()) for sign in (1, -1))

    assert bend.any()
    assert torch.allclose(bend, (ahead - behind) / 2, rtol=1e-3, atol=1e-4)


def test_flip_mirrors_half_of_the_images() -> None:
    """An image comes back as it is or mirrored left to right, each about as often."""
    images = _images(1000, 1, 4)
    found = flip(images, generator_at(6))
    same = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(3)).flatten(1).all(1)

    assert (same | mirrored).all()
    assert 0.4 < float(mirrored.float().mean()) < 0.6
