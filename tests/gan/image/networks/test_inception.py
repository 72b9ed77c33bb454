"""The FID network against torch-fidelity's own, on the same random weights."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan.image.networks.inception import DIMS, build_inception
from tests.gan.image.networks.fid_weights import fidelity_network, random_images, random_weights

_NUMBER = 10


@dataclass(frozen=True)
class _Sides:
    """Features of two unlike sets of images, [10, 2048] each."""

    real: Tensor
    fake: Tensor


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Weights by the names of the standard file."""
    return random_weights()


@pytest.fixture(scope="module")
def ours(weights: dict[str, Tensor]) -> nn.Module:
    """Our network."""
    return build_inception(weights)


@pytest.fixture(scope="module")
def theirs(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """torch-fidelity's network."""
    return fidelity_network(weights, tmp_path_factory.mktemp("weights"))


def _two_sets() -> tuple[Tensor, Tensor]:
    return random_images(_NUMBER, 32, 1), random_images(_NUMBER, 32, 2) // 2


@pytest.fixture(scope="module")
def seen_by_us(ours: nn.Module) -> _Sides:
    """The two sets as our network sees them."""
    real, fake = _two_sets()
    return _Sides(ours(real), ours(fake))


@pytest.fixture(scope="module")
def seen_by_them(theirs: nn.Module) -> _Sides:
    """The two sets as torch-fidelity's network sees them."""
    real, fake = _two_sets()
    return _Sides(theirs(real)[0], theirs(fake)[0])


def _off(found: Tensor, wanted: Tensor) -> float:
    """Return the difference against the spread between images, which distances are made of."""
    return float((found - wanted).norm() / (wanted - wanted.mean(dim=0)).norm())


@pytest.mark.parametrize(
    ("height", "width"), [(32, 32), (64, 64), (100, 100), (299, 299), (340, 100)]
)
def test_features_are_torch_fidelitys(
    ours: nn.Module, theirs: nn.Module, height: int, width: int
) -> None:
    """Smaller, equal, larger and oblong images: each feature agrees to 1e-5 of the features."""
    images = random_images(2, 340, seed=height)[:, :, :height, :width]

    found, wanted = ours(images), theirs(images)[0]

    assert found.shape == (2, DIMS)
    assert found.dtype == torch.float32
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.max()))


def test_fid_is_torch_fidelitys(seen_by_us: _Sides, seen_by_them: _Sides) -> None:
    """The same distance to 1e-4 of it, by its definition on both features.

    With C = A A^T of few images, tr (C1 C2)^(1/2) is the sum of the singular values of A1^T A2.
    """

    def distance(sides: _Sides) -> float:
        real, fake = sides.real.double(), sides.fake.double()
        gap = real.mean(dim=0) - fake.mean(dim=0)
        a, b = (side - side.mean(dim=0) for side in (real, fake))
        roots = 2 * torch.linalg.svdvals(a @ b.T).sum()
        return float(gap @ gap + (a.square().sum() + b.square().sum() - roots) / (_NUMBER - 1))

    assert distance(seen_by_us) == pytest.approx(distance(seen_by_them), rel=1e-4)


def test_kid_is_torch_fidelitys(seen_by_us: _Sides, seen_by_them: _Sides) -> None:
    """The same kernel distance to 1e-4 of it, by torch-fidelity's own arithmetic on all images."""
    from torch_fidelity.metric_kid import (  # type: ignore[import-untyped]
        kid_features_to_metric,
    )

    def distance(sides: _Sides) -> float:
        found = kid_features_to_metric(
            sides.real, sides.fake, kid_subsets=1, kid_subset_size=_NUMBER, verbose=False
        )
        return float(found["kernel_inception_distance_mean"])

    assert distance(seen_by_us) == pytest.approx(distance(seen_by_them), rel=1e-4)


def test_features_do_not_depend_on_the_batch(ours: nn.Module, seen_by_us: _Sides) -> None:
    """Bit by bit the same for 1 image, 5, or all; none gives none."""
    images = _two_sets()[0]

    assert torch.equal(ours(images[7:8]), seen_by_us.real[7:8])
    assert torch.equal(ours(images[3:8]), seen_by_us.real[3:8])
    assert ours(images[:0]).shape == (0, DIMS)


def test_bfloat16_is_near(weights: dict[str, Tensor], seen_by_us: _Sides) -> None:
    """Ticks may use it: features are within 1 %, means over the last map are float32."""
    found = build_inception(weights, torch.bfloat16)(_two_sets()[0])

    assert found.dtype == torch.float32
    assert float((found - seen_by_us.real).norm() / seen_by_us.real.norm()) < 0.01


def test_fused_operators_compute_what_plain_ones_do(
    weights: dict[str, Tensor], ours: nn.Module
) -> None:
    """Where torch has no fused operators, as in float64, plain ones give the same features."""
    images = random_images(2, 32, 3)

    assert _off(ours(images), build_inception(weights, torch.float64)(images)) < 1e-4


def test_only_what_is_needed_is_asked_for(weights: dict[str, Tensor], ours: nn.Module) -> None:
    """A file without classifier and counters does as well."""
    needed = {
        name: tensor
        for name, tensor in weights.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    images = random_images(1, 32, 4)

    assert torch.equal(build_inception(needed)(images), ours(images))


def test_a_missing_tensor_is_named(weights: dict[str, Tensor]) -> None:
    """Weights of another network are refused by the first name that is not there."""
    name = "Mixed_7c.branch3x3dbl_3b.bn.bias"
    with pytest.raises(ValueError, match=f"{name} is missing"):
        build_inception({key: tensor for key, tensor in weights.items() if key != name})


def test_a_misshapen_tensor_is_named(weights: dict[str, Tensor]) -> None:
    """The name, the shape found and the shape wanted."""
    name = "Mixed_6c.branch7x7_2.conv.weight"
    turned = weights[name].transpose(2, 3)
    with pytest.raises(ValueError, match=r"7x7_2.*is \[160, 160, 7, 1\], wanted .*160, 1, 7\]"):
        build_inception({**weights, name: turned})


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 1, 32, 32, dtype=torch.uint8),
        torch.zeros(2, 3, 32, 32),
        torch.zeros(3, 32, 32, dtype=torch.uint8),
    ],
)
def test_other_images_are_refused(ours: nn.Module, images: Tensor) -> None:
    """Only [N, 3, H, W] uint8: grey images are made three channels before."""
    with pytest.raises(ValueError, match="uint8 \\[N, 3, H, W\\], found"):
        ours(images)


def test_images_of_one_value_are_unlike_by_brightness(ours: nn.Module) -> None:
    """A map without edges still tells how bright it is, and is finite at both ends."""
    flat = torch.stack([torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (0, 255)])
    features = ours(flat).numpy()

    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 0.01
