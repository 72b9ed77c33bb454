"""Augmentation: what it does to pixels, and that gradients of gradients pass through it."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from gan.image.augment import augment, augment_draws, flip
from gan.seeding import generator_at


def _images(count: int = 8, channels: int = 3, side: int = 16) -> Tensor:
    images = torch.rand(count, channels, side, side, generator=generator_at(1, "images"))
    if channels == 4:  # premultiplied, with a transparent frame
        images[:, 3, :2] = images[:, 3, :, :2] = 0
        images[:, :3] *= images[:, 3:]
    return images * 2 - 1


def _strength(value: float) -> Tensor:
    return torch.tensor(value)


def _draws(count: int, seed: int = 1) -> Tensor:
    return augment_draws(count, "cpu", generator_at(seed, "augment"))


def _slope(images: Tensor, strength: Tensor, draws: Tensor) -> Tensor:
    energy = augment(images, strength, draws).pow(3).sum()
    (found,) = torch.autograd.grad(energy, images, create_graph=True)
    return found


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [16, 28])
def test_strength_0_changes_no_bit(channels: int, side: int) -> None:
    """Without augmentation each value is the one that went in."""
    images = _images(8, channels, side)

    assert torch.equal(augment(images, _strength(0.0), _draws(8)), images)


def test_the_draws_decide() -> None:
    """The same draws give the same images, others others; each image has its own."""
    images = _images()
    first = augment(images, _strength(0.7), _draws(8))

    assert _draws(8).dtype is torch.float32
    assert torch.equal(first, augment(images, _strength(0.7), _draws(8)))
    assert not torch.equal(first, augment(images, _strength(0.7), _draws(8, 2)))
    assert torch.equal(first[3:5], augment(images[3:5], _strength(0.7), _draws(8)[:, 3:5]))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_each_transform_fires_with_this_probability(strength: float, channels: int) -> None:
    """The share of untouched images is that of five independent transforms staying away."""
    images = _images(4000, channels, 8)
    made = augment(images, _strength(strength), _draws(4000))
    untouched = (made == images).flatten(1).all(1)

    # A shift by less than half a pixel changes nothing either: hence a little more.
    assert float(untouched.float().mean()) == pytest.approx((1 - strength) ** 5, abs=0.04)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [16, 28])
def test_values_stay_sane(channels: int, side: int) -> None:
    """Images keep shape and type, stay finite, and do not leave the neighbourhood of [-1, 1]."""
    images = _images(500, channels, side)
    found = augment(images, _strength(1.0), _draws(500))

    assert found.shape == images.shape
    assert found.dtype is torch.float32
    assert found.isfinite().all()
    assert found.abs().max() < 6


def test_cut_out_is_a_grey_box() -> None:
    """Where a box was cut the image is exactly 0, for about a quarter of the area or less."""
    made = augment(_images(500), _strength(1.0), _draws(500))
    holes = (made == 0).all(1).float().mean(dim=(1, 2))

    assert holes.max() <= 0.3
    assert holes.mean() > 0.1


def test_a_shift_moves_whole_images_and_repeats_the_border() -> None:
    """With the shift alone, a row or column comes from at most an eighth of the side away."""
    images = _images(200, 1, 16)
    draws = _draws(200)
    draws[9:] = 1.0
    draws[12] = 0.0  # only the shift fires
    made = augment(images, _strength(0.5), draws)
    moves = ((2 * draws[3:5] - 1) * 2).round().long().T.tolist()

    assert {tuple(move) for move in moves} >= {(-2, -2), (0, 0), (2, 2)}
    for image, found, (down, right) in zip(images, made, moves, strict=True):
        rows, columns = (torch.arange(16).add(move).clamp(0, 15).tolist() for move in (down, right))
        assert torch.equal(found, image[:, rows][:, :, columns])


def test_transparent_stays_transparent() -> None:
    """Of RGBA, an empty image stays -1 in all channels, and no colour appears where none is."""
    empty = torch.full((50, 4, 16, 16), -1.0)
    made = augment(_images(500, 4), _strength(1.0), _draws(500))
    clear = made[:, 3] == -1

    assert torch.equal(augment(empty, _strength(1.0), _draws(50)), empty)
    assert clear.float().mean() > 0.25  # the frame, and the boxes cut out
    assert (made[:, :3].movedim(1, -1)[clear] == -1).all()


def test_an_opaque_image_is_treated_as_one_without_alpha() -> None:
    """Colour, contrast and shift of RGBA under full alpha are those of RGB."""
    images = _images(64) * 0.5
    opaque = torch.cat([images, torch.ones(64, 1, 16, 16)], 1)
    draws = _draws(64)
    draws[13] = 1.0  # no box: it is grey in one and transparent in the other

    made = augment(opaque, _strength(1.0), draws)

    assert torch.allclose(made[:, :3], augment(images, _strength(1.0), draws), atol=1e-5)
    assert (made[:, 3] == 1).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_is_differentiable_twice(channels: int) -> None:
    """The penalty's gradient, a gradient of a gradient, is that of finite differences."""
    images = _images(4, channels).double() * 0.9
    way = 1e-4 * images.flip(0)
    rest = _strength(1.0), _draws(4).double()
    middle = images.clone().requires_grad_()
    (bend,) = torch.autograd.grad((_slope(middle, *rest) * way).sum(), middle)
    ahead, behind = (_slope((images + sign * way).requires_grad_(), *rest) for sign in (1, -1))

    assert bend.any()
    assert torch.allclose(bend, (ahead - behind) / 2, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_no_value_is_read_on_the_way(channels: int) -> None:
    """Both derivatives work on tensors that hold no values: no branch, no read-back, no sync."""
    images = torch.empty(8, channels, 28, 28, device="meta", requires_grad=True)
    strength, draws = torch.empty((), device="meta"), torch.empty(14, 8, device="meta")

    slope = _slope(images, strength, draws)
    (bend,) = torch.autograd.grad(slope.square().sum(), images)

    assert slope.shape == bend.shape == images.shape
    assert flip(images, draws[0]).shape == images.shape


def test_one_recording_serves_every_strength() -> None:
    """Operations recorded at strength 0 give, replayed at others, what a call gives."""
    images = _images(8, 4)
    recorded = make_fx(augment)(images, _strength(0.0), _draws(8))

    for value in (0.2, 1.0):
        rest = _strength(value), _draws(8, 3)
        assert torch.equal(recorded(images, *rest), augment(images, *rest))


def test_flip_mirrors_half_of_the_images() -> None:
    """An image comes back as it is or mirrored left to right, each about as often."""
    images = _images(1000, 1, 4)
    found = flip(images, torch.rand(1000, generator=generator_at(6)))
    same = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(3)).flatten(1).all(1)

    assert (same | mirrored).all()
    assert 0.4 < float(mirrored.float().mean()) < 0.6
