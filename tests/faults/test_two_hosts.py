"""Work that two hosts share: two network namespaces with a cable, and one workspace that both see.

Each has a name, a loopback and a network card of its own; nothing else leads from one to the other.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from gan.bundle import open_bundle
from gan.durable import sha256
from gan.image.facts import collect
from gan.paths import Layout
from gan.recipe import load_recipe
from gan.training.guards import StopRequest
from gan.training.identity import run_folder
from gan.training.loop import train
from gan.training.stats import STATS, read_stats
from tests.faults.hosts import Host, missing, two_hosts
from tests.gan.image.test_facts import encoded, noise, raw_of
from tests.gan.metrics.evaluating import to_evaluate
from tests.gan.training.conftest import make_workspace
from tests.gan.training.test_distributed import WORKER

_WHY = missing()
pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.skipif(_WHY is not None, reason=_WHY or ""),
]

KIMG = 0.32  # 40 iterations
LOST_NIMG = 80  # shown when a host is lost
BIN = Path(sys.executable).parent
# As the README says it, with one process on each host.
TORCHRUN = [str(BIN / "torchrun"), "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"]
TORCHRUN += ["--rdzv-backend", "c10d", "--rdzv-id", "tiny", "--rdzv-endpoint", "first-host:29400"]
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
SCHEDULER = "tcp://first-host:8786"
LOOK = """
import subprocess
import sys
from pathlib import Path
from gan.image.facts import collect
collect(Path(sys.argv[1]), cluster=sys.argv[2]).to_parquet(sys.argv[3])
"""

Hosts = tuple[Host, Host]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the workspaces lie."""
    return tmp_path_factory.mktemp("hosts")


@pytest.fixture(scope="module")
def hosts(folder: Path) -> Iterator[Hosts]:
    """Return the two hosts."""
    with two_hosts(folder) as both:
        yield both


def _workspace(root: Path) -> Layout:
    layout = make_workspace(root, kimg=KIMG)
    (root / "worker.py").write_text(WORKER)  # saves after each iteration
    return layout


def _said(layout: Layout, host: Host) -> Path:
    return layout.root.parent / f"{layout.root.name}-{host.name}.txt"


def _join(host: Host, layout: Layout, work: tuple[str, ...] = ("worker.py",)) -> None:
    """Start torch's launcher on a host."""
    command = [*TORCHRUN, *work]
    host.start(*command, cwd=layout.root, said=_said(layout, host), environment=OWN_STORE)


def _end(host: Host, layout: Layout) -> int:
    """Wait until what was started last on a host has ended; return its exit code."""
    try:
        return host.started[-1].wait(timeout=300)
    except subprocess.TimeoutExpired:
        pytest.fail(_said(layout, host).read_text()[-2000:])


def _nimg(layout: Layout) -> int:
    stats = run_folder(layout, load_recipe(layout.params, "tiny")) / STATS
    return max((row["nimg"] for row in read_stats(stats)), default=0) if stats.exists() else 0


def _until(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.fixture(scope="module")
def calm(folder: Path, hosts: Hosts) -> Layout:
    """Return the workspace of an undisturbed training on both, by the README's own command."""
    layout = _workspace(folder / "calm")
    for host in hosts:
        _join(host, layout, ("-m", "gan", "train", "tiny"))
    assert [_end(host, layout) for host in hosts] == [0, 0]
    return layout


def test_two_hosts_train_what_one_process_trains(calm: Layout, folder: Path) -> None:
    """The same weights and figures as of one process, up to the order in which sums are taken."""
    alone = make_workspace(folder / "alone", kimg=KIMG)
    with StopRequest() as stop:
        train(alone, load_recipe(alone.params, "tiny"), stop)
    torch.use_deterministic_algorithms(mode=False)

    bundles = [open_bundle(layout.bundle("tiny")) for layout in (alone, calm)]
    for kind in ("generator", "critic"):
        one, two = (_weights(getattr(bundle, kind)()) for bundle in bundles)
        # Adam makes whole steps of gradients that are rounding alone, so single weights may differ.
        assert (two - one).norm() < 2e-3 * one.norm()
    rows = [
        read_stats(run_folder(layout, load_recipe(layout.params, "tiny")) / STATS)
        for layout in (alone, calm)
    ]
    assert [row["nimg"] for row in rows[0]] == [row["nimg"] for row in rows[1]]
    losses = [[row["loss_d"] for row in each if "loss_d" in row][:8] for each in rows]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02, atol=2e-3)


def test_a_host_that_goes_dark_costs_what_came_after_the_checkpoint(
    calm: Layout, folder: Path, hosts: Hosts
) -> None:
    """All of the second host dies; started again there, both go on, to the undisturbed bits.

    The first host needs no command: it waits for the other, and says from where it goes on.
    """
    first, second = hosts
    rough = _workspace(folder / "second")
    for host in hosts:
        _join(host, rough)
    _until(lambda: _nimg(rough) >= LOST_NIMG)
    second.lose_power()
    _join(second, rough)

    assert [_end(host, rough) for host in hosts] == [0, 0]
    assert "train tiny: resuming at 0.1 kimg" in _said(rough, first).read_text()
    assert open_bundle(rough.bundle("tiny")).digest == open_bundle(calm.bundle("tiny")).digest


def test_without_the_first_host_both_are_started_again(
    calm: Layout, folder: Path, hosts: Hosts
) -> None:
    """The first host is where they meet: without it the other ends, within a minute, with an error.

    Both commands again go on from the last checkpoint, to the undisturbed bits.
    """
    first, second = hosts
    rough = _workspace(folder / "first")
    for host in hosts:
        _join(host, rough)
    _until(lambda: _nimg(rough) >= LOST_NIMG)
    first.lose_power()
    lost = time.monotonic()
    assert _end(second, rough) != 0
    assert time.monotonic() - lost < 60

    for host in hosts:
        _join(host, rough)
    assert [_end(host, rough) for host in hosts] == [0, 0]
    assert "train tiny: resuming at 0.1 kimg" in _said(rough, first).read_text()
    assert open_bundle(rough.bundle("tiny")).digest == open_bundle(calm.bundle("tiny")).digest


@pytest.fixture
def cluster(folder: Path, hosts: Hosts) -> Iterator[Host]:
    """Return the first host, where a Dask scheduler runs that has a worker on each host."""
    first, _ = hosts
    dask, said = str(BIN / "dask"), folder / "dask.txt"
    address = ["--host", first.address, "--port", "8786", "--dashboard-address", ":0"]
    first.start(dask, "scheduler", *address, cwd=folder, said=said)
    for host in hosts:
        place = ["--local-directory", str(folder / host.name)]
        host.start(
            dask, "worker", SCHEDULER, "--nthreads", "1", "--no-dashboard", *place,
            cwd=folder, said=said,
        )  # fmt: skip
    _until(lambda: said.read_text().count("Starting established connection to tcp") >= 2)
    yield first
    for host in hosts:
        host.lose_power()


def test_two_hosts_look_and_measure_as_one_does(folder: Path, cluster: Host) -> None:
    """Facts and an evaluation on a Dask cluster of both hosts: the bytes of one process."""
    raw = raw_of(folder, {f"{n:04d}.png": encoded(noise(n, 8, 8)) for n in range(1_100)})
    said, facts = folder / "looked.txt", folder / "facts.parquet"
    look = (sys.executable, "-c", LOOK, str(raw), SCHEDULER, str(facts))
    assert cluster.start(*look, cwd=folder, said=said).wait() == 0, said.read_text()
    pd.testing.assert_frame_equal(pd.read_parquet(facts), collect(raw, 1))

    figures = []
    for name, environment in (("one", {}), ("both", {"GANMILL_DASK_SCHEDULER": SCHEDULER})):
        layout = to_evaluate(folder / name)
        command = (sys.executable, "-m", "gan", "evaluate", "tiny")
        started = cluster.start(*command, cwd=layout.root, said=said, environment=environment)
        assert started.wait() == 0, said.read_text()
        figures.append(sha256(layout.evaluation("tiny") / "metrics.json"))
    assert figures[0] == figures[1]
