"""A recipe's images: where they come from, what they must be, how far they may drift."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gan.sections.base import ImageSize, Reason, Resolution, Section, Sha256, Share


class GlyphsSpec(Section):
    """How many stickers are drawn from the DejaVu glyphs, and from which seed."""

    count: int = Field(default=6000, ge=2, le=1_000_000)
    seed: int = Field(default=1, ge=0)


class ContractSpec(Section):
    """The data contract: what makes a folder of images fit to train on; `null` asks for nothing.

    `sizes` are allowed ones, as `64x64`; `modes` those of the files, as Pillow names them; `labels`
    is the whole set of classes, of which each must be there; `licences` those that are allowed.
    Near duplicates are what `data.near_distance` says.
    """

    min_images: int = Field(default=100, ge=2)
    min_images_per_class: int = Field(default=5, ge=1)
    max_rejected_share: Share = 0.01
    max_duplicate_share: Share = 0.05
    max_near_duplicate_share: Share | None = None
    max_blank_share: Share = 0.01
    min_side_px: int = Field(default=8, ge=1)
    max_side_px: int | None = Field(default=None, ge=1)
    sizes: Annotated[list[ImageSize], Field(min_length=1)] | None = None
    modes: Annotated[list[str], Field(min_length=1)] | None = None
    labels: Annotated[list[str], Field(min_length=1)] | None = None
    licences: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _sides_can_be_met(self) -> "ContractSpec":
        if self.max_side_px is not None and self.max_side_px < self.min_side_px:
            raise ValueError("max_side_px must be at least min_side_px")
        return self


class DataSpec(Section):
    """Where the images come from and the shape that training sees.

    `path` is what DVC watches: the images themselves (`files`), or a small file that says which
    images are meant (`url`, `torchvision`: made by `ganmill`, see `flows.listing`). `label_from`
    may name several columns of `labels.csv`: each combination is a class. `group_from` names a
    column whose rows belong together, say the frames of one clip: none of a group is held out
    while others are trained on. Images within `near_distance` bits of 64 of each other's
    perceptual hash, and of like colours, are near duplicates; `near_duplicates: drop` keeps the
    largest of them alone. `removed` are files, by SHA-256, that never come in again, and why.
    """

    source: Literal["glyphs", "files", "url", "torchvision"]
    path: str = Field(min_length=1)
    url: str | None = Field(default=None, min_length=1)
    dataset: str | None = Field(default=None, min_length=1)
    label_from: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] = (
        "folder"
    )
    group_from: str | None = Field(default=None, min_length=1)
    licence: str = Field(default="unknown", min_length=1)
    resolution: Resolution = 32
    channels: Literal[1, 3, 4] = 3  # grey, RGB, RGBA
    # What transparent images are laid on; with 4 channels only where figures need a flat image.
    background: str = Field(default="#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    fit: Literal["crop", "pad"] = "crop"
    resize: Literal["lanczos", "nearest"] = "lanczos"
    near_duplicates: Literal["keep", "drop"] = "keep"
    near_distance: int = Field(default=7, ge=0, le=11)
    removed: dict[Sha256, Reason] = Field(default_factory=dict)
    glyphs: GlyphsSpec | None = None
    contract: ContractSpec = ContractSpec()

    @model_validator(mode="after")
    def _parts_go_with_their_source(self) -> "DataSpec":
        for part, source in (("glyphs", "glyphs"), ("url", "url"), ("dataset", "torchvision")):
            if (self.source == source) != (getattr(self, part) is not None):
                raise ValueError(f"`{part}` is given exactly when source is {source}")
        return self


class DriftSpec(Section):
    """How far new images may be from those that the champion was trained on; `null` only reports.

    `max_label_shift` is half the sum of the differences of the classes' shares (total variation);
    `max_fact_shift` the largest Kolmogorov-Smirnov distance of a fact (luminance, contrast,
    sharpness, entropy, alpha, aspect); `max_feature_shift` how many times the distance between two
    halves of the old images the kernel distance between old and new may be *shown* to be. When
    `violations` of the last `window` checks, the latest among them, pass a limit, `then` happens.
    """

    max_label_shift: Share | None = None
    max_fact_shift: Share | None = None
    max_feature_shift: Annotated[float, Field(gt=0, le=1e6)] | None = None
    samples: int = Field(default=2000, ge=100, le=10_000)  # all pairs of them are taken
    window: int = Field(default=3, ge=1, le=1000)
    violations: int = Field(default=1, ge=1, le=1000)
    then: Literal["report", "retrain", "stop"] = "report"

    @model_validator(mode="after")
    def _can_be_reached(self) -> "DriftSpec":
        if self.violations > self.window:
            raise ValueError("violations must be at most window")
        return self
