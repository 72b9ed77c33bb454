"""What a process takes of its machine."""

import time

import pytest
import torch

from gan.training.machine import snapshot


def test_memory_and_processors_are_always_there() -> None:
    """The figures are in their units: a python with torch, one busy thread."""
    snapshot()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    found = snapshot()

    assert 50 < found["memory_mb"] < 50_000
    assert 0.05 < found["processor_share"] < 2


def test_a_process_that_waits_uses_no_processor() -> None:
    """The share is of the time since the last call."""
    snapshot()
    time.sleep(0.2)

    assert snapshot()["processor_share"] < 0.3


def test_without_cuda_there_is_no_figure_of_a_gpu() -> None:
    """Absent, not zero."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        pytest.skip("this process uses CUDA")

    assert set(snapshot()) == {"memory_mb", "processor_share"}


@pytest.mark.gpu
def test_on_a_gpu_memory_and_power_are_told() -> None:
    """With CUDA in use the GPU's figures come from torch and from NVIDIA's driver."""
    held = torch.ones(50_000_000, device="cuda")  # 200 MB
    found = snapshot()

    assert 200 <= found["gpu_memory_mb"] < 2000
    assert 10 < found["gpu_watts"] < 2000
    assert 0 <= found["gpu_utilisation"] <= 1
    del held


def test_it_is_cheap_enough_for_every_tick() -> None:
    """A snapshot takes well under a millisecond; the best of some, for the machine is shared."""
    times = []
    for _ in range(20):
        began = time.perf_counter()
        snapshot()
        times.append(time.perf_counter() - began)

    assert min(times) < 1e-3
