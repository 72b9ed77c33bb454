"""The images of portions, put together."""

from collections.abc import Sequence

import numpy as np

from gan.metrics.sampling import Images, Portion
from gan.modality import Items


def drawn(portions: Sequence[Portion], data: Items) -> Images:
    """Return all images of a stream, uint8 [N, C, H, W]."""
    return np.concatenate([portion.images(lambda: data) for portion in portions])
