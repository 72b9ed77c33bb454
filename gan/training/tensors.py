"""Networks and optimizers as named tensors: out as the bytes of a safetensors file, and back in.

Out, one tensor after the other leaves the device and is written: no second copy of the whole. In,
everything is compared with what is there before the first value changes, and values are copied to
where the old ones lie, since a captured CUDA graph knows addresses, not names.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Held:
    """What tensors are taken from and put into.

    Attributes:
        networks: By name; their tensors are called `<name>/<key of the state_dict>`.
        optimizers: Adam by name; a weight's moments are `adam <name>/<index>/<moment>`.
    """

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Adam]

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name, where it lies and not copied."""
        found = {
            f"{name}/{key}": value
            for name, network in self.networks.items()
            for key, value in network.state_dict().items()
        }
        for place, (weight, optimizer) in self._weights().items():
            slot = optimizer.state.get(weight, {})
            found |= {f"{place}/{moment}": slot[moment] for moment in _MOMENTS if moment in slot}
        return found

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors in, where they belong, after all of them were found to fit.

        Raises:
            ValueError: One is missing, extra, or of another shape or dtype; nothing was changed.
        """
        wanted = {
            f"{name}/{key}": value
            for name, network in self.networks.items()
            for key, value in network.state_dict().items()
        }
        if missing := sorted(wanted.keys() - tensors.keys()):
            raise ValueError(f"{missing[0]} is missing")
        weights = self._weights()
        for place, (weight, _) in weights.items():
            names = [f"{place}/{moment}" for moment in _MOMENTS]
            there = [name in tensors for name in names]
            if any(there):
                if not all(there):
                    raise ValueError(f"{place} lacks a moment")
                step = torch.empty((), dtype=torch.float32)
                wanted |= dict(zip(names, (step, weight, weight), strict=True))
        if extra := sorted(tensors.keys() - wanted.keys()):
            raise ValueError(f"{extra[0]} is unknown")
        for name, value in wanted.items():
            _require_like(name, tensors[name], value)
        with torch.no_grad():
            for name, network in self.networks.items():
                for key, value in network.state_dict().items():
                    value.copy_(tensors[f"{name}/{key}"])
            for place, (weight, optimizer) in weights.items():
                _fill_moments(optimizer, weight, place, tensors)

    def _weights(self) -> dict[str, tuple[Tensor, torch.optim.Adam]]:
        """Return each trained weight with its optimizer, by the place that its moments have."""
        return {
            f"adam {name}/{index}": (weight, optimizer)
            for name, optimizer in self.optimizers.items()
            for index, weight in enumerate(
                weight for group in optimizer.param_groups for weight in group["params"]
            )
        }


def _require_like(name: str, found: Tensor, wanted: Tensor) -> None:
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        has, needs = [*found.shape], [*wanted.shape]
        raise ValueError(f"{name} is {found.dtype} {has}, wanted {wanted.dtype} {needs}")


def _fill_moments(
    optimizer: torch.optim.Adam, weight: Tensor, place: str, tensors: Mapping[str, Tensor]
) -> None:
    """Copy one weight's moments in; without any, Adam is as before its first step."""
    slot = optimizer.state.get(weight)
    if f"{place}/step" not in tensors:
        for value in (slot or {}).values():
            value.zero_()
        return
    if slot is None:
        slot = optimizer.state[weight]
        on_device = optimizer.defaults["fused"] or optimizer.defaults["capturable"]
        place_of_step = weight.device if on_device else "cpu"
        slot["step"] = torch.zeros((), dtype=torch.float32, device=place_of_step)
        # The fused Adam walks memory, not indices: a moment must lie as its weight does.
        slot["exp_avg"], slot["exp_avg_sq"] = torch.empty_like(weight), torch.empty_like(weight)
    for moment in _MOMENTS:
        slot[moment].copy_(tensors[f"{place}/{moment}"])


def safetensors_parts(tensors: Mapping[str, Tensor], record: str) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a safetensors file with `record` as its metadata `state`.

    On CUDA all streams are waited for first, so that the values are those after the last step.
    """
    for device in {value.device for value in tensors.values() if value.is_cuda}:
        torch.cuda.synchronize(device)
    header: dict[str, object] = {"__metadata__": {"state": record}}
    end = 0
    # Largest values first: each begins at a multiple of its size, as the format asks.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    for name, value in ordered:
        begin, end = end, end + value.numel() * value.element_size()
        shape = [*value.shape]
        header[name] = {
            "dtype": _DTYPES[value.dtype],
            "shape": shape,
            "data_offsets": [begin, end],
        }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    yield len(head).to_bytes(8, "little") + head
    for _, value in ordered:
        # A copy to the host waits for its end; on the CPU, laid out plainly, there is no copy.
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data
