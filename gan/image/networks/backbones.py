"""Classification networks of torchvision as feature networks, from weights that are at hand.

Features are what the classifier would see. Nothing is downloaded and nothing is unpickled: the
weights come as a mapping of tensors by torchvision's own names.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SIDE_PX = 224
# Of ImageNet, for values in [0, 1]: what all of torchvision's weights were trained with.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

# Number of features, and the part that is cut away with all that its weights' names begin with.
_CUTS: Mapping[str, tuple[int, str]] = {
    "convnext_base": (1024, "classifier.2"),
    "convnext_large": (1536, "classifier.2"),
    "convnext_small": (768, "classifier.2"),
    "convnext_tiny": (768, "classifier.2"),
    "densenet121": (1024, "classifier"),
    "efficientnet_b0": (1280, "classifier"),
    "efficientnet_v2_s": (1280, "classifier"),
    "mobilenet_v3_large": (960, "classifier"),
    "mobilenet_v3_small": (576, "classifier"),
    "resnet18": (512, "fc"),
    "resnet34": (512, "fc"),
    "resnet50": (2048, "fc"),
    "resnet101": (2048, "fc"),
    "swin_b": (1024, "head"),
    "swin_t": (768, "head"),
    "vit_b_16": (768, "heads"),
    "vit_l_16": (1024, "heads"),
    "wide_resnet50_2": (2048, "fc"),
}
BACKBONES: Mapping[str, int] = {name: dims for name, (dims, _) in _CUTS.items()}


def build_backbone(
    name: str, state: Mapping[str, Tensor], precision: torch.dtype = torch.float32
) -> nn.Module:
    """Return the network: images [N, 3, H, W] uint8 -> features [N, dims] float32.

    Images are resized to 224 x 224 px, bilinear with antialiasing, and normalised as ImageNet.

    Args:
        name: One of `BACKBONES`.
        state: The weights by torchvision's names; those of the classifier may be absent.
        precision: What it computes in: float32 or bfloat16.

    Raises:
        ValueError: There is no such network, or a tensor is missing, has another shape or is not
            the network's; the first one is named.
    """
    if name not in _CUTS:
        raise ValueError(f"no backbone {name!r}; there are: {', '.join(_CUTS)}")
    from torchvision.models import get_model  # type: ignore[import-untyped]

    # Building draws weights that are replaced: the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        network = cast("nn.Module", get_model(name, weights=None))
    cut = _CUTS[name][1]
    network.set_submodule(cut, nn.Identity())
    _load(name, network, {key: state[key] for key in state if not key.startswith(f"{cut}.")})
    network = network.eval().requires_grad_(requires_grad=False)
    network = network.to(precision).to(memory_format=torch.channels_last)
    return _Backbone(network, precision)


class _Backbone(nn.Module):
    """Resize, normalisation, then the network."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self._precision = precision
        self.register_buffer("mean", 255 * torch.tensor(_MEAN).view(-1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(_STD).view(-1, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the features [N, dims] float32 of images [N, 3, H, W] uint8; N from 1.

        Raises:
            ValueError: The images have another shape or type.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            found = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"images must be torch.uint8 [N, 3, H, W], found {found}")
        resized = functional.interpolate(
            images.float(), (_SIDE_PX, _SIDE_PX), mode="bilinear", antialias=True
        )
        inputs = (resized - self.mean) / self.std
        inputs = inputs.to(self._precision, memory_format=torch.channels_last)
        features: Tensor = self.network(inputs)
        return features.flatten(1).float()


def _load(name: str, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put `state` into `network`.

    Raises:
        ValueError: It does not fit; the first tensor that does not is named.
    """
    for key, wanted in network.state_dict().items():
        if key in state and state[key].shape != wanted.shape:
            raise ValueError(
                f"{name} weights: {key} is {list(state[key].shape)}, wanted {list(wanted.shape)}"
            )
    # Counters of batches may be absent: old files have none, and torch fills them in.
    missing, unexpected = network.load_state_dict(state, strict=False)
    if missing:
        raise ValueError(f"{name} weights: {missing[0]} is missing")
    if unexpected:
        raise ValueError(f"{name} weights: {unexpected[0]} is not a tensor of this network")
