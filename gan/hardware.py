"""What this machine has to compute with, now: a fast bfloat16, idle processors, free memory."""

import os
import time
from pathlib import Path

import psutil
import torch

_LOOK_SECONDS = 0.4
_STAT = Path("/proc/stat")
_CONTAINER = Path("/sys/fs/cgroup")


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 in hardware; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    read = getattr(torch.cpu, "get_capabilities", None)  # absent in older releases of torch
    capabilities: dict[str, object] = read() if read else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def use_idle_processors() -> int:
    """Give torch as many threads as there are idle processors now, at least 1; return how many.

    Threads wait for each other after each operation, so two of them on one free processor are
    several times slower than one: 52 against 192 images a second in a training beside another.
    `OMP_NUM_THREADS`, when set, is obeyed; so is torch's own default where Linux's /proc is absent.
    """
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ and _STAT.exists():
        before, began = _idle_seconds(), time.monotonic()
        time.sleep(_LOOK_SECONDS)
        idle = (_idle_seconds() - before) / (time.monotonic() - began)
        threads = max(1, min(threads, round(idle)))
        torch.set_num_threads(threads)
    return threads


def free_bytes(device: torch.device) -> int:
    """Return how much memory is free now: of the GPU, or of the machine and of its container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    machine = int(psutil.virtual_memory().available)
    container = _container_free_bytes()
    return machine if container is None else min(machine, container)


def _container_free_bytes() -> int | None:
    """Return what the container's limit leaves, file cache counted as free; None: no limit."""
    try:
        limit = (_CONTAINER / "memory.max").read_text().strip()
        used = int((_CONTAINER / "memory.current").read_text())
        rows = (_CONTAINER / "memory.stat").read_text().splitlines()
    except OSError:  # not Linux, not in a container, or the older hierarchy
        return None
    cache = next((int(row.split()[1]) for row in rows if row.startswith("inactive_file ")), 0)
    return None if limit == "max" else int(limit) - used + cache


def _idle_seconds() -> float:
    """Return the time that all processors together have been idle since boot, in seconds."""
    idle_ticks = int(_STAT.read_text().split(maxsplit=5)[4])
    return idle_ticks / os.sysconf("SC_CLK_TCK")
