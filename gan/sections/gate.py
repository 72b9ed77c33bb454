"""What a recipe's challenger must show, and what production must keep to."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gan.sections.base import Section, Share


class WatchSpec(Section):
    """What production must keep to after a promotion, batch by batch.

    A batch violates it when fewer than `min_accepted` of the candidates that the critic was not
    asked to set aside (`assets.rejection`) pass the screens, or when the canary assets that the
    gate kept come out otherwise: by more than `max_deviation` levels of 255 on average.
    `violations` of the last `window` batches, the latest among them, end in `then`.
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
