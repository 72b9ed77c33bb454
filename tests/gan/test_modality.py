"""The seam between media and machinery."""

import inspect

import pytest
import torch

from gan.modality import _ROOMS, Modality, modality


@pytest.mark.parametrize("name", _ROOMS)
def test_a_room_offers_every_name_with_the_same_arguments(name: str) -> None:
    """A room has each function of the protocol, callable as the protocol says."""
    room = modality(name)
    for wanted, function in inspect.getmembers(Modality, inspect.isfunction):
        if wanted.startswith("_"):
            continue
        theirs = inspect.signature(getattr(room, wanted)).parameters
        ours = list(inspect.signature(function).parameters)[1:]  # without self

        assert len(theirs) >= len(ours), wanted
        assert list(theirs)[1 : len(ours)] == ours[1:], wanted  # the first goes by position
        extra = list(theirs.values())[len(ours) :]
        assert all(each.default is not inspect.Parameter.empty for each in extra), wanted


def test_networks_of_a_room_fit_together() -> None:
    """What the generator makes, the critic and the metric's network take."""
    room = modality("image")
    generator = room.build_generator("tiny", 16, 3, 2, torch.float32)
    critic = room.build_critic("tiny", 16, 3, 2, torch.float32)
    features = room.build_features(3, 16, 2)
    c = torch.tensor([0, 1, 1])
    images = generator(torch.zeros(3, room.z_dim("tiny")), c)

    assert critic(images, c).shape == (3,)
    found, logits = features(images)
    assert len(found) == 3
    assert logits.shape == (3, 2)
    assert room.from_uint8(torch.from_numpy(room.to_uint8(images))).shape == images.shape


def test_an_unknown_modality_is_a_key_error() -> None:
    """There is no default room."""
    with pytest.raises(KeyError):
        modality("smell")
