"""The FID network: Inception v3 as of 2015-12-05, up to its 2,048 pooled features.

Three things set it apart from other Inceptions, and each changes the distance: images are resized
as TensorFlow 1 did, its average pools leave padding out, and its last block pools by maximum.

On a processor each convolution, with batch norm folded in, is one oneDNN operator with its ReLU and
weights packed for it, channels last, 4 images at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

DIMS = 2048

_SIDE_PX = 299
_NORM_EPS = 1e-3
# Maps of 4 images stay below 32 MB, above which glibc asks the kernel for fresh pages each time.
_CPU_CHUNK = 4
_PACKED = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class _Conv:
    """A convolution, its batch norm and ReLU: stride 2 goes unpadded, stride 1 keeps the size."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True  # false: stride 1 goes unpadded too


@dataclass(frozen=True)
class _Pool:
    """A pool over 3 x 3 positions: stride 2 goes unpadded, stride 1 keeps the size."""

    kind: str  # "max" or "average"
    stride: int = 1


@dataclass(frozen=True)
class _Fork:
    """Branches on the same input, their channels laid one behind the other."""

    name: str  # what the branches' names begin with, "" for nothing
    branches: tuple[tuple["_Step", ...], ...]


_Step = _Conv | _Pool | _Fork

_1X1, _3X3, _5X5, _1X3, _3X1, _1X7, _7X1 = (1, 1), (3, 3), (5, 5), (1, 3), (3, 1), (1, 7), (7, 1)
_HALVE = _Pool("max", 2)


def _chain(
    name: str, *convs: tuple[int, tuple[int, int]], halve: bool = False
) -> tuple[_Conv, ...]:
    """Return name_1, name_2, ... of the given widths and kernels; `halve` is for the last one."""
    strides = [1] * (len(convs) - 1) + [2 if halve else 1]
    return tuple(_Conv(f"{name}_{i + 1}", *conv, strides[i]) for i, conv in enumerate(convs))


def _block_35(name: str, pooled: int) -> _Fork:
    wide = _chain("branch5x5", (48, _1X1), (64, _5X5))
    double = _chain("branch3x3dbl", (64, _1X1), (96, _3X3), (96, _3X3))
    pool = (_Pool("average"), _Conv("branch_pool", pooled))
    return _Fork(name, ((_Conv("branch1x1", 64),), wide, double, pool))


def _to_17(name: str) -> _Fork:
    double = _chain("branch3x3dbl", (64, _1X1), (96, _3X3), (96, _3X3), halve=True)
    return _Fork(name, ((_Conv("branch3x3", 384, _3X3, 2),), double, (_HALVE,)))


def _block_17(name: str, width: int) -> _Fork:
    single = _chain("branch7x7", (width, _1X1), (width, _1X7), (192, _7X1))
    narrow = ((width, _1X1), (width, _7X1), (width, _1X7), (width, _7X1))
    double = _chain("branch7x7dbl", *narrow, (192, _1X7))
    pool = (_Pool("average"), _Conv("branch_pool", 192))
    return _Fork(name, ((_Conv("branch1x1", 192),), single, double, pool))


def _to_8(name: str) -> _Fork:
    single = _chain("branch3x3", (192, _1X1), (320, _3X3), halve=True)
    convs = ((192, _1X1), (192, _1X7), (192, _7X1), (192, _3X3))
    return _Fork(name, (single, _chain("branch7x7x3", *convs, halve=True), (_HALVE,)))


def _block_8(name: str, pool: str) -> _Fork:
    single: tuple[_Step, ...] = (_Conv("branch3x3_1", 384), _cross("branch3x3_2"))
    last = _cross("branch3x3dbl_3")
    double: tuple[_Step, ...] = (*_chain("branch3x3dbl", (448, _1X1), (384, _3X3)), last)
    pooled = (_Pool(pool), _Conv("branch_pool", 192))
    return _Fork(name, ((_Conv("branch1x1", 320),), single, double, pooled))


def _cross(name: str) -> _Fork:
    return _Fork("", ((_Conv(f"{name}a", 384, _1X3),), (_Conv(f"{name}b", 384, _3X1),)))


_STEPS: tuple[_Step, ...] = (  # the side of the map after each, px
    _Conv("Conv2d_1a_3x3", 32, _3X3, 2),  # 149
    _Conv("Conv2d_2a_3x3", 32, _3X3, padded=False),  # 147
    _Conv("Conv2d_2b_3x3", 64, _3X3),  # 147
    _HALVE,  # 73
    _Conv("Conv2d_3b_1x1", 80),  # 73
    _Conv("Conv2d_4a_3x3", 192, _3X3, padded=False),  # 71
    _HALVE,  # 35
    _block_35("Mixed_5b", 32),
    _block_35("Mixed_5c", 64),
    _block_35("Mixed_5d", 64),
    _to_17("Mixed_6a"),
    _block_17("Mixed_6b", 128),
    _block_17("Mixed_6c", 160),
    _block_17("Mixed_6d", 160),
    _block_17("Mixed_6e", 192),
    _to_8("Mixed_7a"),
    _block_8("Mixed_7b", "average"),
    _block_8("Mixed_7c", "max"),
)


def build_inception(
    state: Mapping[str, Tensor], precision: torch.dtype = torch.float32
) -> nn.Module:
    """Return the network: images [N, 3, H, W] uint8 -> features [N, 2048] float32, from 0 up.

    An image's features do not depend on its neighbours. The features of bfloat16 differ by about
    0.4 % from those of float32.

    Args:
        state: The weights by the names of pytorch-fid's and torch-fidelity's file. Its classifier
            (`fc`) and counters of batches are not needed, and more names do no harm.
        precision: What it computes in: float32, bfloat16 or float64. The means are float32.

    Raises:
        ValueError: A tensor is missing or has another shape; the first one is named.
    """
    steps, width = _assemble(_STEPS, 3, "", state, precision)
    assert width == DIMS
    return _Inception(steps)


class _Inception(nn.Module):
    """Resize, convolutions, mean over the last map."""

    def __init__(self, steps: nn.Module) -> None:
        super().__init__()
        self.steps = steps

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the features [N, 2048] float32 of images [N, 3, H, W] uint8; N may be 0.

        Raises:
            ValueError: The images have another shape or type.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            found = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"images must be torch.uint8 [N, 3, H, W], found {found}")
        if images.device.type != "cpu":
            return self._features(images)
        features = images.new_empty((len(images), DIMS), dtype=torch.float32)
        for start in range(0, len(images), _CPU_CHUNK):
            portion = images[start : start + _CPU_CHUNK]
            # Kernels are chosen by the number of images, so the last portion is filled up.
            filled = functional.pad(portion, (0, 0, 0, 0, 0, 0, 0, _CPU_CHUNK - len(portion)))
            features[start : start + len(portion)] = self._features(filled)[: len(portion)]
        return features

    def _features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.steps((_resized(images) - 128) / 128)
        return maps.float().mean(dim=(2, 3))


class _Layer(nn.Module):
    """A convolution with bias and ReLU."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: list[int]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Buffer(weight), nn.Buffer(bias)
        self._stride, self._padding = [stride, stride], padding
        self._packed: Tensor | None = None  # made from the first input, which tells the best layout

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps after it, [N, C, H, W] channels last."""
        maps = maps.to(self.weight.dtype, memory_format=torch.channels_last)
        if not _can_pack(maps):
            after = functional.conv2d(maps, self.weight, self.bias, self._stride, self._padding)
            return after.relu_()
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001
                self.weight, self._padding, self._stride, [1, 1], 1, list(maps.shape)
            )
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
            maps, self._packed, self.bias, self._padding, self._stride, [1, 1], 1, "relu", [], ""
        )
        return fused


class _Branches(nn.ModuleList):
    """Branches on the same input, their channels laid one behind the other."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the branches' maps as one, [N, C, H, W]."""
        return torch.cat([branch(maps) for branch in self], dim=1)


def _can_pack(maps: Tensor) -> bool:
    """Return whether this torch has the operators that its own compiler uses here."""
    return (
        maps.device.type == "cpu"
        and maps.dtype in _PACKED
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and (maps.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
    )


def _assemble(
    steps: tuple[_Step, ...],
    width: int,
    prefix: str,
    state: Mapping[str, Tensor],
    precision: torch.dtype,
) -> tuple[nn.Module, int]:
    """Return the modules of `steps` for `width` channels in, and the number of channels out."""
    modules: list[nn.Module] = []
    for step in steps:
        if isinstance(step, _Conv):
            modules.append(_folded(step, width, prefix + step.name, state, precision))
            width = step.width
        elif isinstance(step, _Fork):
            below = f"{prefix}{step.name}." if step.name else prefix
            built = [_assemble(part, width, below, state, precision) for part in step.branches]
            modules.append(_Branches(branch for branch, _ in built))
            width = sum(out for _, out in built)
        elif step.kind == "max":
            modules.append(nn.MaxPool2d(3, step.stride, 1 if step.stride == 1 else 0))
        else:
            modules.append(nn.AvgPool2d(3, step.stride, 1, count_include_pad=False))
    return nn.Sequential(*modules), width


def _folded(
    step: _Conv, width: int, name: str, state: Mapping[str, Tensor], precision: torch.dtype
) -> _Layer:
    """Return a convolution with its batch norm folded in, in float64 until the last rounding."""

    def tensor(key: str, *shape: int) -> Tensor:
        if f"{name}.{key}" not in state:
            raise ValueError(f"inception weights: {name}.{key} is missing")
        found = state[f"{name}.{key}"]
        if tuple(found.shape) != shape:
            raise ValueError(
                f"inception weights: {name}.{key} is {list(found.shape)}, wanted {list(shape)}"
            )
        return found.double()

    weight = tensor("conv.weight", step.width, width, *step.kernel)
    scale = tensor("bn.weight", step.width)
    shift, mean = tensor("bn.bias", step.width), tensor("bn.running_mean", step.width)
    scale = scale / (tensor("bn.running_var", step.width) + _NORM_EPS).sqrt()
    weight = (weight * scale[:, None, None, None]).to(precision)
    keeps_size = step.padded and step.stride == 1
    padding = [side // 2 if keeps_size else 0 for side in step.kernel]
    return _Layer(
        weight.contiguous(memory_format=torch.channels_last),
        (shift - mean * scale).to(precision),
        step.stride,
        padding,
    )


def _resized(images: Tensor) -> Tensor:
    """Return images [N, C, 299, 299] float32 in [0, 255], bilinear as TensorFlow 1 did it.

    Position i reads the input at i H / 299, without the half pixel that others add.
    """
    values = images.float()
    for dim in (2, 3):
        size = images.shape[dim]
        # In float32, as there: the rounding decides which two pixels are read.
        scale = torch.tensor(size / _SIDE_PX, dtype=torch.float32, device=images.device)
        place = torch.arange(_SIDE_PX, dtype=torch.float32, device=images.device) * scale
        low = place.long()
        high = (low + 1).clamp_max(size - 1)
        share = (place - low).view(-1, 1) if dim == 2 else place - low
        first, second = values.index_select(dim, low), values.index_select(dim, high)
        values = first + (second - first) * share
    return values
