"""Reading features on threads and on the machines of a cluster: who reads changes no bit."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed import LocalCluster

from gan.__main__ import main
from gan.bundle import Bundle
from gan.durable import sha256
from gan.errors import DamagedError, GanmillError
from gan.image.dataset import Dataset
from gan.image.workers import CLUSTER
from gan.metrics.extractors import Extractor
from gan.metrics.reading import Cluster, read_portions
from gan.metrics.sampling import Portion, generated_portions, noise_portions, real_portions
from gan.paths import Layout
from gan.sections import EvaluateSpec
from tests.gan.metrics.evaluating import to_evaluate

SPEC = EvaluateSpec(samples=900, seed=3)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Return the address of a scheduler with two workers, each a process with two threads."""
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Return a workspace that is ready to be evaluated, with 600 samples."""
    return to_evaluate(tmp_path_factory.mktemp("reading"))


def _evaluated(layout: Layout) -> dict[str, str]:
    """Evaluate with nothing kept from before; return the digests of what was read and written."""
    for folder in (layout.features, layout.evaluation("tiny")):
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    before = Path.cwd()
    os.chdir(layout.root)
    try:
        assert main(["evaluate", "tiny"]) == 0
    finally:
        os.chdir(before)
    wanted = [*layout.features.rglob("*.npy"), layout.evaluation("tiny") / "metrics.json"]
    return {str(path.relative_to(layout.root)): sha256(path) for path in wanted}


def test_a_cluster_measures_what_one_machine_measures(
    layout: Layout, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m gan evaluate` writes the same bytes on two workers of a Dask cluster as here.

    So are all features that are kept: of real images, of generated ones, and what noise scores.
    """
    here = _evaluated(layout)
    monkeypatch.setenv(CLUSTER, scheduler)

    assert _evaluated(layout) == here
    assert len(here) > 5


def test_no_number_of_threads_changes_a_bit(
    data: Dataset, bundle: Bundle, extractor: Extractor
) -> None:
    """Each portion is made and read on one thread, whatever their number; and so it stays after."""
    portions: list[Portion] = [
        *generated_portions(bundle, data, SPEC),
        *real_portions(np.arange(len(data))),
        *noise_portions(data, SPEC),
    ]
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            read = list(read_portions(portions, data, extractor))
            found[threads] = np.concatenate([reading.features for reading, _ in read])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)

    assert len(found[1]) == 900 + 240 + 900
    np.testing.assert_array_equal(found[1], found[3])


def test_another_workspace_on_a_machine_is_found(
    layout: Layout, scheduler: str, data: Dataset, extractor: Extractor
) -> None:
    """A machine that sees other files under the same path measures nothing; the line says which."""
    folders = layout.train_data("tiny"), layout.extractor("tiny")
    with pytest.raises(DamagedError, match=r"extractor: is \w+ on this machine of the cluster"):
        list(
            read_portions(
                real_portions(np.arange(4)), data, extractor, Cluster(scheduler, *folders)
            )
        )


def test_a_cluster_without_workers_is_no_wait_for_ever(
    data: Dataset, extractor: Extractor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says that the scheduler has no workers, and how to start one."""
    monkeypatch.setattr("gan.image.workers._CONNECT_SECONDS", 0.5)
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=0, processes=False, dashboard_address=":0"
        ) as empty,
        pytest.raises(GanmillError, match=r"has no workers\. Start one on each machine with: dask"),
    ):
        list(
            read_portions(
                real_portions(np.arange(4)),
                data,
                extractor,
                Cluster(empty.scheduler_address, tmp_path, tmp_path),
            )
        )


def test_a_portion_that_cannot_be_made_ends_the_reading(
    data: Dataset, bundle: Bundle, extractor: Extractor
) -> None:
    """An error on one thread is the error of the whole, and the others are not waited for."""
    other = dataclasses.replace(bundle, digest="ab" * 32)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(DamagedError, match="expected abababababab"):
            list(read_portions(generated_portions(other, data, SPEC), data, extractor))
    finally:
        torch.set_num_threads(before)
