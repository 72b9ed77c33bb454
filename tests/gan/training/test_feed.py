"""What one iteration is fed with, from memory or from disk."""

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.recipe import load_recipe
from gan.training import feed as feeding
from gan.training.feed import Feed, Half, sent
from gan.training.guards import StopRequest
from gan.training.loop import train
from gan.training.session import Session, open_session
from gan.training.team import Team
from tests.gan.training.conftest import COUNT, make_workspace

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Return an open training, batch 8."""
    layout = make_workspace(tmp_path_factory.mktemp("feed"))
    recipe = load_recipe(layout.params, "tiny")
    return open_session(layout, recipe, layout.run("tiny") / "feed", Team())


def _feed(session: Session, allowance_bytes: float | None = None, team: Team | None = None) -> Feed:
    spec = session.recipe.train
    feed = Feed(session.data, session.train, session.room, spec, session.z_dim)
    feed.place(CPU, team or Team(), allowance_bytes=allowance_bytes)
    return feed


def _tensors(*halves: Half) -> list[Tensor]:
    return [tensor for half in halves for tensor in astuple(half)]


def test_streamed_images_are_the_resident_ones(session: Session) -> None:
    """Where the images lie changes no input: in order, after a jump back, and across a lap."""
    resident, streamed = _feed(session), _feed(session, allowance_bytes=0)

    assert (resident.streams, streamed.streams) == (False, True)
    for nimg in (0, 8, 16, 8, COUNT, 2 * COUNT - 8):
        ours, theirs = _tensors(*resident.at(nimg)), _tensors(*streamed.at(nimg))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_allowance_decides(session: Session) -> None:
    """Images stay in memory exactly as long as they take no more than what they may."""
    size = session.data.images.nbytes

    assert not _feed(session, allowance_bytes=size).streams
    assert _feed(session, allowance_bytes=size - 1).streams


def test_each_image_comes_with_its_class(session: Session) -> None:
    """Dark images are of class 0 and light ones of class 1, in both halves."""
    for half in _feed(session).at(24):
        light = half.reals.float().mean(dim=(1, 2, 3)) > 127
        assert torch.equal(light.long(), half.c)


def test_a_team_shares_what_one_would_take(session: Session) -> None:
    """The slices of two processes, side by side, are the batch of one."""
    whole = _tensors(*_feed(session).at(8))
    one, two = (_tensors(*_feed(session, team=Team(rank, 2)).at(8)) for rank in (0, 1))

    for ours, a, b in zip(whole, one, two, strict=True):
        assert torch.equal(ours, torch.cat([a, b], dim=0 if len(ours) == 8 else 1))


def test_a_roll_back_draws_other_latents_for_the_same_images(session: Session) -> None:
    """An attempt repeats the images and nothing that is random beside them."""
    feed = _feed(session)
    before, _ = feed.at(8)
    feed.restart(1)
    after, _ = feed.at(8)

    assert torch.equal(before.reals, after.reals)
    assert torch.equal(before.c, after.c)
    assert not torch.equal(before.z, after.z)
    assert not torch.equal(before.draws, after.draws)


def test_sent_is_the_same_tensor(session: Session) -> None:
    """What is sent to the processor is what it was."""
    tensor = torch.arange(3)

    assert torch.equal(sent(tensor, CPU), tensor)


def test_images_larger_than_memory_allows_train_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set beyond the allowance trains from disk, and the bundle is the same."""
    digests = []
    layout = make_workspace(tmp_path, kimg=0.032)
    for share in (0.25, 0.0):
        monkeypatch.setitem(feeding._RESIDENT_SHARE, "cpu", share)
        with StopRequest() as stop:
            digests.append(train(layout, load_recipe(layout.params, "tiny"), stop).digest)
        for path in layout.run("tiny").glob("*/*.ckpt"):
            path.unlink()

    assert digests[0] == digests[1]
    assert isinstance(np.load(layout.train_data("tiny") / "images.npy", mmap_mode="r"), np.memmap)
