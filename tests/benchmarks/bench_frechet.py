"""Our trace of the matrix root against scipy's sqrtm and against plain eigenvalues."""

import numpy as np

from gan.metrics.frechet import frechet_distance
from gan.metrics.moments import Moments, moments_of
from tests.benchmarks.figures import seconds, show

SAMPLES = 5000


def _pair(dims: int) -> tuple[Moments, Moments]:
    """Return moments of two sets whose covariances have a spectrum as features have, 1/n."""
    random = np.random.default_rng(dims)
    scale = 1 / np.sqrt(np.arange(1, dims + 1))
    turn = np.linalg.qr(random.standard_normal((dims, dims)))[0]
    first = random.standard_normal((SAMPLES, dims)) * scale
    second = (random.standard_normal((SAMPLES, dims)) * scale + 0.1) @ turn
    return moments_of(first.astype(np.float32)), moments_of(second.astype(np.float32))


def _rest(a: Moments, b: Moments) -> float:
    gap = a.mean - b.mean
    return float(gap @ gap + np.trace(a.covariance) + np.trace(b.covariance))


def _by_eigenvalues(a: Moments, b: Moments) -> float:
    values = np.linalg.eigvals(a.covariance @ b.covariance).real
    return _rest(a, b) - 2 * float(np.sqrt(values.clip(0)).sum())


def _by_sqrtm(a: Moments, b: Moments) -> float:
    from scipy.linalg import sqrtm

    return _rest(a, b) - 2 * float(np.trace(sqrtm(a.covariance @ b.covariance)).real)


def main() -> None:
    """Print value differences and times at the domain extractor's size and at a larger one."""
    others = {"eigvals": _by_eigenvalues}
    try:
        import scipy.linalg  # noqa: F401  # only a reference

        others["scipy sqrtm"] = _by_sqrtm
    except ImportError:
        print("  scipy is not installed; without its sqrtm")
    for dims in (128, 512):
        a, b = _pair(dims)
        ours, ours_seconds = frechet_distance(a, b), seconds(lambda: frechet_distance(a, b), 3)  # noqa: B023
        show(f"{dims} dims: ours", ours_seconds * 1e3, "ms", f"distance {ours:.9f}")
        for name, work in others.items():
            taken = seconds(lambda: work(a, b), 3, warm_up=0)  # noqa: B023
            off = abs(work(a, b) - ours) / ours
            note = f"{taken / ours_seconds:.1f} x ours; differs by {off:.1e} of the distance"
            show(f"{dims} dims: {name}", taken * 1e3, "ms", note)
