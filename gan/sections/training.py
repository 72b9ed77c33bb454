"""A recipe's network, its training, and how the model is measured."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gan.sections.base import Section, Share


class ModelSpec(Section):
    """Which networks: the house network in four sizes, or one of the textbook's two."""

    preset: Literal["tiny", "small", "base", "large", "conv28", "dense32"] = "tiny"


class BudgetSpec(Section):
    """When a training ends: images in thousands, minutes, or no progress, whichever comes first.

    `patience` is how many measurements in a row may pass without a new best distance; a training
    is measured about ten times.
    """

    kimg: float | None = Field(default=None, gt=0, le=1_000_000)
    minutes: float | None = Field(default=None, gt=0, le=100_000)
    patience: int | None = Field(default=None, ge=1, le=100)

    @property
    def shown(self) -> str:
        """The budget in words, say `60 kimg or 30 minutes`."""
        kimg = [f"{self.kimg:g} kimg"] if self.kimg is not None else []
        minutes = [f"{self.minutes:g} minutes"] if self.minutes is not None else []
        return " or ".join([*kimg, *minutes])

    @model_validator(mode="after")
    def _has_an_end(self) -> "BudgetSpec":
        if self.kimg is None and self.minutes is None:
            raise ValueError("give kimg, minutes, or both")
        return self


class TrainSpec(Section):
    """The training: its budget, objective and schedule. `gan.training.schedule` has the curves."""

    budget: BudgetSpec = BudgetSpec(kimg=40.0)
    start: Literal["champion", "scratch"] = "champion"
    seed: int = Field(default=1, ge=0)
    batch_size: int = Field(default=16, ge=4, le=8192)
    lr: float = Field(default=2e-3, gt=0, le=0.1)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    decay: bool = True
    loss: Literal["relativistic", "minimax", "least_squares"] = "relativistic"
    gamma: Annotated[float, Field(ge=0, le=1000)] | Literal["auto"] = 4.0
    penalty: Literal["quarter", "whole"] = "quarter"
    ema_kimg: float = Field(default=2.0, ge=0)
    augment: Share = 0.3
    adapt: bool = True
    flip: bool = False
    max_rollbacks: int = Field(default=3, ge=0, le=10)
    gpus: int = Field(default=1, ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "bf16", "float32"] = "auto"
    deterministic: bool = False

    @field_validator("batch_size")
    @classmethod
    def _quarter_is_whole(cls, value: int) -> int:
        if value % 4:
            raise ValueError("must be a multiple of 4: the penalty is taken on a quarter of it")
        return value

    @model_validator(mode="after")
    def _batch_divides(self) -> "TrainSpec":
        if self.batch_size % (4 * self.gpus):
            raise ValueError("batch_size must be a multiple of 4 times gpus")
        return self


# How the textbook trains its two networks; what a recipe's `train` gives itself goes before.
_TEXTBOOK: dict[str, Any] = {
    "lr": 2e-4,
    "beta1": 0.5,
    "decay": False,
    "loss": "minimax",
    "gamma": 0.0,
    "ema_kimg": 0.0,
    "augment": 0.0,
    "adapt": False,
}
NETWORK_DEFAULTS: dict[str, dict[str, Any]] = {
    "conv28": {**_TEXTBOOK, "batch_size": 32},
    "dense32": {**_TEXTBOOK, "batch_size": 128},
}


# Feature networks: ours, the FID's, and those of torchvision that `gan.image.networks` can build.
EXTRACTORS = (
    "domain", "inception",
    "convnext_base", "convnext_large", "convnext_small", "convnext_tiny", "densenet121",
    "efficientnet_b0", "efficientnet_v2_s", "mobilenet_v3_large", "mobilenet_v3_small",
    "resnet18", "resnet34", "resnet50", "resnet101", "swin_b", "swin_t", "vit_b_16", "vit_l_16",
    "wide_resnet50_2",
)  # fmt: skip


class EvaluateSpec(Section):
    """How the model is measured.

    `extractor` says which network a first run pins; a later change of it takes effect by
    `ganmill extractor renew`.
    """

    extractor: str = "domain"
    samples: int = Field(default=5000, ge=200, le=1_000_000)
    seed: int = Field(default=7, ge=0)

    @field_validator("extractor")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in EXTRACTORS:
            near = difflib.get_close_matches(value, EXTRACTORS, n=1, cutoff=0.5)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"one of {', '.join(EXTRACTORS)}{meant}")
        return value
