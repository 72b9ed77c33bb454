"""Networks see images in chunks of one size: kernels may differ by batch size, a look may not."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK = 32

Images = NDArray[np.uint8]


def chunks(images: Images) -> Iterator[tuple[Images, slice]]:
    """Yield images [N, C, H, W] as chunks [32, C, H, W], the last one filled up with black.

    Beside each comes the slice of the images that it holds.
    """
    for start in range(0, len(images), CHUNK):
        some = images[start : start + CHUNK]
        filled = np.zeros((CHUNK, *images.shape[1:]), np.uint8)
        filled[: len(some)] = some
        yield filled, slice(start, start + len(some))
