"""How well the radial power spectrum alone tells generated images from real ones: a watchdog.

A generator whose upsampling leaves a pattern is given away by it (Durall 2020): an AUC near 1 is an
artefact of the model, and a hint to whoever designs the next one, not a merit of the detector.
"""

import numpy as np
from numpy.typing import NDArray

_RIDGE = 1e-2


def spectrum_scores(
    real: NDArray[np.uint8], fake: NDArray[np.uint8], *asked: NDArray[np.uint8]
) -> list[NDArray[np.float64]]:
    """Return scores of images by a linear discriminant (Fisher 1936); higher is more synthetic.

    Args:
        real: Images to learn from, uint8 [N, C, R, R].
        fake: Generated ones, uint8 [M, C, R, R].
        asked: Sets of images, each uint8 [K, C, R, R], for scores float64 [K].
    """
    known = [_radial(real), _radial(fake)]
    means = [side.mean(0) for side in known]
    scatter = (np.cov(known[0].T) + np.cov(known[1].T)) / 2
    ridge = _RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    direction = np.linalg.solve(scatter + ridge, means[1] - means[0])
    return [_radial(images) @ direction for images in asked]


def area_under_curve(real: NDArray[np.float64], fake: NDArray[np.float64]) -> float:
    """Return the chance that a generated image scores above a real one; ties count half."""
    ordered = np.sort(real)
    below = np.searchsorted(ordered, fake, "left") + np.searchsorted(ordered, fake, "right")
    return float(below.mean() / 2 / len(real))


def _radial(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean log power by distance from frequency 0, [N, R // 2 + 1]."""
    side = images.shape[2]
    power = np.abs(np.fft.rfft2(images.mean(axis=1))) ** 2  # [N, R, R // 2 + 1]
    rows, columns = np.fft.fftfreq(side) * side, np.arange(side // 2 + 1)
    ring = np.minimum(np.hypot(rows[:, None], columns).round().astype(int), side // 2)
    member = np.eye(side // 2 + 1)[ring.ravel()]  # [R * (R // 2 + 1), rings]
    means: NDArray[np.float64] = (np.log(power + 1).reshape(len(images), -1) @ member) / member.sum(
        0
    )
    return means
