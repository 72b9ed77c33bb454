"""Which number format this hardware multiplies fast."""

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 in hardware; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    read = getattr(torch.cpu, "get_capabilities", None)  # absent in older releases of torch
    capabilities: dict[str, object] = read() if read else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
