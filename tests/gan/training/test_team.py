"""Two real processes over gloo: what they exchange, and that together they take one's steps."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gan.durable import read_json
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.feed import Feed
from gan.training.losses import OBJECTIVES
from gan.training.session import fresh_state, open_session
from gan.training.step import Dials, Stepper
from gan.training.team import Team
from tests.gan.training.conftest import make_workspace

STEPS, BATCH = 3, 32


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(mode=False)


def take_steps(layout: Layout, team: Team, parts: int) -> dict[str, torch.Tensor]:
    """Take three iterations, each of 32 images shared by the team; return weights and sums."""
    recipe = load_recipe(layout.params, "tiny")
    session = open_session(layout, recipe, layout.run("tiny") / "steps", team)
    state = fresh_state(session)
    feed = Feed(session.data, session.train, session.room, recipe.train, session.z_dim)
    feed.place(session.hardware.device, team)
    stepper = Stepper(
        state.networks,
        state.optimizers,
        session.room,
        OBJECTIVES["relativistic"],
        team,
        penalty="quarter",
        augments=True,
        flips=True,
        parts=parts,
    )
    dials = Dials(*torch.tensor([1.0, 0.9, 0.5, torch.inf, torch.inf]))
    for step in range(STEPS):
        stepper.take(*feed.at(step * BATCH), dials)
    sums = team.rows(stepper.sums).mean(dim=0)
    weights = {
        f"{name}.{key}": value
        for name, network in state.networks.items()
        for key, value in network.state_dict().items()
    }
    return {**weights, "sums": sums}


# Each rank leaves what it heard in `heard-<rank>.json` and its weights beside it.
PAIR = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from gan.durable import write_json
from gan.errors import PeerError
from gan.paths import Layout
from gan.training.team import Team
from tests.gan.training.test_team import take_steps

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo")
team = Team(rank, 2, rank)
heard = {{"leads": team.leads}}
network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(1, 1))
network = network.to(memory_format=torch.channels_last)
for parameter in network[:2].parameters():
    parameter.grad = torch.full_like(parameter, 1.0 + 2 * rank)
team.average(network)
heard["gradients"] = sorted({{p.grad.mean().item() for p in network[:2].parameters()}})
heard["without"] = network[2].weight.grad is None
network[1].num_batches_tracked.fill_(rank + 5)
team.same_weights([network])
heard["counter"] = int(network[1].num_batches_tracked)
heard["weights"] = [v.double().sum().item() for v in network.state_dict().values()]
heard["worst"] = team.worst(torch.tensor([float(rank), -float(rank)])).tolist()
heard["rows"] = team.rows(torch.tensor([rank, 7])).tolist()
heard["silence"] = team.heard(None, False, False)
heard["one word"] = team.heard("SIGTERM" if rank else None, rank == 0, False)
heard["told"] = team.told({{"fd": 0.1 + 0.2, "nothing": None}} if rank == 0 else {{}})
tensors = take_steps(Layout(folder), team, 2)
save_file({{key: value.contiguous() for key, value in tensors.items()}}, folder / f"{{rank}}.st")
team.wait()
if rank == 0:
    try:
        for _ in range(3):
            team.wait()
    except PeerError as error:
        heard["alone"] = str(error)
write_json(folder / f"heard-{{rank}}.json", heard)
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that two processes left their findings in."""
    folder = tmp_path_factory.mktemp("pair")
    make_workspace(folder, batch_size=BATCH, flip=True)
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PAIR, str(folder), str(rank)],
            env={**os.environ, **where, "RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return folder


@pytest.fixture(scope="module")
def heard(pair: Path) -> list[dict[str, Any]]:
    """Return what each of the two processes heard."""
    return [read_json(pair / f"heard-{rank}.json") for rank in range(2)]


def test_slices_share_a_batch() -> None:
    """Every image of a batch is one process's, in order."""
    parts = [list(range(16))[Team(rank, 4).slice_of(16)] for rank in range(4)]

    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_alone_nothing_is_exchanged() -> None:
    """One process needs no process group: what it says is what it hears."""
    team = Team()

    assert team.leads
    assert team.heard("SIGINT", True, False) == ("SIGINT", [True, False])  # noqa: FBT003
    assert team.told({"a": 1}) == {"a": 1}
    assert team.rows(torch.ones(3)).shape == (1, 3)
    team.wait()


def test_gradients_and_weights_become_equal(heard: list[dict[str, Any]]) -> None:
    """Gradients become their mean, weights and buffers the leader's, bit for bit."""
    for each in heard:
        assert each["gradients"] == [2.0]  # of 1 and 3
        assert each["without"]
        assert each["counter"] == 5
    assert heard[0]["weights"] == heard[1]["weights"]


def test_all_hear_what_one_says(heard: list[dict[str, Any]]) -> None:
    """A request to stop reaches every process whichever it was sent to; so do flags and figures."""
    assert [each["leads"] for each in heard] == [True, False]
    for each in heard:
        assert each["worst"] == [1.0, 0.0]
        assert each["rows"] == [[0, 7], [1, 7]]
        assert each["silence"] == [None, [False, False]]
        assert each["one word"] == ["SIGTERM", [True, False]]
        assert each["told"] == {"fd": 0.1 + 0.2, "nothing": None}


def test_the_end_of_a_process_is_noticed(heard: list[dict[str, Any]]) -> None:
    """Who waits for a process that is gone is told so at once, instead of waiting for ever."""
    assert heard[0]["alone"].startswith("training: lost contact with another of its processes (")


def test_two_processes_take_the_steps_of_one(pair: Path, tmp_path: Path) -> None:
    """The same global batch gives the same weights: on two processes, in two parts each, or one.

    Real images, latents, augmentation, mirroring and the penalised quarter are the batch's own,
    not a process's; between the two processes no bit differs.
    """
    first, second = (load_file(pair / f"{rank}.st") for rank in range(2))
    alone = take_steps(make_workspace(tmp_path, batch_size=BATCH, flip=True), Team(), 1)

    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert first.keys() == alone.keys()
    for key, value in alone.items():
        torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4, msg=key)
