"""The detector's network: small, residual, and at full resolution for as long as traces live there.

It sees the image, its high-pass residual (the image less its own blur: what a drawing hides) and
the logarithm of its spectrum, where upsampling leaves peaks and a wrong fall-off (Durall 2020,
Frank 2020). Normalisation is by batch in training, where each is half real and half generated: at
equal length such a network told far more than one that normalises within each image. An answer
depends on no neighbour.
Images over 64 px are read in windows of 64 px: reducing them would wipe out the traces.
"""

import torch
from torch import Tensor, nn

WINDOW_PX = 64
_SPECTRUM = 32  # features
_FLOOR = 1e-3  # of a magnitude, before its logarithm
_BLUR = (0.25, 0.5, 0.25)


class DetectorNetwork(nn.Module):
    """Windows [N, C, S, S] float32 in [-1, 1] -> logits [N] float32; above 0 is synthetic."""

    def __init__(self, channels: int, resolution: int, width: int) -> None:
        """Build it for square images.

        Args:
            channels: C, 1 or 3.
            resolution: Side of an image, px; S is that, at most 64.
            width: Channels of the first stage; each later one has twice as many.
        """
        super().__init__()
        side = window_px(resolution)
        self.trunk = nn.Sequential(
            nn.Conv2d(2 * channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            _Block(width, width),
            nn.AvgPool2d(2),
            _Block(width, 2 * width),
            nn.AvgPool2d(2),
            _Block(2 * width, 4 * width),
        )
        self.spectrum = nn.Sequential(
            nn.Linear(side * (side // 2 + 1), _SPECTRUM), nn.ReLU(inplace=True)
        )
        self.head = nn.Linear(4 * width + _SPECTRUM, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the logits [N] of windows [N, C, S, S]."""
        residual = windows - _blurred(windows)
        # The residual of a smooth drawing is faint; 4 brings it to the image's own scale.
        seen = self.trunk(torch.cat([windows, 4 * residual], 1)).mean(dim=(2, 3))  # [N, 4 width]
        spectrum = self.spectrum(_log_spectrum(windows))  # [N, 32]
        logits: Tensor = self.head(torch.cat([seen, spectrum], 1))
        return logits[:, 0].float()


class _Block(nn.Module):
    """relu(shortcut(x) + two normalised convolutions)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        out: Tensor = nn.functional.relu(self.branch(x) + self.shortcut(x))
        return out


def window_px(resolution: int) -> int:
    """Return the side of what the network sees at once."""
    return min(resolution, WINDOW_PX)


@torch.no_grad()
def logits_of(network: DetectorNetwork, images: Tensor) -> Tensor:
    """Return the logits [N] of whole images [N, C, R, R]: the mean over windows side by side."""
    count, channels, side = images.shape[:3]
    size = window_px(side)
    across = side // size
    windows = images.unfold(2, size, size).unfold(3, size, size)  # [N, C, across, across, S, S]
    windows = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels, size, size)
    logits: Tensor = network(windows.contiguous())
    return logits.reshape(count, across**2).mean(dim=1)


def _blurred(images: Tensor) -> Tensor:
    """Return images after a binomial blur of 3 x 3, edges mirrored."""
    line = torch.tensor(_BLUR, dtype=images.dtype, device=images.device)
    kernel = torch.outer(line, line).expand(images.shape[1], 1, 3, 3)
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    return nn.functional.conv2d(padded, kernel, groups=images.shape[1])


def _log_spectrum(images: Tensor) -> Tensor:
    """Return the logarithm of the mean channel's magnitudes, [N, S * (S // 2 + 1)]."""
    spectrum = torch.fft.rfft2(images.float().mean(1), norm="ortho").abs()
    logarithm: Tensor = (spectrum + _FLOOR).log().flatten(1)
    return logarithm / 3 + 1  # about 0 to 3 for pictures in [-1, 1]
