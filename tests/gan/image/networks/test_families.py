"""Which networks a preset names."""

from typing import get_args

import pytest
import torch

from gan.image.networks import conv28, dense32, r3gan
from gan.image.networks.families import build_critic, build_generator, z_dim
from gan.sections import ModelSpec

PRESETS = get_args(ModelSpec.model_fields["preset"].annotation)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_of_a_recipe_names_a_pair_that_fits(preset: str) -> None:
    """What a recipe may ask for can be built: latent, image and score fit together."""
    c = torch.zeros(1, dtype=torch.int64, device="meta")
    with torch.device("meta"):
        generator = build_generator(preset, 32, 3, 2, torch.float32)
        critic = build_critic(preset, 32, 3, 2, torch.float32)
        images = generator.eval()(torch.empty(1, z_dim(preset)), c)

    assert images.shape == (1, 3, 32, 32)
    assert critic(images, c).shape == (1,)
    module = {"conv28": conv28, "dense32": dense32}.get(preset, r3gan)
    assert isinstance(generator, module.Generator)
    assert isinstance(critic, module.Critic)


def test_an_unknown_preset_is_a_key_error() -> None:
    """There is no default network: a card that names none is damaged."""
    for ask in (
        lambda: z_dim("gigantic"),
        lambda: build_generator("gigantic", 32, 3, 2, torch.float32),
        lambda: build_critic("gigantic", 32, 3, 2, torch.float32),
    ):
        with pytest.raises(KeyError):
            ask()
