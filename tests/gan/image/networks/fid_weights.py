"""Random weights for the FID network, and torch-fidelity's network with them."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Return weights by the names of the standard file, scaled so that no layer fades out."""
    from torchvision.models import inception_v3  # type: ignore[import-untyped]

    with torch.device("meta"):
        shapes = inception_v3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    random = torch.Generator().manual_seed(seed)
    weights = {}
    for name, like in shapes.items():
        kind = name.rpartition(".")[2]
        normal = torch.randn(like.shape, generator=random)
        if kind == "num_batches_tracked":
            weights[name] = torch.tensor(0)
        elif kind == "running_var":
            weights[name] = 1 + 0.3 * normal.abs()
        elif like.ndim == 4:  # He's scale for what a ReLU follows
            weights[name] = normal * (2 / like[0].numel()) ** 0.5
        else:
            weights[name] = (1.0 if name.endswith("bn.weight") else 0.0) + 0.1 * normal
    return weights


def random_images(number: int, side_px: int, seed: int) -> Tensor:
    """Return images [number, 3, side, side] uint8 unlike one another: coarse shapes and noise."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(number, 3, 4, 4, generator=random)
    smooth = nn.functional.interpolate(coarse, (side_px, side_px), mode="nearest")
    noise = torch.rand(number, 3, side_px, side_px, generator=random)
    contrast = torch.rand(number, 1, 1, 1, generator=random)
    return (255 * (contrast * smooth + (1 - contrast) * 0.3 * noise)).to(torch.uint8)


def fidelity_network(weights: dict[str, Tensor], folder: Path) -> nn.Module:
    """Return torch-fidelity's network with `weights`; `folder` is for the file it reads."""
    from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-untyped]
        FeatureExtractorInceptionV3,
    )

    path = folder / "weights.pth"
    torch.save(weights, path)
    network = FeatureExtractorInceptionV3(
        "random", ["2048"], feature_extractor_weights_path=str(path)
    )
    path.unlink()
    return cast("nn.Module", network)
