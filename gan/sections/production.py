"""What a recipe makes, for whom, and when it runs."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gan.sections.base import Section, Share
from gan.sections.cron import check_cron, check_zone

CampaignName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Weights = Annotated[dict[str, Weight], Field(min_length=1)]
PlatformName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]
CronLine = Annotated[str, AfterValidator(check_cron)]
ZoneName = Annotated[str, AfterValidator(check_zone)]
Happening = Literal["data.accepted", "drift", "model.promoted"]
DEFAULT_CAMPAIGN = "default"
_FOLLOWED: tuple[Happening, ...] = ("drift", "model.promoted")
_NO_ENTRY = "a cron line, or {cron, timezone, missed, stale_hours}"
_OF_DELIVERY = frozenset({"sink", "form", "review"})


class SegmentSpec(Section):
    """An audience: how many accepted assets it gets, and its taste as weights of classes."""

    count: int = Field(ge=1, le=1_000_000)
    classes: Weights | None = None


class ScreensSpec(Section):
    """What sets an asset aside; 0 or null leaves a screen out, blank ones are always told.

    `off_class` is the least probability of its own class, as the recipe's own extractor sees it.
    `near_distance` are bits of 64 within which another asset of the batch, or of the `past` batches
    before it, is a near duplicate (of like colours too). `copies` is the share of held-out images
    that lie as near to a training image as an asset may not. `moderation` names a local folder of
    an image classifier (extra `moderation`), in full or below the workspace, and `refuse` its
    labels that set aside from that score.
    The critic's word is the campaign's `rejection`; with it goes the screen for noise.
    """

    off_class: Share = 0.05
    near_distance: int = Field(default=3, ge=0, le=11)
    past: int = Field(default=10, ge=0, le=1000)
    copies: Share = 0.02
    moderation: Annotated[str, Field(min_length=1)] | None = None
    refuse: dict[str, Share] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _knows_what_to_refuse(self) -> "ScreensSpec":
        if (self.moderation is None) != (not self.refuse):
            raise ValueError("moderation and refuse go together: a classifier, and {label: score}")
        return self


class CampaignSpec(Section):
    """How many accepted assets of which kind, in which packs, and where they go.

    `classes` are weights (all alike if not given); `segments` are audiences with a count and a
    taste each, and then `count` is not asked for. `truncation` bounds each latent (Brock 2019),
    `rejection` is the share that the critic likes least. At most `budget` candidates are made for
    each wanted asset. `label` is a text drawn into a corner of every picture.
    """

    count: int = Field(default=64, ge=1, le=1_000_000)
    classes: Weights | None = None
    segments: Annotated[dict[CampaignName, SegmentSpec], Field(min_length=1)] | None = None
    model: Literal["champion", "challenger"] = "champion"
    platforms: Annotated[list[PlatformName], Field(min_length=1)] = Field(
        default_factory=lambda: ["png"]
    )
    size_px: int = Field(default=256, ge=16, le=4096)  # of the platform `png`
    upscale: Literal["lanczos", "nearest"] = "lanczos"
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    seed: int = Field(default=1, ge=0)
    truncation: Annotated[float, Field(ge=0.1, le=10)] | None = None
    rejection: Share = 0.02
    budget: float = Field(default=4.0, ge=1, le=100)
    screens: ScreensSpec = ScreensSpec()
    label: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    emoji: dict[str, Annotated[str, Field(min_length=1, max_length=16)]] = Field(
        default_factory=dict
    )  # by class
    sink: Annotated[str, Field(min_length=1)] | None = None  # a folder, or an address as s3://...
    form: Literal["folder", "zip", "webdataset", "imagefolder"] = "folder"
    review: bool = False  # a person looks before anything is published

    @property
    def making(self) -> dict[str, Any]:
        """What the bytes of the assets depend on; where they go and who looks does not."""
        return self.model_dump(mode="json", exclude=set(_OF_DELIVERY))

    @property
    def wanted(self) -> int:
        """How many accepted assets in all."""
        return sum(each.count for each in self.segments.values()) if self.segments else self.count


class AssetsSpec(CampaignSpec):
    """What a recipe mints: the campaign `default`, and named ones that differ from it.

    A named campaign has all keys of `assets`, each as in `assets` where it is not given.
    """

    campaigns: dict[CampaignName, CampaignSpec] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_campaigns(cls, given: Any) -> Any:
        """Give each named campaign the keys of `assets` that it does not have itself.

        Raises:
            ValueError: One is named as `assets` itself is.
        """
        named = given.get("campaigns") if isinstance(given, dict) else None
        if not isinstance(named, dict):
            return given
        if DEFAULT_CAMPAIGN in named:
            raise ValueError(f"campaigns: {DEFAULT_CAMPAIGN!r} is what `assets` itself says")
        base = {key: value for key, value in given.items() if key != "campaigns"}
        return {**given, "campaigns": {name: _over(base, own) for name, own in named.items()}}

    def campaign(self, name: str = DEFAULT_CAMPAIGN) -> CampaignSpec:
        """Return a campaign with every key filled in.

        Raises:
            KeyError: There is no campaign of that name.
        """
        if name != DEFAULT_CAMPAIGN:
            return self.campaigns[name]
        return CampaignSpec.model_validate(self.model_dump(exclude={"campaigns"}))


def _over(base: dict[str, Any], own: Any) -> Any:
    """Lay the keys of a campaign over those of `assets`; of `screens`, key by key."""
    if not isinstance(own, dict):
        return own
    both = {**base, **own}
    if all(isinstance(each.get("screens"), dict) for each in (base, own)):
        both["screens"] = {**base["screens"], **own["screens"]}
    return both


class CronSpec(Section):
    """When one thing runs, and what becomes of a run that could not be started in time.

    `missed` is for runs that begin over five minutes late, as the machine was off or busy: `skip`
    leaves them out, `latest` does the last of them, `all` does each, oldest first. What is late by
    more than `stale_hours` is left out in any case. A bare cron line stands for `{cron: line}`.
    """

    cron: CronLine
    timezone: ZoneName | None = None
    missed: Literal["skip", "latest", "all"] = "latest"
    stale_hours: float = Field(default=24.0, gt=0, le=10_000)

    @model_validator(mode="before")
    @classmethod
    def _from_line(cls, given: Any) -> Any:
        """Read a bare cron line.

        Raises:
            ValueError: It is none.
        """
        if isinstance(given, str):
            return {"cron": check_cron(given)}
        if not isinstance(given, dict | cls):
            raise ValueError(_NO_ENTRY)  # noqa: TRY004  # what pydantic turns into its own
        return given


class ScheduleSpec(Section):
    """When it runs, by the clock and by what happened.

    `campaigns` has an entry for each that has a time of its own; `timezone` is for entries that
    name none. `on` says which events start what: `data.accepted` (other images were accepted) and
    `drift` (as the recipe's drift rule wants) a retraining, `model.promoted` (and rolled back) a
    batch.
    """

    retrain: CronSpec | None = None
    generate: CronSpec | None = None
    drift: CronSpec | None = None
    campaigns: dict[CampaignName, CronSpec] = Field(default_factory=dict)
    timezone: ZoneName = "UTC"
    on: list[Happening] = Field(default_factory=lambda: list(_FOLLOWED))

    def timezone_of(self, entry: CronSpec) -> str:
        """Return the time zone of one of the entries, an IANA name."""
        return entry.timezone or self.timezone


class DetectorSpec(Section):
    """The detector of synthetic images: how many thousand images it is shown; 0 trains none.

    It is trained after a promotion: the recipe's real images against what the champion and the
    `models` versions before it make.
    """

    kimg: float = Field(default=16.0, ge=0, le=100_000)
    models: int = Field(default=5, ge=0, le=50)


class AlertsSpec(Section):
    """What is told when nothing happens: a notice each, once, until it is mended.

    `no_batch_hours`: no batch was delivered for so long; `champion_days`: the champion is older;
    `approval_hours`: a version waits for a person's word. null asks for none.
    """

    no_batch_hours: Annotated[float, Field(gt=0, le=100_000)] | None = None
    champion_days: Annotated[float, Field(gt=0, le=10_000)] | None = None
    approval_hours: Annotated[float, Field(gt=0, le=10_000)] | None = 12.0


class KeepSpec(Section):
    """How long what was made is kept; null keeps it for good.

    Whatever the ages say, nothing goes that the champion, a version that may be rolled back to, or
    the lineage of a batch that is kept needs. `versions` counts models besides those.
    """

    batches_days: Annotated[float, Field(gt=0, le=100_000)] | None = None
    flow_runs_days: Annotated[float, Field(gt=0, le=100_000)] | None = 90.0
    training_runs_days: Annotated[float, Field(gt=0, le=100_000)] | None = None
    versions: Annotated[int, Field(ge=0, le=100_000)] | None = None
