"""torchvision's networks as feature networks, with random weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from gan.image.networks.backbones import BACKBONES, build_backbone


def _weights(name: str) -> dict[str, Tensor]:
    """Return the weights of a network of torchvision as it is drawn, classifier included."""
    from torchvision.models import get_model  # type: ignore[import-untyped]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = get_model(name, weights=None)
        return dict(network.state_dict())


def _images(number: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, 3, 40, 32), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenet_v3_small", "efficientnet_b0", "densenet121"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in BACKBONES
            if name not in {"resnet18", "mobilenet_v3_small", "efficientnet_b0", "densenet121"}
        ),
    ],
)
def test_features_are_what_the_classifier_sees(name: str) -> None:
    """The classifier of torchvision's own network, laid on our features, gives its own logits."""
    from torchvision.models import get_model
    from torchvision.transforms.v2 import functional as transforms  # type: ignore[import-untyped]

    weights, images = _weights(name), _images(2)
    whole = get_model(name, weights=None).eval()
    whole.load_state_dict(weights)
    pixels = transforms.resize(images.float() / 255, [224, 224], antialias=True)
    pixels = transforms.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    features = build_backbone(name, weights)(images)

    assert features.shape == (2, BACKBONES[name])
    assert features.dtype == torch.float32
    last = list(whole.children())[-1]
    head = last[-1] if name.startswith("convnext") else last
    with torch.no_grad():
        found, wanted = head(features), whole(pixels)
    # Against the largest: untrained norms let the values of deep networks grow by magnitudes.
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-4 * float(wanted.abs().max()))


def test_weights_without_a_classifier_do() -> None:
    """A file of the trunk alone gives the same features as the whole file."""
    weights = _weights("resnet18")
    trunk = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}

    whole, alone = (build_backbone("resnet18", state)(_images(1)) for state in (weights, trunk))

    assert torch.equal(whole, alone)


def test_bfloat16_is_near() -> None:
    """Features of lower precision are float32 and within a few percent."""
    weights = _weights("resnet18")
    exact = build_backbone("resnet18", weights)(_images(2))
    near = build_backbone("resnet18", weights, torch.bfloat16)(_images(2))

    assert near.dtype == torch.float32
    assert float((near - exact).norm() / exact.norm()) < 0.03


def test_building_leaves_the_callers_random_numbers() -> None:
    """What is drawn after it does not depend on whether a backbone was built."""
    weights = _weights("resnet18")
    before = torch.random.get_rng_state()
    build_backbone("resnet18", weights)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    """Missing, misshapen, too many, or of no known network: the message names which."""
    weights = _weights("resnet18")
    short = {name: tensor for name, tensor in weights.items() if name != "layer1.0.conv1.weight"}
    with pytest.raises(ValueError, match=r"resnet18 weights: layer1.0.conv1.weight is missing"):
        build_backbone("resnet18", short)
    with pytest.raises(ValueError, match=r"conv1.weight is \[1\], wanted \[64, 3, 7, 7\]"):
        build_backbone("resnet18", {**weights, "conv1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"layer9\.weight is not a tensor of this network"):
        build_backbone("resnet18", {**weights, "layer9.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"no backbone 'lenet'; there are: .*resnet18"):
        build_backbone("lenet", weights)


def test_other_images_are_refused() -> None:
    """Only [N, 3, H, W] uint8."""
    network = build_backbone("resnet18", _weights("resnet18"))
    with pytest.raises(ValueError, match="uint8 \\[N, 3, H, W\\], found"):
        network(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


def test_every_name_is_torchvisions() -> None:
    """The table holds nothing that torchvision cannot build, and its sizes are whole."""
    from torchvision.models import list_models

    assert set(BACKBONES) <= set(list_models())
    assert all(dims > 0 and math.gcd(dims, 64) == 64 for dims in BACKBONES.values())
