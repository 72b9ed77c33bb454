"""What this process takes of its machine: memory, processors, GPU. Cheap enough for every tick.

The GPU's power and use are read from NVML, the library of NVIDIA's driver, by its C interface: it
is there wherever the driver is, and a figure that it does not give is left out.
"""

import ctypes
import time
from functools import cache
from typing import Any

import psutil
import torch

_NVML = "libnvidia-ml.so.1"
_SUCCESS = 0
_MB = 1e6


def snapshot() -> dict[str, float]:
    """Return the figures of this moment; one that cannot be read is absent. Never raises for it.

    Returns:
        memory_mb: What this process holds in memory (resident set), 10^6 bytes.
        processor_share: Processors that this process used since the last call, or since this
            module was imported; 2.0 is two processors at full use.
        gpu_memory_mb: What torch holds on the current GPU, 10^6 bytes; this and the next two only
            in a process that uses CUDA.
        gpu_watts: Power drawn by that GPU, all processes together.
        gpu_utilisation: Share of the last moments in which that GPU was at work, 0..1.
    """
    figures = {
        "memory_mb": psutil.Process().memory_info().rss / _MB,
        "processor_share": _processors.share(),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        figures["gpu_memory_mb"] = torch.cuda.memory_reserved() / _MB
        figures |= _driver_figures(torch.cuda.current_device())
    return figures


class _Processors:
    """Processor time over wall time, from call to call."""

    def __init__(self) -> None:
        self._wall, self._used = time.monotonic(), time.process_time()

    def share(self) -> float:
        """Return processors used since the last call, from 0 up."""
        wall, used = time.monotonic(), time.process_time()
        passed = max(wall - self._wall, 1e-9)
        share = (used - self._used) / passed
        self._wall, self._used = wall, used
        return share


_processors = _Processors()


class _Utilisation(ctypes.Structure):
    """nvmlUtilization_t: percent of time that kernels ran, and that memory was read or written."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def _driver_figures(device: int) -> dict[str, float]:
    """Return gpu_watts and gpu_utilisation of a device of torch, as far as the driver tells."""
    nvml, figures = _nvml(), dict[str, float]()
    handle = _handle(device) if nvml else None
    if nvml is None or handle is None:
        return figures
    milliwatts, utilisation = ctypes.c_uint(), _Utilisation()
    if nvml.nvmlDeviceGetPowerUsage(handle, ctypes.byref(milliwatts)) == _SUCCESS:
        figures["gpu_watts"] = milliwatts.value / 1000
    if nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(utilisation)) == _SUCCESS:
        figures["gpu_utilisation"] = utilisation.gpu / 100
    return figures


@cache
def _nvml() -> Any:  # a C library has no types
    """Return the driver's library, ready for use, or None where there is none."""
    try:
        library = ctypes.CDLL(_NVML)
    except OSError:
        return None
    return library if library.nvmlInit_v2() == _SUCCESS else None


@cache
def _handle(device: int) -> ctypes.c_void_p | None:
    """Return NVML's handle of a device of torch: by its identity, for the numbers may differ."""
    name = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
    handle = ctypes.c_void_p()
    status = _nvml().nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle))
    return handle if status == _SUCCESS else None
