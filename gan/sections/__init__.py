"""The sections of a recipe: frozen, strict, defaults that were measured. No file is read here."""

from gan.sections.base import ImageSize, Reason, Resolution, Section, Sha256, Share
from gan.sections.data import ContractSpec, DataSpec, DriftSpec, GlyphsSpec
from gan.sections.gate import GateSpec, WatchSpec
from gan.sections.production import (
    DEFAULT_CAMPAIGN,
    AlertsSpec,
    AssetsSpec,
    CampaignSpec,
    CronSpec,
    DetectorSpec,
    KeepSpec,
    ScheduleSpec,
    ScreensSpec,
    SegmentSpec,
)
from gan.sections.training import (
    EXTRACTORS,
    NETWORK_DEFAULTS,
    BudgetSpec,
    EvaluateSpec,
    ModelSpec,
    TrainSpec,
)

__all__ = [
    "DEFAULT_CAMPAIGN",
    "EXTRACTORS",
    "NETWORK_DEFAULTS",
    "AlertsSpec",
    "AssetsSpec",
    "BudgetSpec",
    "CampaignSpec",
    "ContractSpec",
    "CronSpec",
    "DataSpec",
    "DetectorSpec",
    "DriftSpec",
    "EvaluateSpec",
    "GateSpec",
    "GlyphsSpec",
    "ImageSize",
    "KeepSpec",
    "ModelSpec",
    "Reason",
    "Resolution",
    "ScheduleSpec",
    "ScreensSpec",
    "Section",
    "SegmentSpec",
    "Sha256",
    "Share",
    "TrainSpec",
    "WatchSpec",
]
