"""What a recipe makes, and when it runs."""

from typing import Literal

from pydantic import Field

from gan.sections.base import Section


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
    drift: str | None = None
    timezone: str = "UTC"
