"""A bundle as MLflow's `pyfunc` sees it: seeds and labels in, images out.

    mlflow.pyfunc.load_model("models:/stickers@champion").predict(
        pandas.DataFrame({"seed": [1, 2], "label": ["hearts", "stars"]})
    )

Only plain files are read. The same seed and label give the same image, whatever else is asked for.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from gan.bundle import Card, latents, open_bundle
from gan.errors import DamagedError, UsageError
from gan.image.encode import png
from gan.modality import modality

CHUNK = 16  # kernels may differ by batch size, so the network always gets this many


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> "ServedBundle":
    """Open the bundle in `data_path`; MLflow calls this by its name.

    Args:
        data_path: A folder with `SHA256SUMS`.
        model_config: `bundle_digest` in it is the bundle that was registered.

    Raises:
        DamagedError: A file is missing, extra or altered, or it is another bundle.
    """
    bundle = open_bundle(Path(data_path))
    wanted = (model_config or {}).get("bundle_digest", bundle.digest)
    if wanted != bundle.digest:
        raise DamagedError(
            f"{data_path}: bundle {bundle.digest[:12]}... lies where {str(wanted)[:12]}... was "
            "registered. Refusing it; load another version."
        )
    return ServedBundle(bundle.card, bundle.generator())


@dataclass(frozen=True)
class ServedBundle:
    """A generator in memory and the card that says what it makes."""

    card: Card
    network: nn.Module

    def predict(
        self,
        model_input: pd.DataFrame | Sequence[Mapping[str, Any]],
        params: Mapping[str, Any] | None = None,  # noqa: ARG002  # MLflow's form; there are none
    ) -> NDArray[np.uint8]:
        """Return an image for each row.

        Args:
            model_input: Rows with `seed`, a whole number, and if wanted `label`, a class name;
                without one, neighbouring seeds show the classes in turn.
            params: Ignored.

        Returns:
            uint8 [N, H, W, C] in the order of the rows; RGBA has colours as a PNG file has them.

        Raises:
            UsageError: A row has no seed, or a label that is no class.
            DivergedError: The bundle makes images that are not finite.
        """
        card = self.card
        seeds, labels = self._asked_for(pd.DataFrame(model_input))
        images = np.empty((len(seeds), card.resolution, card.resolution, card.channels), np.uint8)
        for start in range(0, len(seeds), CHUNK):
            some = slice(start, start + CHUNK)
            images[some] = self._chunk(seeds[some], labels[some])
        return images

    def _asked_for(self, rows: pd.DataFrame) -> tuple[list[int], list[int]]:
        """Return seed and class number of each row."""
        if "seed" not in rows or not pd.api.types.is_integer_dtype(rows["seed"].dtype):
            raise UsageError("each row needs a `seed`, a whole number.")
        seeds = [int(seed) for seed in rows["seed"]]
        labels = rows["label"] if "label" in rows else [None] * len(rows)
        return seeds, [self._class(s, each) for s, each in zip(seeds, labels, strict=True)]

    def _class(self, seed: int, label: Any) -> int:
        classes = self.card.classes
        if pd.isna(label) or label == "":
            return seed % len(classes)
        if label not in classes:
            raise UsageError(
                f"label is {label!r}; it must be one of {', '.join(classes)}, or empty."
            )
        return classes.index(label)

    @torch.no_grad()
    def _chunk(self, seeds: list[int], labels: list[int]) -> NDArray[np.uint8]:
        """Return the images of up to 16 rows, uint8 [N, H, W, C]."""
        missing = CHUNK - len(seeds)
        rows = [latents(seed, "served", count=1, z_dim=self.card.z_dim) for seed in seeds]
        z, c = (
            torch.cat([*rows, *rows[-1:] * missing]),
            torch.tensor(labels + labels[-1:] * missing),
        )
        made = modality(self.card.modality).to_uint8(self.network(z, c))[: len(seeds)]
        return np.stack([_as_in_a_file(image) for image in made])


def _as_in_a_file(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image [C, H, W] as a reader of its PNG file has it, [H, W, C]."""
    with Image.open(io.BytesIO(png(image))) as picture:
        pixels = np.asarray(picture)
    return pixels.reshape(*pixels.shape[:2], -1)
