"""What torch sees of this machine, as lines of JSON: `python -P flows/doctor/torch_probe.py`.

In a process of its own: the import takes seconds, and a broken driver may end the process or hang.
What is known without torch comes first, so that it is known even then.
"""

import ctypes
import json
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_CUDA = "libcuda.so.1"


def main() -> None:
    """Print what is known without torch, then what torch sees."""
    print(json.dumps({"driver": _driver(), "installed": _installed()}), flush=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        print(json.dumps({**_torch(), "said": [str(each.message) for each in said]}), flush=True)


def _driver() -> str | None:
    """Return the newest CUDA that the driver knows, say `13.0`; None without a driver."""
    try:
        library = ctypes.CDLL(_CUDA)
        number = ctypes.c_int(0)
        library.cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _installed() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def _torch() -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a library of its own is missing
        return {"problem": " ".join(str(error).split())}
    told: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda or getattr(torch.version, "hip", None),
    }
    try:
        devices = [_device(index) for index in range(torch.cuda.device_count())]
    except RuntimeError as error:
        return {**told, "devices": [], "problem": " ".join(str(error).split())}
    return {**told, "devices": devices if torch.cuda.is_available() else []}


def _device(index: int) -> dict[str, Any]:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    return {"name": torch.cuda.get_device_name(index), "free_bytes": free, "total_bytes": total}


if __name__ == "__main__":
    main()
