"""Facts of images that are not there: what the data contract is tried against."""

import hashlib

import pandas as pd

from gan.image.facts import SCHEMA


def sound_facts() -> pd.DataFrame:
    """Return the facts of 100 sound images in two classes; no real file is behind them."""
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(100)]
    labels = ["cats" if number < 50 else "dogs" for number in range(100)]
    facts: pd.DataFrame = pd.DataFrame(
        {
            "key": [f"{label}/{number}.png" for number, label in enumerate(labels)],
            "label": labels, "sha256": digests, "bytes": 900, "source": "in.zip", "licence": "CC0",
            "group": "", "conditions": "", "width": 32, "height": 32, "mode": "RGB",
            "format": "PNG", "luminance": 0.5, "contrast": 0.2, "sharpness": 0.1, "entropy": 7.0,
            "alpha_share": 0.0, "phash": range(100), "colour": bytes(48),
            "pixels_digest": digests, "duplicate_of": "", "cluster": "", "reason": "", "notes": "",
        }
    )  # fmt: skip
    return facts.reindex(columns=SCHEMA.names)
