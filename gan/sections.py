"""The sections of a recipe: frozen, strict, defaults that were measured. No file is read here."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Resolution = Literal[16, 28, 32, 64, 128, 256]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of a recipe: immutable, nothing coerced silently, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GlyphsSpec(Section):
    """How many stickers are drawn from the DejaVu glyphs, and from which seed."""

    count: int = Field(default=6000, ge=2, le=1_000_000)
    seed: int = Field(default=1, ge=0)


class ContractSpec(Section):
    """The data contract: what makes a folder of images fit to train on."""

    min_images: int = Field(default=100, ge=2)
    min_images_per_class: int = Field(default=5, ge=1)
    max_rejected_share: Share = 0.01
    max_duplicate_share: Share = 0.05
    max_blank_share: Share = 0.01
    min_side_px: int = Field(default=8, ge=1)


class DataSpec(Section):
    """Where the images come from and the shape that training sees."""

    source: Literal["glyphs", "files"]
    path: str = Field(min_length=1)
    label_from: str = Field(default="folder", min_length=1)
    licence: str = Field(default="unknown", min_length=1)
    resolution: Resolution = 32
    channels: Literal[1, 3, 4] = 3  # grey, RGB, RGBA
    # What transparent images are laid on; with 4 channels only where figures need a flat image.
    background: str = Field(default="#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    fit: Literal["crop", "pad"] = "crop"
    resize: Literal["lanczos", "nearest"] = "lanczos"
    glyphs: GlyphsSpec | None = None
    contract: ContractSpec = ContractSpec()

    @model_validator(mode="after")
    def _glyphs_go_with_their_source(self) -> "DataSpec":
        if (self.source == "glyphs") != (self.glyphs is not None):
            raise ValueError("`glyphs` is given exactly when source is glyphs")
        return self


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


class WatchSpec(Section):
    """What production must keep to after a promotion, batch by batch.

    A batch violates it when fewer than `min_accepted` of its assets are accepted, or when the
    canary assets that the gate kept come out otherwise: by more than `max_deviation` levels of 255
    on average. `violations` of the last `window` batches, the latest among them, end in `then`.
    """

    min_accepted: Share = 0.8
    max_deviation: float = Field(default=3.0, ge=0, le=255)
    window: int = Field(default=5, ge=1, le=1000)
    violations: int = Field(default=2, ge=1, le=1000)
    then: Literal["hold", "rollback"] = "hold"

    @model_validator(mode="after")
    def _can_be_reached(self) -> "WatchSpec":
        if self.violations > self.window:
            raise ValueError("violations must be at most window")
        return self


class GateSpec(Section):
    """What a challenger must show before it replaces the champion; `null` leaves a check out.

    `max_fd_share` is the absolute floor, which none can leave out: its distance may be at most
    this share of what noise scores, so that one figure fits every data set. The others compare
    with the champion, as shares of what it scores, and with bounds of paired intervals: `margin`
    is how much farther the distance may be, `diversity` how much recall and coverage may fall,
    `worst_class` how much the coverage of any class may be shown to fall. `resources` is how many
    times the champion's time and memory an asset may take; `min_accepted` the share of 16 canary
    assets that must pass the asset filters. `memorisation` asks that it copies no training image.
    """

    max_fd_share: Share = 0.5
    margin: Share | None = 0.1
    diversity: Share | None = 0.2
    worst_class: Share | None = 0.3
    memorisation: bool = True
    resources: Annotated[float, Field(ge=1, le=1000)] | None = 2.0
    min_accepted: Share | None = 0.9
    approval: Literal["auto", "person"] = "auto"
    cold_start: Literal["auto", "person"] = "auto"  # the first champion, which only a floor judges
    approval_hours: float = Field(default=48.0, gt=0, le=10_000)
    watch: WatchSpec = WatchSpec()

    @property
    def limits(self) -> dict[str, Any]:
        """What a verdict depends on, by key; who approves and what is watched later does not."""
        return self.model_dump(exclude={"approval", "cold_start", "approval_hours", "watch"})


class AssetsSpec(Section):
    """What a batch is: how many assets, how large."""

    count: int = Field(default=64, ge=1, le=1_000_000)
    size_px: int = Field(default=256, ge=16, le=4096)
    upscale: Literal["lanczos", "nearest"] = "lanczos"
    seed: int = Field(default=1, ge=0)


class ScheduleSpec(Section):
    """When it runs: cron lines in one time zone."""

    retrain: str | None = None
    generate: str | None = None
    timezone: str = "UTC"
