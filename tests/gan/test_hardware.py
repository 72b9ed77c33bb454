"""What the machine has to compute with."""

from pathlib import Path

import psutil
import pytest
import torch

from gan import hardware
from gan.hardware import free_bytes

CPU = torch.device("cpu")


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for the files in which Linux describes a container."""
    monkeypatch.setattr(hardware, "_CONTAINER", tmp_path)
    return tmp_path


def _describe(folder: Path, limit: str, used: int, cache: int) -> None:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cache}\ninactive_file {cache}\nslab 1\n")


def test_free_memory_is_the_machines(container: Path) -> None:
    """Without a container, or in one without a limit, it is what the machine has to spare."""
    total = psutil.virtual_memory().total

    assert 0 < free_bytes(CPU) < total
    _describe(container, "max", used=10, cache=0)
    assert 0 < free_bytes(CPU) < total


def test_free_memory_is_not_more_than_the_containers(container: Path) -> None:
    """In a container it is what the limit leaves; cached files do not count as used."""
    _describe(container, "5000000", used=3_000_000, cache=1_000_000)

    assert free_bytes(CPU) == 3_000_000
