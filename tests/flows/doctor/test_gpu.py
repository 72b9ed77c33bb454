"""Tests of what the doctor says of torch and GPUs."""

from dataclasses import replace

import pytest
import torch

from flows.doctor import gpu
from flows.doctor.gpu import Seen

H200 = {"name": "NVIDIA H200", "free_bytes": 130 * 10**9, "total_bytes": 150 * 10**9}
NEW = Seen(driver="13.0", installed="2.14", torch="2.14", cuda="13.0")
OLD = replace(NEW, driver="12.4")


def test_torch_is_asked_in_a_process_of_its_own() -> None:
    """What the probe sees is what torch itself sees here."""
    seen = gpu.probe(seconds=120)
    assert seen.torch == torch.__version__
    assert len(seen.devices) == torch.cuda.device_count()
    assert seen.problem == ""


def test_a_torch_that_hangs_is_not_waited_for() -> None:
    """After its time the probe is ended, and the line says that nobody could tell."""
    (line,) = gpu.judge(gpu.probe(seconds=0.01), ["tiny"])
    assert (line.name, line.state) == ("torch", "unknown")
    assert "took longer than 0.01 s" in line.says


@pytest.mark.parametrize(
    ("seen", "asking", "state", "says", "mend"),
    [
        (Seen(torch="2.14", cuda="13.0"), [], "ok", "none here", ""),
        (Seen(torch="2.14", cuda="13.0"), ["tiny"], "bad", "no driver", "train.device: auto"),
        (
            OLD,
            [],
            "warn",
            "knows CUDA 12.4",
            "a driver for CUDA 13.0",
        ),
        (OLD, ["tiny"], "bad", "tiny ask for one", "CUDA 13.0"),
        (replace(NEW, cuda=None), ["tiny"], "bad", "built for processors", "pip install"),
        (
            replace(NEW, problem="no device"),
            [],
            "warn",
            "no device",
            "nvidia-smi",
        ),
        (
            replace(NEW, devices=[H200]),
            ["tiny"],
            "ok",
            "H200, 130.0 GB of 150.0 GB",
            "",
        ),
        (replace(NEW, devices=[H200], said=["too old"]), [], "warn", "too old", ""),
    ],
)
def test_every_case_has_its_line(
    seen: Seen, asking: list[str], state: str, says: str, mend: str
) -> None:
    """No GPU is fine until a recipe asks for one; driver and torch that do not fit are told."""
    torch_line, line = gpu.judge(seen, asking)
    assert torch_line.state == "ok"
    assert (line.name, line.state) == ("gpu", state)
    assert says in line.says
    assert mend in line.mend


def test_a_torch_that_cannot_be_imported_is_bad() -> None:
    """A library that torch misses is quoted, and the command installs what was locked."""
    (line,) = gpu.judge(Seen(problem="libcudnn.so.9: cannot open shared object file"), [])
    assert (line.state, "libcudnn" in line.says) == ("bad", True)
    assert "pip install" in line.mend
